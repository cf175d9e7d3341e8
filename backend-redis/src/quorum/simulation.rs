//! Fences over many grants, with clocks that run apart, lost messages and minorities that are down: the
//! servers are a model, what is made of their answers is the real thing.

use std::time::Duration;

use tenure_core::{Cause, Denied, Error, Fence};

use super::gather::Votes;
use super::tally::{self, Acquired, Said};

/// Microseconds.
type Time = u64;

const START: Time = 1_000_000_000;
const TTL: Time = 20_000;

/// What `acquire.lua`, `raise.lua` and `release.lua` do.
struct Server {
    last: u64,
    /// How far its clock is from that of others.
    skew: i64,
    held: Option<(u32, Time)>,
    down: bool,
}

impl Server {
    fn holder(&self, now: Time) -> Option<u32> {
        self.held.filter(|(_, ends)| *ends > now).map(|(token, _)| token)
    }

    fn acquire(&mut self, token: u32, now: Time) -> Said {
        match self.holder(now) {
            None => {
                self.last = now.saturating_add_signed(self.skew).max(self.last + 1);
                self.held = Some((token, now + TTL));
                Said::Yes(Fence::new(self.last))
            }
            Some(holder) if holder == token => Said::Yes(Fence::new(self.last)),
            Some(_) => Said::No(Denied::new().holder(Fence::new(self.last))),
        }
    }

    fn raise(&mut self, token: u32, fence: Fence, now: Time) -> Said {
        if self.holder(now) != Some(token) {
            return Said::Gone(Cause::Superseded);
        }
        self.last = self.last.max(fence.get());
        Said::Yes(Fence::ZERO)
    }

    fn release(&mut self, token: u32, now: Time) {
        if self.holder(now) == Some(token) {
            self.held = None;
        }
    }
}

/// What a claim is doing, with the servers that are still to be asked.
enum Doing {
    Asking { floor: Fence, votes: Votes<Said> },
    Raising { floor: Fence, fence: Fence, votes: Votes<Said> },
    Releasing,
}

struct Claim {
    token: u32,
    doing: Doing,
    left: Vec<usize>,
}

/// A world in which claims ask, one message at a time in any order.
struct World {
    random: u64,
    now: Time,
    servers: Vec<Server>,
    claims: Vec<Claim>,
    tokens: u32,
    /// Whether the fence is written back to a majority before success is reported.
    two_phases: bool,
    /// The largest fence whose grant was reported.
    largest: Fence,
    grants: u32,
    inversions: u32,
}

impl World {
    fn new(seed: u64, servers: usize, skew: i64, two_phases: bool) -> Self {
        let mut world = Self {
            random: seed,
            now: START,
            servers: Vec::new(),
            claims: Vec::new(),
            tokens: 0,
            two_phases,
            largest: Fence::ZERO,
            grants: 0,
            inversions: 0,
        };
        for _ in 0..servers {
            let skew = i64::try_from(world.below(2 * skew.unsigned_abs() + 1)).unwrap_or_default() - skew;
            world.servers.push(Server { last: 0, skew, held: None, down: false });
        }
        for _ in 0..3 {
            let claim = world.claim();
            world.claims.push(claim);
        }
        world
    }

