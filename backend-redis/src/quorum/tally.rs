//! What the answers of several servers mean together. No I/O and no clock: what is decided here is what
//! the simulation of fences puts to the test.

use std::time::Duration;

use tenure_core::{Cause, Denied, Error, Fence, Holder, Kind, Name, Result};

use super::gather::Votes;

/// What a server said to a claim.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// It did so. To an acquire, with the fence that it gave; else with none.
    Yes(Fence),
    /// Somebody holds the lock there.
    No(Denied),
    /// It does not have the lock for this owner.
    Gone(Cause),
}

/// What the answers to an acquire amount to.
#[derive(Debug)]
pub(super) enum Acquired {
    /// A majority granted it.
    Held {
        /// The largest of the fences, or the one that a majority has.
        fence: Fence,
        /// Whether a majority has this very fence, so that none of them need be raised to it.
        agreed: bool,
    },
    /// A majority answered, and too few granted it.
    Denied(Denied, Split),
    /// Too few answered.
    Failed(Error),
}

/// Whether several asked at once, and none of them got a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// One has it.
    No,
    /// One seems to have it, but who asked has the first of the servers that answered: the holder is just
    /// letting go, has lost that server, or is two who were given equal fences.
    Hardly,
    /// So it seems, and who asked has the first of the servers that answered: the others give way.
    Ours,
    /// So it seems, and another has that one.
    Theirs,
}

/// Counts the answers to an acquire. `chance`, in `0.0..1.0`, spreads those who ask again after a split
/// vote over the time `apart`.
pub(super) fn acquired(votes: &Votes<Said>, majority: usize, chance: f64, apart: Duration) -> Acquired {
    let said: Vec<Said> = votes.iter().flatten().flatten().copied().collect();
    let fences: Vec<Fence> = said.iter().filter_map(granted).collect();
    if fences.len() >= majority {
        let (fence, agreed) = fence(&fences, majority);
        return Acquired::Held { fence, agreed };
    }
    if said.len() < majority {
        return Acquired::Failed(unanswered(votes, majority));
    }
    let denials: Vec<Denied> = said.iter().filter_map(denial).collect();
    let holders: Vec<Fence> = denials.iter().filter_map(Denied::fence).collect();
    let (holder, settled) = fence(&holders, majority);
    let split = match (said.first(), settled) {
        (Some(Said::Yes(_)), true) => Split::Hardly,
        (Some(Said::Yes(_)), false) => Split::Ours,
        (_, false) if !fences.is_empty() => Split::Theirs,
        _ => Split::No,
    };
    let mut denied = Denied::new();
    if holder > Fence::ZERO {
        denied = denied.holder(holder);
    }
    // What is missing to a majority is free when so many of those who denied it are.
    let mut ends: Vec<Duration> =
        denials.iter().map(|denied| denied.remaining().unwrap_or(Duration::MAX)).collect();
    ends.sort_unstable();
    let end = ends.get(majority - fences.len() - 1).copied().filter(|end| *end != Duration::MAX);
    let soon = apart.mul_f64(0.5 + chance / 2.0);
    match (split, end) {
        (Split::No | Split::Hardly, None) => {}
        (Split::No | Split::Hardly, Some(end)) => denied = denied.retry_after(end),
        (_, end) => denied = denied.retry_after(end.map_or(soon, |end| end.min(soon))),
    }
    Acquired::Denied(denied, split)
}

/// The fence that these amount to: one that a majority has, so that it was agreed on before, or else
/// the largest. True if a majority has it.
pub(super) fn fence(fences: &[Fence], majority: usize) -> (Fence, bool) {
    let shared = |fence: &&Fence| fences.iter().filter(|other| other == fence).count() >= majority;
    match fences.iter().find(shared) {
        Some(fence) => (*fence, true),
        None => (fences.iter().copied().max().unwrap_or(Fence::ZERO), false),
    }
}

/// The smallest fence that was given.
pub(super) fn smallest(votes: &Votes<Said>) -> Fence {
    votes.iter().flatten().flatten().filter_map(granted).min().unwrap_or(Fence::ZERO)
}

