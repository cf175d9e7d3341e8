//! What is said to the server, and what its answers mean. No I/O: threads and tasks use it alike.
//!
//! Writes are the `add` and `cas` of the old text protocol, told to be silent, and reads and deletions are
//! meta commands. The meta command that writes, `ms`, will not do for a lock: when the server has no memory
//! left for a new value, it deletes the old one, even if it was asked to store only where there is none
//! (memcached 1.6.18, `process_mset_command`). Whoever is denied a lock would free it. Neither says what
//! it did, but the `mg` behind it, which is needed anyway, tells who has the lock.

use memcache::exp::{MetaResponse, ReturnCode, parse_meta_result};
use tenure_core::Moment;

/// Commands that are sent in one go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    answers: usize,
    /// When the oldest of the versions in it was seen.
    seen: Option<Moment>,
}

/// Which of all the values that a key has in the course of time.
///
/// A server that is started anew begins to number changes anew, so that a number that was seen before may be
/// that of a value that somebody else put there since. A connection does not outlive its server, though: on one
/// that was there when the number was seen it means what it meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) cas: u64,
    /// When the server was asked that told it.
    pub(crate) seen: Moment,
}

/// What is stored under a key.
pub(crate) struct Store<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) flags: u32,
    /// For how many seconds of the server's clock; 0 for ever.
    pub(crate) life: u32,
    pub(crate) value: &'a [u8],
}

impl Request {
    /// Stores a value where there is none. Without an answer.
    pub(crate) fn add(self, store: &Store<'_>) -> Self {
        self.store("add", store, "")
    }

    /// Stores a value in place of one. Without an answer.
    pub(crate) fn swap(self, store: &Store<'_>, version: Version) -> Self {
        self.meant(version).store("cas", store, &format!(" {}", version.cas))
    }

    /// Stores a value, whatever is there. Without an answer.
    pub(crate) fn set(self, store: &Store<'_>) -> Self {
        self.store("set", store, "")
    }