    /// Some number below another, by splitmix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or_default()
    }

    /// A claim that begins now.
    fn claim(&mut self) -> Claim {
        self.tokens += 1;
        let votes = self.servers.iter().map(|_| None).collect();
        let doing = Doing::Asking { floor: self.largest, votes };
        Claim { token: self.tokens, doing, left: (0..self.servers.len()).collect() }
    }

    /// One message of one claim to one server.
    fn step(&mut self) {
        self.now += 1 + self.below(100);
        let minority = self.servers.len() / 2;
        if self.below(50) == 0 {
            let server = self.pick(self.servers.len());
            let down = self.servers.iter().filter(|server| server.down).count();
            self.servers[server].down = !self.servers[server].down && down < minority;
        }
        let index = self.pick(self.claims.len());
        let mut claim = self.claims.swap_remove(index);
        let place = self.pick(claim.left.len());
        let server = claim.left.swap_remove(place);
        let lost = self.servers[server].down || self.below(20) == 0;
        let unheard = lost || self.below(20) == 0;
        let (now, token) = (self.now, claim.token);
        let failed = || Err(Error::unavailable("lost"));
        let there = &mut self.servers[server];
        match &mut claim.doing {
            Doing::Asking { votes, .. } => {
                let said = (!lost).then(|| there.acquire(token, now));
                votes[server] = Some(said.filter(|_| !unheard).map_or_else(failed, Ok));
            }
            Doing::Raising { fence, votes, .. } => {
                let said = (!lost).then(|| there.raise(token, *fence, now));
                votes[server] = Some(said.filter(|_| !unheard).map_or_else(failed, Ok));
            }
            Doing::Releasing if lost => {}
            Doing::Releasing => there.release(token, now),
        }
        let claim = self.decide(claim);
        self.claims.push(claim);
    }

    /// What the claim does next.
    fn decide(&mut self, claim: Claim) -> Claim {
        let majority = self.servers.len() / 2 + 1;
        let all: Vec<usize> = (0..self.servers.len()).collect();
        // Not all answers are waited for.
        if !claim.left.is_empty() && self.below(2) > 0 {
            return claim;
        }
        let Claim { token, doing, left } = claim;
        match doing {
            Doing::Asking { floor, votes } => {
                match tally::acquired(&votes, majority, 0.0, Duration::from_millis(1)) {
                    Acquired::Held { fence, agreed } => {
                        if agreed || !self.two_phases {
                            self.grant(floor, fence);
                            return Claim { token, doing: Doing::Releasing, left: all };
                        }
                        let votes = votes.iter().map(|_| None).collect();
                        Claim { token, doing: Doing::Raising { floor, fence, votes }, left: all }
                    }
                    _ if left.is_empty() => Claim { token, doing: Doing::Releasing, left: all },
                    _ => Claim { token, doing: Doing::Asking { floor, votes }, left },
                }
            }
            Doing::Raising { floor, fence, votes } => match tally::owned(&votes, majority, |_| false) {
                Ok(()) => {
                    self.grant(floor, fence);
                    Claim { token, doing: Doing::Releasing, left: all }
                }
                Err(_) if left.is_empty() => Claim { token, doing: Doing::Releasing, left: all },
                Err(_) => Claim { token, doing: Doing::Raising { floor, fence, votes }, left },
            },
            Doing::Releasing if left.is_empty() => self.claim(),
            Doing::Releasing => Claim { token, doing: Doing::Releasing, left },
        }
    }

    /// Success is reported, to a claim that began when `floor` was the largest fence reported.
    fn grant(&mut self, floor: Fence, fence: Fence) {
        self.grants += 1;
        self.inversions += u32::from(fence <= floor);
        self.largest = self.largest.max(fence);
    }
}

/// How many grants there were, and how many fences were not above all that were reported before.
fn run(servers: usize, skew: i64, two_phases: bool) -> (u32, u32) {
    let runs = (0..20).map(|seed| {
        let mut world = World::new(seed, servers, skew, two_phases);
        (0..10_000).for_each(|_| world.step());
        (world.grants, world.inversions)
    });
    runs.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1))
}

const WORLDS: [(usize, i64); 6] = [(3, 0), (3, 5_000), (3, 1_000_000), (5, 0), (5, 5_000), (5, 1_000_000)];

#[test]
fn a_fence_that_a_majority_knows_before_it_is_reported_is_below_all_later_ones() {
    for (servers, skew) in WORLDS {
        let (grants, inversions) = run(servers, skew, true);
        assert!(grants > 300, "{servers} servers, skew {skew}: {grants} grants show nothing");
        assert_eq!(inversions, 0, "{servers} servers, skew {skew}: of {grants} grants");
    }
}

/// Why the largest of the fences is not enough.
#[test]
fn a_fence_that_is_reported_without_a_second_phase_is_not() {
    for (servers, skew) in WORLDS.into_iter().filter(|(_, skew)| *skew > 0) {
        let (grants, inversions) = run(servers, skew, false);
        assert!(inversions > 0, "{servers} servers, skew {skew}: none of {grants} grants");
    }
}