/// Counts the answers to a request of an owner, of which `before` say that they did so earlier.
///
/// # Errors
///
/// `Lost` if too many do not have the lock for this owner, `Unavailable` if too few answered.
pub(super) fn owned(votes: &Votes<Said>, majority: usize, before: impl Fn(usize) -> bool) -> Result<()> {
    let mut gone = Vec::new();
    let mut done = 0;
    for (index, vote) in votes.iter().enumerate() {
        match vote {
            Some(Ok(Said::Yes(_))) => done += 1,
            _ if before(index) => done += 1,
            Some(Ok(Said::Gone(cause))) => gone.push(*cause),
            Some(Ok(Said::No(_))) => gone.push(Cause::Superseded),
            Some(Err(_)) | None => {}
        }
    }
    if done >= majority {
        return Ok(());
    }
    if gone.len() > votes.len() - majority {
        let forced = gone.contains(&Cause::Forced);
        return Err(Error::lost(if forced { Cause::Forced } else { Cause::Superseded }));
    }
    Err(unanswered(votes, majority))
}

/// The error of a request that too few servers answered.
pub(super) fn unanswered<T>(votes: &Votes<T>, majority: usize) -> Error {
    let errors = || votes.iter().flatten().filter_map(|vote| vote.as_ref().err());
    let answered = votes.iter().flatten().filter(|vote| vote.is_ok()).count();
    let why = |kind: Kind| errors().find(|error| error.kind() == kind).map(ToString::to_string);
    let waits: Vec<Duration> =
        errors().filter(|error| error.is_quarantined()).filter_map(Error::retry_after).collect();
    if let Some(wait) = waits.iter().max().filter(|_| answered + waits.len() >= majority) {
        let text = "too many of the servers have lost their data and grant nothing for now";
        return Error::quarantined(*wait, text).with_source(why(Kind::Quarantined).unwrap_or_default());
    }
    let text = format!("{answered} of {} servers answered; {majority} are needed", votes.len());
    let certain = answered == 0 && votes.iter().all(Option::is_some) && errors().all(Error::is_settled);
    let error = match (why(Kind::Misconfigured), why(Kind::Unavailable)) {
        (Some(why), _) => Error::misconfigured(text).with_source(why),
        (None, Some(why)) => Error::unavailable(text).with_source(why),
        (None, None) => Error::unavailable(text),
    };
    if certain { error.settled() } else { error }
}

/// Who holds a name, from what each server has seen there: somebody as long as a majority is not free.
/// It stays taken until one is.
pub(super) fn holder(name: &Name, seen: &[&[Holder]], servers: usize, majority: usize) -> Option<Holder> {
    let free = seen.iter().filter(|holders| holders.is_empty()).count();
    let taken: Vec<&Holder> = seen.iter().filter_map(|holders| holders.first()).collect();
    if taken.is_empty() || servers - free < majority {
        return None;
    }
    let (fence, _) = fence(&taken.iter().map(|holder| holder.fence()).collect::<Vec<_>>(), majority);
    let one = taken.iter().find(|holder| holder.fence() == fence)?;
    let mut ends: Vec<Option<Duration>> = taken.iter().map(|holder| holder.remaining()).collect();
    // Without an end comes last.
    ends.sort_unstable_by_key(|end| end.unwrap_or(Duration::MAX));
    let last = ends.len() - 1;
    let remaining = ends[majority.saturating_sub(free + 1).min(last)];
    let mut holder =
        Holder::new(name.clone(), fence, remaining).with_mode(one.mode()).with_label(one.label());
    if let Some(since) = one.since() {
        holder = holder.with_since(since);
    }
    if let Some(reason) = taken.iter().find_map(|holder| holder.breaking()) {
        holder = holder.with_breaking(reason);
    }
    Some(holder)
}

fn granted(said: &Said) -> Option<Fence> {
    match said {
        Said::Yes(fence) => Some(*fence),
        _ => None,
    }
}

