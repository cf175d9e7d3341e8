//! The value of a lock, as it lies in the server.

use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tenure_core::{Fence, Owner};

use crate::wire::Item;

/// What stands under the key of a lock.
///
/// As text, its fields with a space between them: `t1`, the state, the lifetime in milliseconds, the owner,
/// the base of the fence, the fence, when it was written and when it was granted in microseconds since 1970,
/// the label, the reason of a force release, and the whole key if the server has a shortened one. Labels and
/// reasons are escaped as in URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) state: State,
    /// For how long it was written; unknown where others wrote it.
    pub(crate) ttl: Option<Duration>,
    pub(crate) owner: Option<Owner>,
    /// What makes a fence of a CAS number: their sum is one.
    pub(crate) base: u64,
    /// The fence of the grant; that of this very value until it is written again.
    pub(crate) fence: Option<Fence>,
    /// When this was written, by the writer's wall clock. For people, and nothing that must be exact.
    pub(crate) written: u64,
    pub(crate) since: u64,
    pub(crate) label: Box<str>,
    pub(crate) reason: Box<str>,
    pub(crate) key: Option<Box<str>>,
}

/// What the value says of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Held,
    /// Released by force; its holder has not let go yet.
    Broken,
    /// Nobody's, and still closed.
    Kept,
    /// Something that another program wrote.
    Foreign,
}

/// How values look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Own,
    /// The token alone, as Django's caches write text.
    Token,
}

/// What the server is told to keep beyond a lease, so that it never ends one early. Its clock counts
/// seconds, from any part of one, and is behind by as long as the server stood still until it is set again;
/// the second is granted for its fraction, the rest for standing still.
const GRACE: u64 = 4;

/// The longest lease: what is beyond 30 days the server takes for a date.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600 - GRACE);

/// How many of the server's seconds a value lives that stands for a lease.
pub(crate) fn life(ttl: Duration) -> u32 {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0) + GRACE;
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl Form {
    /// What Django's memcached clients mark text with.
    pub(crate) fn flags(self) -> u32 {
        match self {
            Self::Own => 0,
            Self::Token => 16,
        }
    }

    pub(crate) fn write(self, record: &Record) -> Vec<u8> {
        let owner = record.owner.map(|owner| owner.to_string());
        if self == Self::Token {
            return match (record.state, owner) {
                (State::Held, Some(owner)) => owner.into_bytes(),
                (State::Broken, Some(owner)) => format!("!{owner}").into_bytes(),
                _ => b"-".to_vec(),
            };
        }
        let state = match record.state {
            State::Held => "h",
            State::Broken => "b",
            State::Kept | State::Foreign => "k",
        };
        let millis = record.ttl.unwrap_or_default();
        let millis = millis.as_millis() + u128::from(!millis.subsec_nanos().is_multiple_of(1_000_000));
        let text = format!(
            "t1 {state} {millis} {} {} {} {} {} {} {} {}",
            owner.as_deref().unwrap_or("-"),
            record.base,
            record.fence.unwrap_or(Fence::ZERO),
            record.written,
            record.since,
            utf8_percent_encode(&record.label, ESCAPED),
            utf8_percent_encode(&record.reason, ESCAPED),
            record.key.as_deref().unwrap_or_default(),
        );
        text.into_bytes()
    }

    /// What a value says; what nobody of ours wrote is somebody's lock as well.
    pub(crate) fn read(self, item: &Item) -> Record {
        let text = std::str::from_utf8(&item.value).ok();
        let read = match self {
            Self::Own => text.and_then(read_own),
            Self::Token => text.and_then(read_token),
        };
        let mut record = read.unwrap_or_else(|| Record::new(State::Foreign));
        if self == Self::Own && record.state != State::Foreign && record.fence.is_none() {
            record.fence = Some(Fence::new(record.base.wrapping_add(item.cas)));
        }
        record
    }
}

fn read_token(text: &str) -> Option<Record> {
    let (state, owner) = match text.strip_prefix('!') {
        Some(owner) => (State::Broken, owner),
        None => (State::Held, text),
    };
    if text == "-" {
        return Some(Record::new(State::Kept));
    }
    Some(Record { owner: Some(owner.parse().ok()?), ..Record::new(state) })
}

fn read_own(text: &str) -> Option<Record> {
    let mut fields = text.splitn(11, ' ');
    let mut next = || fields.next();
    if next()? != "t1" {
        return None;
    }
    let state = match next()? {
        "h" => State::Held,
        "b" => State::Broken,
        "k" => State::Kept,
        _ => return None,
    };
    let ttl = Duration::from_millis(next()?.parse().ok()?);
    let owner = match next()? {
        "-" => None,
        owner => Some(owner.parse().ok()?),
    };
    let base = next()?.parse().ok()?;
    let fence: Fence = next()?.parse().ok()?;
    let (written, since) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let mut words = || Some(percent_decode_str(next()?).decode_utf8().ok()?.into_owned().into_boxed_str());
    let (label, reason) = (words()?, words()?);
    let key = fields.next()?;
    Some(Record {
        state,
        ttl: Some(ttl),
        owner,
        base,
        fence: Some(fence).filter(|fence| *fence != Fence::ZERO),
        written,
        since,
        label,
        reason,
        key: (!key.is_empty()).then(|| key.into()),
    })
}

