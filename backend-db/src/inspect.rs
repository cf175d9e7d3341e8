//! Looking at locks from outside, and breaking them.

use tenure_core::{Backend, Breaking, Error, Holder, Inspect, Name, Result, Site};

use crate::Db;
use crate::answer::Seen;
use crate::key::Key;
use crate::statement::{Statement, Text, Values, cut};

/// How often a lock is looked at anew that changes between a look and a deed.
pub(crate) const LOOKS: u32 = 100;

impl Inspect for Db {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let key = Key::new(&whole_key(self.site(), name.as_str()));
        Ok(self.see(&key)?.map(|seen| seen.holder(name.clone())))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let from = whole_key(self.site(), prefix);
        let values =
            Values { from: from.clone().into_bytes(), to: after(from.as_bytes()), ..Values::default() };
        Ok(holders_of(self.site(), &from, self.look(&self.inner().dialect.list, values)?))
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let whole = whole_key(self.site(), name.as_str());
        let key = Key::new(&whole);
        for _ in 0..LOOKS {
            let Some(seen) = self.see(&key)? else { return Ok(None) };
            let values = breaking_values(&key, &seen, breaking, reason);
            let dialect = &self.inner().dialect;
            let forced = match seen.is_share() {
                false => self.inner().follow(&dialect.force, values)?,
                true => self.inner().follow_in(&dialect.shares.force, Some(dialect.shares.begin), values)?,
            };
            if forced.value.is_some() {
                let holder = seen.holder(name.clone());
                self.site().force_released(&holder, breaking, reason);
                self.site().notify(&whole);
                self.tell(&key);
                return Ok(Some(holder));
            }
        }
        Err(Error::unavailable("the lock changes hands again and again; try again").settled())
    }
}

impl Db {
    /// Tells who waits that a lock may be free.
    fn tell(&self, key: &Key) {
        let inner = self.inner();
        if let Some(text) = &inner.dialect.wake {
            let values = Values { channel: inner.channel.clone(), ..Values::of(key) };
            // Who is not told asks anew after a while.
            let _ = inner.pool.ask(|link| link.act(Statement::new(text, &values)));
        }
        inner.wake.released(key, true);
    }

    fn see(&self, key: &Key) -> Result<Option<Seen>> {
        Ok(self.look(&self.inner().dialect.look, Values::of(key))?.pop())
    }

    fn look(&self, text: &Text, mut values: Values) -> Result<Vec<Seen>> {
        self.inner().fill(&mut values);
        let seen = self.inner().pool.ask(|link| {
            values.read_clocks();
            link.look(Statement::new(text, &values))
        });
        Ok(seen?.value)
    }
}

/// The key of a name, or what the keys of names that begin so begin with.
pub(crate) fn whole_key(site: &Site, name: &str) -> String {
    [site.settings().prefix(), name].concat()
}

/// The holders that were seen, as far as their keys begin so, in order of their names.
pub(crate) fn holders_of(site: &Site, from: &str, seen: Vec<Seen>) -> Vec<Holder> {
    let own = site.settings().prefix();
    let mut holders = Vec::new();
    for seen in seen {
        let key = seen.key().filter(|key| key.starts_with(from));
        let name = key.and_then(|key| key.strip_prefix(own)).and_then(|name| Name::new(name).ok());
        holders.extend(name.map(|name| seen.holder(name)));
    }
    holders.sort_by(|one, other| one.name().cmp(other.name()));
    holders
}

/// What is said to take a lock away from whom it was seen with.
pub(crate) fn breaking_values(key: &Key, seen: &Seen, breaking: Breaking, reason: &str) -> Values {
    Values {
        victim: seen.token.clone(),
        fence: seen.fence,
        force: i64::from(breaking == Breaking::Now),
        reason: cut(reason).to_vec(),
        ..Values::of(key)
    }
}

/// What comes after all keys that begin so: the byte 255 is in no UTF-8.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff]].concat()
}
