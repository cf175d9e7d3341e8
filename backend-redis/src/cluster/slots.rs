//! Which node serves which slot, and where a node sends those who ask the wrong one. See the Redis
//! cluster specification.

use std::fmt;

use crate::keys::SLOTS;
use crate::resp::Reply;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What is asked of a node.
pub(crate) const QUESTION: &[&[u8]] = &[b"CLUSTER", b"SLOTS"];

/// The master of each slot, and all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    nodes: Vec<Address>,
    /// By slot: one more than the place of its master among the nodes, or zero.
    masters: Vec<u16>,
}

impl Slots {
    /// Reads the answer of a node that was reached by this host.
    pub(crate) fn parse(reply: &Reply, asked: &str) -> Option<Self> {
        let mut slots = Self { nodes: Vec::new(), masters: vec![0; usize::from(SLOTS)] };
        for range in reply.list()? {
            let [first, last, nodes @ ..] = range.list()? else { return None };
            let (first, last) = (usize::try_from(first.int()?).ok()?, usize::try_from(last.int()?).ok()?);
            for (place, node) in nodes.iter().enumerate() {
                let [host, port, ..] = node.list()? else { return None };
                let port = u16::try_from(port.int()?).ok()?;
                let Some(address) = address(host.text().unwrap_or_default(), port, asked) else { continue };
                let number = slots.number(address)?;
                if place == 0 {
                    slots.masters.get_mut(first..=last)?.fill(number);
                }
            }
        }
        Some(slots)
    }

    pub(crate) fn master(&self, slot: u16) -> Option<&Address> {
        let number = *self.masters.get(usize::from(slot))?;
        self.nodes.get(usize::from(number).checked_sub(1)?)
    }

    /// Learns that one slot has another master.
    pub(crate) fn moved(&mut self, slot: u16, address: Address) {
        let number = self.number(address);
        if let (Some(number), Some(master)) = (number, self.masters.get_mut(usize::from(slot))) {
            *master = number;
        }
    }

    /// All nodes that are known, in the order in which they were told.
    pub(crate) fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// The nodes that serve slots.
    pub(crate) fn masters(&self) -> Vec<Address> {
        let mut numbers = self.masters.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let place = |number: &u16| usize::from(*number).checked_sub(1);
        numbers.iter().filter_map(place).filter_map(|place| self.nodes.get(place).cloned()).collect()
    }

    fn number(&mut self, address: Address) -> Option<u16> {
        let known = self.nodes.iter().position(|node| *node == address);
        let place = known.unwrap_or_else(|| {
            self.nodes.push(address);
            self.nodes.len() - 1
        });
        u16::try_from(place + 1).ok()
    }
}

/// Where to ask instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// There from now on.
    Moved(u16, Address),
    /// There this once, after `ASKING`.
    Ask(Address),
    /// Nowhere while the slot's keys are on their way, some here and some there.
    TryAgain,
    /// The node serves nothing now; another may know more.
    Down,
}

impl Redirect {
    /// Reads an answer of a node that was reached by this host.
    pub(crate) fn of(reply: &Reply, asked: &str) -> Option<Self> {
        let Reply::Error(message) = reply else { return None };
        let mut words = message.split_whitespace();
        let kind = words.next()?;
        let mut target = || {
            let slot = words.next()?.parse().ok()?;
            // An address of version 6 stands there without brackets.
            let (host, port) = words.next()?.rsplit_once(':')?;
            Some((slot, address(host.as_bytes(), port.parse().ok()?, asked)?))
        };
        match kind {
            "MOVED" => Some(target().map_or(Self::Down, |(slot, address)| Self::Moved(slot, address))),
            "ASK" => Some(target().map_or(Self::Down, |(_, address)| Self::Ask(address))),
            "TRYAGAIN" => Some(Self::TryAgain),
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" => Some(Self::Down),
            _ => None,
        }
    }
}