impl Record {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            ttl: None,
            owner: None,
            base: 0,
            fence: None,
            written: 0,
            since: 0,
            label: "".into(),
            reason: "".into(),
            key: None,
        }
    }

    /// How long the lease goes on, as far as can be told from outside: by the writer's clock and ours,
    /// corrected by the server's seconds where those two disagree with them. `None` if it has no end.
    pub(crate) fn remaining(&self, item: &Item, wall: u64) -> Option<Duration> {
        let second = Duration::from_secs(1);
        let Some(ttl) = self.ttl else { return item.life.map(Duration::from_secs) };
        let told = Duration::from_micros(self.written.saturating_sub(wall)) + ttl;
        let told = told.saturating_sub(Duration::from_micros(wall.saturating_sub(self.written)));
        let Some(left) = item.life else { return Some(told.min(ttl)) };
        let passed = Duration::from_secs(u64::from(life(ttl)).saturating_sub(left));
        let least = ttl.saturating_sub(passed + second);
        let most = ttl.saturating_sub(passed.saturating_sub(second));
        Some(told.clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: Vec<u8>, life: Option<u64>) -> Item {
        Item { value, flags: 0, cas: 7, life }
    }

    fn record() -> Record {
        Record {
            state: State::Broken,
            ttl: Some(Duration::from_millis(1500)),
            owner: Some(Owner::random()),
            base: 1_000_000,
            fence: Some(Fence::new(1_000_003)),
            written: 5_000_000,
            since: 4_000_000,
            label: "a host/\u{e9} 100%".into(),
            reason: " because\n".into(),
            key: Some("lock: with spaces ".into()),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record();
        assert_eq!(Form::Own.read(&item(Form::Own.write(&written), None)), written);
        let plain = Record { key: None, label: "".into(), reason: "".into(), ..written };
        assert_eq!(Form::Own.read(&item(Form::Own.write(&plain), None)), plain);
        let kept = Record { state: State::Kept, owner: None, ..plain };
        assert_eq!(Form::Own.read(&item(Form::Own.write(&kept), None)), kept);
    }

    #[test]
    fn a_first_value_has_the_fence_of_its_number() {
        let first = Record { fence: None, ..record() };
        let read = Form::Own.read(&item(Form::Own.write(&first), None));
        assert_eq!(read.fence, Some(Fence::new(1_000_007)));
    }

    #[test]
    fn tokens_alone_are_told_apart_from_those_of_others() {
        let written = Form::Token.write(&Record { state: State::Held, ..record() });
        assert_eq!(written.len(), 32);
        let read = |value: &[u8]| Form::Token.read(&item(value.into(), Some(9)));
        assert_eq!(read(&written).state, State::Held);
        assert_eq!(read(&Form::Token.write(&record())).state, State::Broken);
        assert_eq!(read(b"-").state, State::Kept);
        for other in [&b"6b7d2f1c"[..], b"", b"\xff", b"t1 h"] {
            let read = read(other);
            assert_eq!((read.state, read.owner), (State::Foreign, None));
            assert_eq!(read.remaining(&item(Vec::new(), Some(9)), 0), Some(Duration::from_secs(9)));
        }
    }

    #[test]
    fn a_value_outlives_its_lease_whatever_the_fraction_of_the_servers_second() {
        for (millis, seconds) in [(10, 5), (1000, 5), (1001, 6), (2_592_000_000 - 4000, 2_592_000)] {
            assert_eq!(life(Duration::from_millis(millis)), seconds, "{millis}");
        }
        assert_eq!(life(LONGEST), 30 * 24 * 3600);
    }

    #[test]
    fn what_remains_is_told_by_the_clocks_unless_the_server_knows_better() {
        let ten = Record { ttl: Some(Duration::from_secs(10)), written: 50_000_000, ..record() };
        let left =
            |wall: u64, life| ten.remaining(&item(Vec::new(), Some(life)), wall).unwrap().as_secs_f64();
        assert_eq!(left(50_000_000, 14), 10.0);
        assert_eq!(left(53_500_000, 11), 6.5);
        assert_eq!(left(61_000_000, 4), 0.0);
        // A clock that is an hour ahead, and one that is behind.
        assert_eq!(left(3_653_500_000, 11), 6.0);
        assert_eq!(left(0, 11), 8.0);
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn no_value_is_too_odd_to_be_read(value: Vec<u8>, own: bool) {
                let form = if own { Form::Own } else { Form::Token };
                let read = form.read(&item(value, Some(3)));
                prop_assert!(read.remaining(&item(Vec::new(), Some(3)), u64::MAX).is_some());
            }

            #[test]
            fn labels_reasons_and_keys_come_back(label: String, reason: String, key in "\\PC{1,40}") {
                let written =
                    Record { label: label.into(), reason: reason.into(), key: Some(key.into()), ..record() };
                prop_assert_eq!(Form::Own.read(&item(Form::Own.write(&written), None)), written);
            }

            #[test]
            fn what_remains_is_never_more_than_the_lease(wall: u64, written: u64, life in 0..20u64) {
                let ten = Record { ttl: Some(Duration::from_secs(10)), written, ..record() };
                let left = ten.remaining(&item(Vec::new(), Some(life)), wall).unwrap();
                prop_assert!(left <= Duration::from_secs(10));
            }
        }
    }
}
