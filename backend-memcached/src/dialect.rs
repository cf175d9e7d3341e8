//! What a store says and how it understands the answers: what threads and tasks share.

use std::time::Duration;

use tenure_core::{Error, Fence, Limits, Moment, Result};

use crate::guard::Known;
use crate::placement::{Placement, fnv1a};
use crate::record::{Form, Record, State};
use crate::seen::Seen;
use crate::wire::{Item, Request, Store};

/// How the keys and values of a store look, and what is known of its servers.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(crate) form: Form,
    pub(crate) placement: Placement,
    /// The servers' addresses.
    pub(crate) servers: Box<[Box<str>]>,
    pub(crate) guards: Box<[Known]>,
    /// How long a lease can be that a server forgot, if that is to be waited out.
    pub(crate) longest: Option<Duration>,
    pub(crate) seen: Seen,
    /// What this process marks names with that it waits for.
    own: Box<str>,
}

/// Where a lock lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) server: usize,
    /// The key as the server has it.
    pub(crate) key: Box<str>,
    /// The whole key, if that is a shortened one.
    pub(crate) whole: Option<Box<str>>,
}

/// What time it is when something is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    /// In microseconds since 1970.
    pub(crate) wall: u64,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { moment: Moment::now(), wall: tenure_core::wall_micros() }
    }
}

/// What a server takes as a key as it is: up to 250 bytes without spaces and control characters. What lies
/// beyond ASCII it takes too, but some of its clients do not.
const OWN: Limits = Limits::new(250, |byte| byte.is_ascii_graphic());

/// The longest key.
const LONGEST: usize = 250;

impl Dialect {
    pub(crate) fn new(
        form: Form,
        placement: Placement,
        servers: Vec<Box<str>>,
        longest: Option<Duration>,
    ) -> Self {
        let guards = servers.iter().map(|_| Known::default()).collect();
        let own = format!("{:016x}", rand::random::<u64>()).into();
        Self { form, placement, servers: servers.into(), guards, longest, seen: Seen::default(), own }
    }

    pub(crate) fn place(&self, key: &str) -> Result<Place> {
        let (own, whole): (Box<str>, Option<Box<str>>) = match self.form {
            Form::Own => {
                let fitted = OWN.fit(key);
                (fitted.as_str().into(), fitted.is_shortened().then(|| key.into()))
            }
            Form::Token if key.len() <= LONGEST && key.bytes().all(|byte| byte > b' ' && byte != 0x7f) => {
                (key.into(), None)
            }
            Form::Token => {
                return Err(Error::invalid_name(
                    "Django's caches in memcached have no such key; use up to 250 bytes with what stands before \
                     the name, without spaces and control characters",
                ));
            }
        };
        Ok(Place { server: self.placement.place(&own, &self.servers), key: own, whole })
    }

    /// Says for a second or two that this process waits for a lock.
    pub(crate) fn mark(&self, place: &Place, request: Request) -> Request {
        let (key, value) = (mark_of(place), self.own.as_bytes());
        request.set(&Store { key: key.as_bytes(), flags: 0, life: 2, value })
    }

    /// Whether what lies where waiters leave their mark is that of another process.
    pub(crate) fn is_awaited(&self, mark: Option<&Item>) -> bool {
        mark.is_some_and(|mark| mark.value != self.own.as_bytes())
    }

    /// What a value says of a lock.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the server does not number changes, and if the value is another name's.
    pub(crate) fn read(&self, place: &Place, item: &Item) -> Result<Record> {
        if item.cas == 0 {
            return Err(no_numbers());
        }
        let record = self.form.read(item);
        if record.state != State::Foreign && record.key != place.whole && self.form == Form::Own {
            return Err(Error::invalid_name(
                "another name has the same SHA-256 as this one; take another, and tell the world",
            ));
        }
        if let Some(fence) = record.fence {
            self.guards[place.server].seen(fence);
        }
        Ok(record)
    }