/// An address as nodes tell it: no host means the one that was asked, `?` one that nobody knows.
fn address(host: &[u8], port: u16, asked: &str) -> Option<Address> {
    let host = match std::str::from_utf8(host).ok()? {
        "?" => return None,
        "" => asked,
        host => host,
    };
    Some(Address { host: host.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    fn node(host: &str, port: i64) -> Reply {
        let host = if host.is_empty() { Reply::Nil } else { Reply::Text(host.into()) };
        Reply::List(vec![host, Reply::Int(port), Reply::Text(b"id".to_vec()), Reply::List(Vec::new())])
    }

    fn range(first: i64, last: i64, nodes: &[Reply]) -> Reply {
        Reply::List([&[Reply::Int(first), Reply::Int(last)], nodes].concat())
    }

    #[test]
    fn each_slot_has_the_master_that_was_told_and_no_replica() {
        let told = Reply::List(vec![
            range(0, 99, &[node("a", 1), node("b", 2)]),
            range(101, 16383, &[node("", 3), node("?", 4)]),
            range(100, 100, &[node("a", 1)]),
        ]);
        let mut slots = Slots::parse(&told, "me").expect("it is well formed");
        for (slot, expected) in
            [(0, at("a", 1)), (99, at("a", 1)), (100, at("a", 1)), (101, at("me", 3)), (16383, at("me", 3))]
        {
            assert_eq!(slots.master(slot), Some(&expected), "{slot}");
        }
        assert_eq!(slots.masters(), [at("a", 1), at("me", 3)]);
        assert_eq!(slots.nodes(), [at("a", 1), at("b", 2), at("me", 3)]);
        slots.moved(99, at("c", 5));
        assert_eq!((slots.master(98), slots.master(99)), (Some(&at("a", 1)), Some(&at("c", 5))));
    }

    #[test]
    fn a_slot_that_nobody_serves_has_no_master() {
        let slots = Slots::parse(&Reply::List(vec![range(0, 9, &[node("a", 1)])]), "me");
        assert_eq!(slots.expect("it is well formed").master(10), None);
        assert_eq!(Slots::default().master(0), None);
    }

    #[test]
    fn nonsense_is_no_map() {
        for reply in [
            Reply::Nil,
            Reply::List(vec![Reply::Int(1)]),
            Reply::List(vec![range(5, 16384, &[node("a", 1)])]),
            Reply::List(vec![range(-1, 5, &[node("a", 1)])]),
            Reply::List(vec![range(7, 5, &[node("a", 1)])]),
            Reply::List(vec![range(0, 5, &[node("a", 70_000)])]),
        ] {
            assert!(Slots::parse(&reply, "me").is_none(), "{reply:?}");
        }
    }

    #[test]
    fn redirections_are_read() {
        let of = |text: &str| Redirect::of(&Reply::Error(text.into()), "me");
        assert_eq!(of("MOVED 3999 127.0.0.1:6381"), Some(Redirect::Moved(3999, at("127.0.0.1", 6381))));
        assert_eq!(of("MOVED 1 ::1:7"), Some(Redirect::Moved(1, at("::1", 7))));
        assert_eq!(of("MOVED 1 :7"), Some(Redirect::Moved(1, at("me", 7))));
        assert_eq!(of("MOVED 1 ?:7"), Some(Redirect::Down));
        assert_eq!(of("ASK 3999 h:1"), Some(Redirect::Ask(at("h", 1))));
        assert_eq!(of("TRYAGAIN Multiple keys"), Some(Redirect::TryAgain));
        assert_eq!(of("CLUSTERDOWN The cluster is down"), Some(Redirect::Down));
        assert_eq!(of("NOSCRIPT No matching script"), None);
        assert_eq!(Redirect::of(&Reply::Int(1), "me"), None);
        assert_eq!(at("::1", 7).to_string(), "[::1]:7");
    }
}
