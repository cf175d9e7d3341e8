//! What a process knows of a cluster, and where a request goes by it. No I/O: threads and tasks use it
//! alike.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tenure_core::{Error, Moment, Result, Site};

use super::slots::{Address, Redirect, Slots};
use crate::keys::{SLOTS, slot};
use crate::resp::Reply;

/// What is known of a cluster; `N` is what leads to a node.
pub(crate) struct Known<N> {
    seeds: Vec<Address>,
    open: Box<Opens<N>>,
    state: Mutex<State<N>>,
    /// Who is told of slots that have another master.
    site: OnceLock<Site>,
}

type Opens<N> = dyn Fn(&Address) -> Result<N> + Send + Sync;

struct State<N> {
    slots: Slots,
    nodes: HashMap<Address, N>,
    /// All that there ever were; the place of one is its number.
    numbers: Vec<Address>,
    /// Whether something has shown that the slots may have other masters by now.
    stale: bool,
    looked: Option<Moment>,
    /// How often it was looked, so that each look begins with another node.
    looks: usize,
    /// The node that gave no answer last, which is asked last.
    failed: Option<Address>,
}

/// How often the nodes are asked which of them serves what, at most.
const PACE: Duration = Duration::from_millis(100);

/// How often a request is sent elsewhere before it is given up.
const HOPS: u32 = 8;

impl<N: Clone> Known<N> {
    pub(crate) fn new(
        seeds: Vec<Address>,
        open: impl Fn(&Address) -> Result<N> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            slots: Slots::default(),
            nodes: HashMap::new(),
            numbers: Vec::new(),
            stale: true,
            looked: None,
            looks: 0,
            failed: None,
        };
        Self { seeds, open: Box::new(open), state: Mutex::new(state), site: OnceLock::new() }
    }

    /// Tells of slots that have another master from now on, which may not know all locks that its
    /// predecessor granted.
    pub(crate) fn tell(&self, site: &Site) {
        let _ = self.site.set(site.clone());
    }

    /// What leads to a node.
    pub(crate) fn node(&self, address: &Address) -> Result<N> {
        let mut state = self.state();
        if let Some(node) = state.nodes.get(address) {
            return Ok(node.clone());
        }
        let node = (self.open)(address)?;
        state.nodes.insert(address.clone(), node.clone());
        Ok(node)
    }

    /// The node that serves a slot.
    pub(crate) fn owner(&self, slot: u16) -> Result<Address> {
        self.state().slots.master(slot).cloned().ok_or_else(|| {
            Error::unavailable(format!(
                "no node of the cluster is known to serve slot {slot}; see CLUSTER NODES"
            ))
            .settled()
        })
    }

    /// The nodes that serve slots.
    pub(crate) fn masters(&self) -> Vec<Address> {
        self.state().slots.masters()
    }

    /// The number of a node, the same for ever.
    pub(crate) fn number(&self, address: &Address) -> u64 {
        let mut state = self.state();
        let known = state.numbers.iter().position(|known| known == address);
        let place = known.unwrap_or_else(|| {
            state.numbers.push(address.clone());
            state.numbers.len() - 1
        });
        place as u64
    }

    /// The node of a number.
    pub(crate) fn numbered(&self, number: u64) -> Option<Address> {
        self.state().numbers.get(usize::try_from(number).ok()?).cloned()
    }

    /// All that may know which node serves what, the likeliest first.
    pub(crate) fn whom(&self) -> Vec<Address> {
        let mut state = self.state();
        state.looks += 1;
        let mut whom = state.slots.nodes().to_vec();
        whom.extend(self.seeds.iter().filter(|seed| !state.slots.nodes().contains(seed)).cloned());
        let turn = (state.looks - 1) % whom.len().max(1);
        whom.rotate_left(turn);
        // Stable: the others keep their order.
        whom.sort_by_key(|address| state.failed.as_ref() == Some(address));
        whom
    }

    /// Whom to ask which node serves what, if that is in doubt and nobody has asked just now.
    pub(crate) fn due(&self, now: Moment) -> Option<Vec<Address>> {
        let mut state = self.state();
        let early = state.looked.is_some_and(|looked| now.since(looked) < PACE);
        if !state.stale || early {
            return None;
        }
        state.looked = Some(now);
        drop(state);
        Some(self.whom())
    }

    /// Takes in what a node answered.
    pub(crate) fn learn(&self, slots: Slots) {
        let mut state = self.state();
        // Nodes that left take their connections with them.
        state.nodes.retain(|address, _| slots.nodes().contains(address) || self.seeds.contains(address));
        let before = std::mem::replace(&mut state.slots, slots.clone());
        state.stale = false;
        drop(state);
        self.doubt(move |slot| before.master(slot) != slots.master(slot));
    }

    fn doubt(&self, changed: impl Fn(u16) -> bool + Send + Sync + 'static) {
        if let Some(site) = self.site.get()
            && (0..SLOTS).any(&changed)
        {
            site.doubt(move |key| changed(slot(key.as_bytes())));
        }
    }

    /// A node did not answer: another may have taken its place.
    pub(crate) fn failed(&self, address: &Address) {
        let mut state = self.state();
        state.stale = true;
        state.failed = Some(address.clone());
    }

    fn moved(&self, slot: u16, address: Address) {
        let mut state = self.state();
        state.slots.moved(slot, address);
        // Where one slot went others may have gone.
        state.stale = true;
        drop(state);
        self.doubt(move |changed| changed == slot);
    }

    fn state(&self) -> MutexGuard<'_, State<N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of one request through the cluster.
