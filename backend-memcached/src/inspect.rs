//! Looking at locks from outside, and breaking them.

use std::thread;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tenure_core::{Backend, Breaking, Error, Holder, Inspect, Name, Result, Site};

use crate::Memcached;
use crate::config::Limits;
use crate::dialect::Dialect;
use crate::record::{Form, State};
use crate::stats;
use crate::talk::{Force, Look};
use crate::wire::Item;

impl Inspect for Memcached {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let place = self.dialect().place(&key_of(self.site(), name))?;
        self.hold(Look::new(self.dialect(), &place, name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let mut names = Vec::new();
        for (number, server) in self.dialect().servers.iter().enumerate() {
            for key in keys(server, self.limits())? {
                let read = || self.hold(crate::talk::Read::new(number, &key));
                names.extend(name_of(self.dialect(), self.site(), &key, prefix, read)?);
            }
        }
        sort(&mut names);
        let holders = names.iter().map(|name| self.inspect(name).map(Option::into_iter));
        Ok(holders.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let key = key_of(self.site(), name);
        let place = self.dialect().place(&key)?;
        let seen = self.hold(Force::new(self.dialect(), &place, name, breaking, reason))?;
        if let Some(seen) = &seen {
            self.site().force_released(seen, breaking, reason);
            self.site().notify(&key);
        }
        Ok(seen)
    }
}

/// A name's key: the prefix and the name.
pub(crate) fn key_of(site: &Site, name: &Name) -> String {
    [site.settings().prefix(), name.as_str()].concat()
}

pub(crate) fn sort(names: &mut Vec<Name>) {
    names.sort();
    names.dedup();
}

/// How often a server that lists its keys for somebody else is asked again.
const TRIES: u32 = 100;

/// All keys of a server, of whatever is in it. By its table: its lists change while it walks along them.
pub(crate) fn keys(server: &str, limits: Limits) -> Result<Vec<String>> {
    for _ in 0..TRIES {
        let text = stats::ask(server, "lru_crawler metadump hash", limits)?;
        if text.starts_with("BUSY") {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        if !text.ends_with("END\r\n") {
            return Err(Error::unavailable(
                "the server does not list its keys; start memcached without no_lru_crawler",
            )
            .with_source(text.trim())
            .settled());
        }
        let key = |line: &str| {
            let key = line.strip_prefix("key=")?.split(' ').next()?;
            Some(percent_decode_str(key).decode_utf8().ok()?.into_owned())
        };
        return Ok(text.lines().filter_map(key).collect());
    }
    Err(Error::unavailable("the server is busy listing its keys for others").settled())
}

/// The name of a lock by its key in a server, if it is one of the site's that starts so; `read` reads what
/// lies there, which tells the name if the key was shortened.
pub(crate) fn name_of(
    dialect: &Dialect,
    site: &Site,
    key: &str,
    prefix: &str,
    read: impl FnOnce() -> Result<Option<Item>>,
) -> Result<Option<Name>> {
    let own = site.settings().prefix();
    let named = |key: &str| {
        let name = key.strip_prefix(own).filter(|name| name.starts_with(prefix))?;
        Name::new(name).ok()
    };
    if dialect.form == Form::Token || !key.contains('~') {
        return Ok(named(key));
    }
    let record = read()?.map(|item| dialect.form.read(&item)).filter(|record| record.state != State::Foreign);
    Ok(record.and_then(|record| record.key).and_then(|key| named(&key)))
}
