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
    read: Option<Moment>,
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

    /// Stores a value in place of the one that has this CAS number. Without an answer.
    pub(crate) fn swap(self, store: &Store<'_>, cas: u64) -> Self {
        self.store("cas", store, &format!(" {cas}"))
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

    /// Deletes the value that has this CAS number.
    pub(crate) fn delete(self, key: &[u8], cas: u64) -> Self {
        self.meta(b"md ", key, format!(" C{cas}\r\n").as_bytes())
    }

    fn meta(mut self, command: &[u8], key: &[u8], rest: &[u8]) -> Self {
        self.bytes.extend_from_slice(command);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(rest);
        self.answers += 1;
        self
    }

    /// Says when the CAS numbers in it were read: the moment when that was asked for.
    ///
    /// A server that is started anew counts from the beginning, so that such a number may be another value's
    /// by now. A connection does not outlive the server; one that was there at that moment leads to the same
    /// life of it, and only on such a connection this may be said.
    pub(crate) fn read_at(mut self, moment: Moment) -> Self {
        self.read = Some(self.read.map_or(moment, |earlier| earlier.min(moment)));
        self
    }

    /// Whether it may be said on a connection that was made at this moment.
    pub(crate) fn fits(&self, made: Moment) -> bool {
        self.read.is_none_or(|moment| made <= moment)
    }

    /// Both, in one go.
    pub(crate) fn and(mut self, next: &Self) -> Self {
        if let Some(moment) = next.read {
            self = self.read_at(moment);
        }
        self.bytes.extend_from_slice(&next.bytes);
        self.answers += next.answers;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u32,
    /// The number of its latest change; all changes of a server are counted together. Zero on a server
    /// that does not count.
    pub(crate) cas: u64,
    /// How many of the server's seconds it has to live; `None` for ever.
    pub(crate) life: Option<u64>,
}

impl Answer {
    pub(crate) fn read(response: MetaResponse) -> memcache::exp::Result<Self> {
        let found = parse_meta_result(response)?;
        Ok(match found.rc {
            ReturnCode::Va => Self::Item(Item {
                flags: found.client_flags.unwrap_or_default(),
                cas: found.cas.unwrap_or_default(),
                life: found.ttl.and_then(|seconds| u64::try_from(seconds).ok()),
                value: found.value.unwrap_or_default(),
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
    pub(crate) replies: Vec<Answer>,
    /// When it was sent, on a connection that was there by then.
    pub(crate) sent: Moment,
    /// Whether it was sent twice, because a connection that had been idle turned out to be dead.
    pub(crate) resent: bool,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Said {
    Answered(Answers),
    /// It was not sent, for want of a connection from when its numbers were read; what it is about must be
    /// looked at again. An attempt on another connection may have been carried out.
    Stale {
        resent: bool,
    },
}

impl Said {
    /// As [`Answers::share`].
    pub(crate) fn share(&mut self, count: usize) -> Self {
        match self {
            Self::Answered(answers) => Self::Answered(answers.share(count)),
            Self::Stale { resent } => Self::Stale { resent: *resent },
        }
    }
}

impl Answers {
    pub(crate) fn new(sent: Moment) -> Self {
        Self { replies: Vec::new(), sent, resent: false }
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
        Self { replies, sent: self.sent, resent: self.resent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_protocol_says() {
        let store = Store { key: b"k", flags: 16, life: 7, value: b"abc" };
        let request = Request::default().add(&store).swap(&store, 5).get(b"k").delete(b"k", 6);
        assert_eq!(
            String::from_utf8_lossy(request.bytes()),
            "add k 16 7 3 noreply\r\nabc\r\ncas k 16 7 3 5 noreply\r\nabc\r\nmg k v c t f\r\nmd k C6\r\n"
        );
        assert_eq!(request.answers(), 2);
        let twice = request.clone().and(&request);
        assert_eq!((twice.answers(), twice.bytes().len()), (4, request.bytes().len() * 2));
    }

    #[test]
    fn a_number_is_said_on_connections_alone_that_were_there_when_it_was_read() {
        let moment = |nanos| Moment::from_nanos(nanos);
        let read = Request::default().get(b"k");
        assert!(read.fits(moment(9)));
        let (one, other) = (read.clone().read_at(moment(5)), read.clone().read_at(moment(3)));
        assert!(one.fits(moment(5)) && !one.fits(moment(6)));
        let both = read.and(&one).and(&other);
        assert!(both.fits(moment(3)) && !both.fits(moment(4)));
    }

    #[test]
    fn answers_are_what_the_server_means() {
        let read = |line: &str| Answer::read(MetaResponse::parse_header(line.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            [read("HD"), read("EN"), read("NF"), read("EX")],
            [Answer::Done, Answer::Nothing, Answer::Nothing, Answer::Another]
        );
        let item = |cas, flags, life| Answer::Item(Item { value: Vec::new(), flags, cas, life });
        assert_eq!(read("VA 0 c7 t-1 f16"), item(7, 16, None));
        assert_eq!(read("VA 0 c0 t30 f0"), item(0, 0, Some(30)));
    }
}