pub(crate) struct Route<'k, N> {
    known: &'k Known<N>,
    slot: u16,
    address: Address,
    asking: bool,
    hops: u32,
    pause: Duration,
    until: Moment,
}

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is one.
    Done,
    /// Ask again, perhaps elsewhere.
    Again,
    /// Ask again after this time.
    After(Duration),
}

impl<'k, N: Clone> Route<'k, N> {
    /// The way of a request for a key; it is asked again until then while the key's slot moves.
    pub(crate) fn new(known: &'k Known<N>, key: &[u8], until: Moment) -> Result<Self> {
        let slot = slot(key);
        let address = known.owner(slot)?;
        Ok(Self { known, slot, address, asking: false, hops: 0, pause: Duration::from_millis(5), until })
    }

    /// The number of the node to ask next.
    pub(crate) fn number(&self) -> u64 {
        self.known.number(&self.address)
    }

    /// What leads to the node to ask next.
    pub(crate) fn node(&self) -> Result<N> {
        self.known.node(&self.address)
    }

    /// Whether to say `ASKING` before.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking
    }

    /// Takes in what the node answered.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the nodes send the request in circles.
    pub(crate) fn answered(&mut self, replies: &[Reply], now: Moment) -> Result<Step> {
        let redirect = replies.iter().find_map(|reply| Redirect::of(reply, &self.address.host));
        self.asking = false;
        match redirect {
            None => return Ok(Step::Done),
            Some(Redirect::Down) => {
                self.known.failed(&self.address);
                return Ok(Step::Done);
            }
            Some(Redirect::TryAgain) => {
                if now + self.pause > self.until {
                    return Ok(Step::Done);
                }
                self.address = self.known.owner(self.slot)?;
                self.hops = 0;
                let pause = self.pause;
                self.pause = (pause * 2).min(Duration::from_millis(80));
                return Ok(Step::After(pause));
            }
            Some(Redirect::Moved(slot, address)) => {
                self.known.moved(slot, address.clone());
                self.address = address;
            }
            Some(Redirect::Ask(address)) => {
                self.address = address;
                self.asking = true;
            }
        }
        self.hops += 1;
        if self.hops > HOPS {
            self.known.failed(&self.address);
            return Err(Error::unavailable(
                "the nodes of the cluster do not agree which of them serves the lock; see CLUSTER NODES",
            )
            .settled());
        }
        Ok(Step::Again)
    }

    /// The node did not answer. Whom to ask who serves its slots now, if it is worth a try at once.
    pub(crate) fn unanswered(&mut self, error: &Error, now: Moment) -> Option<Vec<Address>> {
        self.known.failed(&self.address);
        self.asking = false;
        // What may have been carried out is left to the caller, who asks again with the same token.
        if error.is_settled() { self.known.due(now) } else { None }
    }

    /// Whether another node serves the slot by now.
    pub(crate) fn changes(&mut self) -> bool {
        self.hops += 1;
        match self.known.owner(self.slot) {
            Ok(owner) if owner != self.address && self.hops <= HOPS => {
                self.address = owner;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    /// A cluster with all slots at node 1 and a replica 2; seeds 1 and 9.
    fn known() -> Known<u16> {
        let known = Known::new(vec![at(1), at(9)], |address| Ok(address.port));
        known.learn(slots(1, 2));
        known
    }

    fn slots(master: i64, replica: i64) -> Slots {
        let node = |port| Reply::List(vec![Reply::Text(b"h".to_vec()), Reply::Int(port)]);
        let range = vec![Reply::Int(0), Reply::Int(16383), node(master), node(replica)];
        Slots::parse(&Reply::List(vec![Reply::List(range)]), "h").expect("it is well formed")
    }

    fn refused(text: &str) -> [Reply; 1] {
        [Reply::Error(text.into())]
    }

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_moved_slot_is_asked_for_there_from_now_on() {
        let known = known();
        let slot = slot(b"k");
        let mut route = Route::new(&known, b"k", NOW).expect("it has a master");
        let step = route.answered(&refused(&format!("MOVED {slot} h:2")), NOW).expect("once is no circle");
        assert_eq!((step, route.node().ok(), route.is_asking()), (Step::Again, Some(2), false));
        assert_eq!(known.owner(slot).ok(), Some(at(2)));
        assert!(known.due(NOW).is_some(), "others may have moved with it");
    }

    #[test]
    fn what_is_asked_elsewhere_once_stays_where_it_is() {
        let known = known();
        let mut route = Route::new(&known, b"k", NOW).expect("it has a master");
        let step = route.answered(&refused("ASK 1 h:2"), NOW).expect("once is no circle");
        assert_eq!((step, route.node().ok(), route.is_asking()), (Step::Again, Some(2), true));
        assert_eq!(known.owner(slot(b"k")).ok(), Some(at(1)));
        assert!(known.due(NOW).is_none());
    }

    #[test]
    fn keys_on_their_way_are_waited_for_until_the_time_is_over() {
        let known = known();
        let mut route = Route::new(&known, b"k", NOW + SECOND).expect("it has a master");
        let mut now = NOW;
        loop {
            route.answered(&refused("ASK 1 h:2"), now).expect("no circle, however often");
            match route.answered(&refused("TRYAGAIN"), now).expect("no circle, however often") {
                Step::After(pause) => now = now + pause,
                Step::Done => break,
                Step::Again => panic!("without a pause"),
            }
            assert_eq!((route.node().ok(), route.is_asking()), (Some(1), false));
        }
        assert!(now <= NOW + SECOND && now > NOW + SECOND / 2);
    }

    #[test]
    fn circles_end() {
        let known = known();
        let mut route = Route::new(&known, b"k", NOW).expect("it has a master");
        let circle = refused(&format!("MOVED {} h:1", slot(b"k")));
        let rounds = (0..100).take_while(|_| route.answered(&circle, NOW).is_ok()).count();
        assert!(rounds < 20, "{rounds}");
    }

    #[test]
    fn after_a_failure_others_are_asked_first_and_not_too_often() {
        let known = known();
        assert!(known.due(NOW).is_none(), "nothing is in doubt");
        let mut route = Route::new(&known, b"k", NOW).expect("it has a master");
        let dead = Error::unavailable("refused").settled();
        let whom = route.unanswered(&dead, NOW).expect("it is in doubt");
        assert_eq!(whom.last(), Some(&at(1)));
        assert_eq!(whom.len(), 3);
        assert!(known.due(NOW + PACE / 2).is_none());
        assert!(known.due(NOW + PACE).is_some());
        assert!(!route.changes());
        known.learn(slots(2, 1));
        assert!(route.changes());
        assert_eq!(route.node().ok(), Some(2));
        assert!(known.due(NOW + PACE * 3).is_none());
    }

    #[test]
    fn what_may_have_been_carried_out_goes_nowhere_else() {
        let known = known();
        let mut route = Route::new(&known, b"k", NOW).expect("it has a master");
        assert!(route.unanswered(&Error::unavailable("silence"), NOW).is_none());
        assert!(known.due(NOW).is_some());
    }
}