    fn store(mut self, command: &str, store: &Store<'_>, cas: &str) -> Self {
        let Store { key, flags, life, value } = store;
        self.bytes.extend_from_slice(command.as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(key);
        let rest = format!(" {flags} {life} {}{cas} noreply\r\n", value.len());
        self.bytes.extend_from_slice(rest.as_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Reads a value, with its flags, its CAS number and its remaining life.
    pub(crate) fn get(self, key: &[u8]) -> Self {
        self.meta(b"mg ", key, b" v c t f\r\n")
    }

    /// Deletes one value.
    pub(crate) fn delete(self, key: &[u8], version: Version) -> Self {
        self.meant(version).meta(b"md ", key, format!(" C{}\r\n", version.cas).as_bytes())
    }

    fn meant(self, Version { seen, .. }: Version) -> Self {
        Self { seen: Some(self.seen.map_or(seen, |before| before.min(seen))), ..self }
    }

    /// Whether it may be sent on a connection that was made at this moment.
    pub(crate) fn is_for(&self, made: Moment) -> bool {
        self.seen.is_none_or(|seen| made <= seen)
    }

    fn meta(mut self, command: &[u8], key: &[u8], rest: &[u8]) -> Self {
        self.bytes.extend_from_slice(command);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(rest);
        self.answers += 1;
        self
    }

    /// Both, in one go.
    pub(crate) fn and(mut self, next: &Self) -> Self {
        self.bytes.extend_from_slice(&next.bytes);
        self.answers += next.answers;
        self.seen = self.seen.into_iter().chain(next.seen).min();
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many answers come.
    pub(crate) fn answers(&self) -> usize {
        self.answers
    }
}

/// What is there, or what became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Item(Item),
    Nothing,
    /// Deleted.
    Done,
    /// There is another value than the one that was meant.
    Another,
}

/// A value as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u32,
    /// The number of its latest change; all changes of a server are counted together. Zero on a server
    /// that does not count.
    pub(crate) cas: u64,
    /// How many of the server's seconds it has to live; `None` for ever.
    pub(crate) life: Option<u64>,
    /// When the server was asked for it.
    pub(crate) seen: Moment,
}

impl Item {
    pub(crate) fn version(&self) -> Version {
        Version { cas: self.cas, seen: self.seen }
    }
}

impl Default for Item {
    fn default() -> Self {
        Self { value: Vec::new(), flags: 0, cas: 0, life: None, seen: NEVER }
    }
}

/// Before all connections.
const NEVER: Moment = Moment::from_nanos(0);

impl Answer {
    pub(crate) fn read(response: MetaResponse) -> memcache::exp::Result<Self> {
        let found = parse_meta_result(response)?;
        Ok(match found.rc {
            ReturnCode::Va => Self::Item(Item {
                flags: found.client_flags.unwrap_or_default(),
                cas: found.cas.unwrap_or_default(),
                life: found.ttl.and_then(|seconds| u64::try_from(seconds).ok()),
                value: found.value.unwrap_or_default(),
                seen: NEVER,
            }),
            ReturnCode::Hd => Self::Done,
            ReturnCode::En | ReturnCode::Nf => Self::Nothing,
            _ => Self::Another,
        })
    }

    pub(crate) fn item(self) -> Option<Item> {
        match self {
            Self::Item(item) => Some(item),
            _ => None,
        }
    }
}

/// The answers to a request.
#[derive(Debug)]
pub(crate) struct Answers {
    replies: Vec<Answer>,
    /// When it was asked for them.
    asked: Moment,
    /// Whether it was sent twice, because a connection that had been idle turned out to be dead.
    pub(crate) resent: bool,
    /// Whether it was not sent at last, since no connection is as old as the versions in it.
    pub(crate) stale: bool,
}

impl Answers {
    /// Those to a request that is sent at this moment, none of which is there yet.
    pub(crate) fn asked(moment: Moment) -> Self {
        Self { replies: Vec::new(), asked: moment, resent: false, stale: false }
    }

    /// What is said of a request that was not sent, or not sent again.
    pub(crate) fn stale(resent: bool) -> Self {
        Self { resent, stale: true, ..Self::asked(NEVER) }
    }

    pub(crate) fn push(&mut self, answer: Answer) {
        self.replies.push(match answer {
            Answer::Item(item) => Answer::Item(Item { seen: self.asked, ..item }),
            other => other,
        });
    }

    pub(crate) fn sent_again(self, resent: bool) -> Self {
        Self { resent, ..self }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.replies.len()
    }

    /// The next answer, which is there since as many come as were asked for.
    pub(crate) fn take(&mut self) -> Answer {
        match self.replies.is_empty() {
            true => Answer::Nothing,
            false => self.replies.remove(0),
        }
    }

    /// The next ones, for one of several requests that were sent together.
    pub(crate) fn share(&mut self, count: usize) -> Self {
        let replies = self.replies.drain(..count.min(self.replies.len())).collect();
        Self { replies, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_protocol_says() {
        let store = Store { key: b"k", flags: 16, life: 7, value: b"abc" };
        let version = |cas| Version { cas, seen: NEVER };
        let request =
            Request::default().add(&store).swap(&store, version(5)).get(b"k").delete(b"k", version(6));
        assert_eq!(
            String::from_utf8_lossy(request.bytes()),
            "add k 16 7 3 noreply\r\nabc\r\ncas k 16 7 3 5 noreply\r\nabc\r\nmg k v c t f\r\nmd k C6\r\n"
        );
        assert_eq!(request.answers(), 2);
        let twice = request.clone().and(&request);
        assert_eq!((twice.answers(), twice.bytes().len()), (4, request.bytes().len() * 2));
    }

    #[test]
    fn answers_are_what_the_server_means() {
        let read = |line: &str| Answer::read(MetaResponse::parse_header(line.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            [read("HD"), read("EN"), read("NF"), read("EX")],
            [Answer::Done, Answer::Nothing, Answer::Nothing, Answer::Another]
        );
        let item = |cas, flags, life| Answer::Item(Item { flags, cas, life, ..Item::default() });
        assert_eq!(read("VA 0 c7 t-1 f16"), item(7, 16, None));
        assert_eq!(read("VA 0 c0 t30 f0"), item(0, 0, Some(30)));
    }

    #[test]
    fn a_version_goes_on_connections_that_were_there_when_it_was_seen() {
        let at = Moment::from_nanos;
        let of = |seen| Request::default().delete(b"k", Version { cas: 2, seen: at(seen) });
        assert!(Request::default().get(b"k").is_for(at(9)));
        assert!(of(5).is_for(at(5)) && !of(5).is_for(at(6)));
        for both in
            [of(5).and(&of(7)), of(7).and(&of(5)), of(7).delete(b"k", Version { cas: 3, seen: at(5) })]
        {
            assert!(both.is_for(at(5)) && !both.is_for(at(6)));
        }
        assert!(!Request::default().get(b"k").and(&of(5)).is_for(at(6)));
        let mut answers = Answers::asked(at(8));
        answers.push(Answer::Item(Item::default()));
        assert_eq!(answers.take().item().map(|item| item.version().seen), Some(at(8)));
        assert!(!Request::default().delete(b"k", Item::default().version()).is_for(at(1)));
    }
}