fn denial(said: &Said) -> Option<Denied> {
    match said {
        Said::No(denied) => Some(*denied),
        Said::Yes(_) => None,
        Said::Gone(_) => Some(Denied::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APART: Duration = Duration::from_millis(100);

    fn yes(fence: u64) -> Option<Result<Said>> {
        Some(Ok(Said::Yes(Fence::new(fence))))
    }

    fn no(fence: u64, left: u64) -> Option<Result<Said>> {
        let denied = Denied::new().holder(Fence::new(fence)).retry_after(Duration::from_millis(left));
        Some(Ok(Said::No(denied)))
    }

    fn down() -> Option<Result<Said>> {
        Some(Err(Error::unavailable("down").settled()))
    }

    fn denied(votes: Votes<Said>) -> (Denied, Split) {
        match acquired(&votes, votes.len() / 2 + 1, 0.0, APART) {
            Acquired::Denied(denied, split) => (denied, split),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_majority_holds_with_its_largest_fence_unless_it_agrees_on_one() {
        let held = |votes: Votes<Said>| match acquired(&votes, 2, 0.0, APART) {
            Acquired::Held { fence, agreed } => (fence.get(), agreed),
            other => panic!("{other:?}"),
        };
        assert_eq!(held(vec![yes(5), yes(7), yes(6)]), (7, false));
        assert_eq!(held(vec![yes(5), yes(7), yes(5)]), (5, true));
        assert_eq!(held(vec![yes(5), None, yes(4)]), (5, false));
        assert_eq!(held(vec![yes(5), no(9, 1), yes(4)]), (5, false));
    }

    #[test]
    fn too_few_answers_are_never_contention() {
        for votes in [vec![yes(1), down(), down()], vec![down(), no(1, 1), None], vec![None, None, None]] {
            let Acquired::Failed(error) = acquired(&votes, 2, 0.0, APART) else { panic!("{votes:?}") };
            assert!(error.is_unavailable() && !error.is_settled(), "{error}");
        }
        let Acquired::Failed(error) = acquired(&vec![down(), down(), down()], 2, 0.0, APART) else {
            panic!()
        };
        assert!(error.is_settled(), "nothing was sent");
    }

    #[test]
    fn a_held_lock_is_free_when_a_majority_of_its_leases_has_ended() {
        let (held, split) = denied(vec![no(7, 300), no(7, 100), no(7, 200)]);
        assert_eq!((held.remaining(), split), (Some(Duration::from_millis(200)), Split::No));
        assert_eq!(held.fence(), Some(Fence::new(7)));
        // One of them is free already.
        let (held, split) = denied(vec![yes(9), no(7, 100), no(7, 200)]);
        assert_eq!((held.remaining(), split), (Some(Duration::from_millis(100)), Split::Hardly));
        let (held, _) = denied(vec![down(), no(7, 100), no(7, 200)]);
        assert_eq!(held.remaining(), Some(Duration::from_millis(200)));
    }

    #[test]
    fn of_those_who_split_the_votes_one_goes_on_and_the_others_come_again_soon_and_apart() {
        let (_, split) = denied(vec![yes(9), no(7, 30_000), no(8, 30_000)]);
        assert_eq!(split, Split::Ours);
        let (theirs, split) = denied(vec![no(9, 30_000), yes(7), no(8, 30_000)]);
        assert_eq!((theirs.remaining(), split), (Some(APART / 2), Split::Theirs));
        let (_, split) = denied(vec![down(), yes(7), no(8, 30_000)]);
        assert_eq!(split, Split::Ours, "the first that answered");
        let (neither, split) = denied(vec![no(9, 300), no(7, 300), no(8, 300)]);
        assert_eq!((neither.remaining(), split), (Some(Duration::from_millis(300)), Split::No));
    }

    #[test]
    fn an_owner_has_lost_what_a_majority_does_not_have() {
        let gone = |cause| Some(Ok(Said::Gone(cause)));
        let lost = |votes: Votes<Said>| owned(&votes, 2, |_| false).map_err(|error| error.cause());
        assert_eq!(lost(vec![yes(0), gone(Cause::Forced), yes(0)]), Ok(()));
        assert_eq!(
            lost(vec![gone(Cause::Superseded), gone(Cause::Superseded), None]),
            Err(Some(Cause::Superseded))
        );
        assert_eq!(
            lost(vec![gone(Cause::Superseded), gone(Cause::Forced), down()]),
            Err(Some(Cause::Forced))
        );
        assert_eq!(lost(vec![yes(0), gone(Cause::Superseded), down()]), Err(None));
        let votes = vec![gone(Cause::Superseded), yes(0), down()];
        assert!(owned(&votes, 2, |index| index == 0).is_ok(), "the first had done so before");
    }

    #[test]
    fn a_name_is_shown_as_long_as_no_majority_is_free() {
        let name = Name::new("x").unwrap();
        let at = |fence, left| {
            vec![Holder::new(name.clone(), Fence::new(fence), Some(Duration::from_millis(left)))]
        };
        let shown = |seen: &[Vec<Holder>]| {
            let seen: Vec<&[Holder]> = seen.iter().map(Vec::as_slice).collect();
            holder(&name, &seen, 3, 2)
                .map(|holder| (holder.fence().get(), holder.remaining().unwrap().as_millis()))
        };
        assert_eq!(shown(&[at(5, 10), at(5, 30), at(6, 20)]), Some((5, 20)));
        assert_eq!(shown(&[at(5, 10), at(5, 30), vec![]]), Some((5, 10)));
        assert_eq!(shown(&[at(5, 10), at(5, 30)]), Some((5, 30)));
        assert_eq!(shown(&[at(5, 10), vec![], vec![]]), None);
        assert_eq!(shown(&[vec![], vec![], vec![]]), None);
    }
}