    /// How much longer a lock is taken if nobody renews it, and how much longer its value must be seen for
    /// that to be certain; neither is known of what others wrote.
    pub(crate) fn rest(&self, place: &Place, item: &Item, record: &Record, now: Now) -> Rest {
        let told = record.remaining(item, now.wall);
        let sure = record.ttl.map(|ttl| self.seen.look(place.key.as_bytes(), item, ttl, now.moment));
        // The server deletes it then at the latest.
        let end = item.life.map(|seconds| Duration::from_secs(seconds + 1));
        Rest {
            told,
            sure: sure.or(end).map(|sure| end.map_or(sure, |end| sure.min(end))),
            exact: sure.is_some(),
        }
    }

    /// Whether a value stands for a lock that is taken; a look from outside.
    pub(crate) fn is_taken(&self, place: &Place, item: &Item, record: &Record, now: Now) -> bool {
        record.remaining(item, now.wall).is_none_or(|left| !left.is_zero())
            && !self.seen.is_over(place.key.as_bytes(), item, now.moment)
    }
}

/// Where those who wait for a lock leave a mark, for a process that gets it again and again. If two locks
/// share one, that process merely steps back in vain.
pub(crate) fn mark_of(place: &Place) -> String {
    format!("~w:{:016x}", fnv1a(&[place.key.as_bytes()]))
}

/// When a lock that others hold is free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// By what they said.
    told: Option<Duration>,
    /// By what was seen.
    sure: Option<Duration>,
    exact: bool,
}

impl Rest {
    /// It has ended for certain, and can be replaced.
    pub(crate) fn is_over(&self) -> bool {
        self.exact && self.sure == Some(Duration::ZERO)
    }

    /// After what time that is certain.
    pub(crate) fn sure(&self) -> Option<Duration> {
        self.sure
    }

    /// After what time asking may be of use.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.told.filter(|told| !told.is_zero()).or(self.sure)
    }
}

pub(crate) fn no_numbers() -> Error {
    Error::misconfigured(
        "the server does not number changes, so that nobody can tell whose lock it is; start memcached without -C",
    )
}

/// A fence that is above others.
pub(crate) fn fence(base: u64, cas: u64) -> Fence {
    Fence::new(base.wrapping_add(cas))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(form: Form) -> Dialect {
        Dialect::new(form, Placement::default(), vec!["a:1".into()], None)
    }

    #[test]
    fn a_key_that_a_server_takes_is_used_as_it_is() {
        let place = dialect(Form::Own).place("lock:order:7").unwrap();
        assert_eq!((&*place.key, place.whole), ("lock:order:7", None));
    }

    #[test]
    fn any_other_is_shortened_and_kept_whole_beside_it() {
        let long = format!("lock:{}", "n".repeat(300));
        for key in ["lock:with space", "lock:\u{e9}", "lock:a\r\nflush_all", "lock:~", &long] {
            let place = dialect(Form::Own).place(key).unwrap();
            assert!(
                place.key.len() <= 250 && place.key.bytes().all(|byte| byte.is_ascii_graphic()),
                "{key:?}"
            );
            assert_eq!(place.whole.as_deref(), Some(key));
            assert!(!place.key.starts_with('~'), "{key:?}: that is the guard's");
        }
    }

    #[test]
    fn a_key_that_a_cache_of_django_cannot_have_is_refused() {
        let django = dialect(Form::Token);
        assert_eq!(&*django.place(":1:lock:\u{e9}~").unwrap().key, ":1:lock:\u{e9}~");
        for key in [":1:lock:a b", ":1:lock:\n", &":".repeat(251)] {
            assert!(django.place(key).is_err_and(|error| error.is_invalid_name()), "{key:?}");
        }
    }

    #[test]
    fn the_value_of_another_name_is_no_answer() {
        let (dialect, place) = (dialect(Form::Own), dialect(Form::Own).place("with space").unwrap());
        let other = Record { key: Some("another".into()), ..Record::new(State::Held) };
        let item = Item { value: Form::Own.write(&other), cas: 4, ..Item::default() };
        assert!(dialect.read(&place, &item).is_err());
        let own = Record { key: place.whole.clone(), ..other };
        let item = Item { value: Form::Own.write(&own), ..item };
        assert!(dialect.read(&place, &item).is_ok());
        assert!(dialect.read(&place, &Item { cas: 0, ..item }).is_err_and(|error| error.is_misconfigured()));
    }
}
