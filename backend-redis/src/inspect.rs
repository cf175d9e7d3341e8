//! Looking at locks from outside, and breaking them.

use tenure_core::{Backend, Breaking, Holder, Inspect, Name, Result, Site};

use crate::Redis;
use crate::keys::{Keys, MARK};
use crate::resp::{Packed, Reply};
use crate::script;

impl Inspect for Redis {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let keys = Keys::checked(&key_of(self.site(), name))?;
        let (reply, _) = self.call(&self.dialect().look(&keys), None)?;
        Ok(script::holders(name, &reply)?.pop())
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let mut scan = Scan::new(self.site(), prefix);
        let parts = self.transport().parts()?;
        let alone = parts.is_empty().then_some(self.transport());
        for server in alone.into_iter().chain(parts.iter().map(|part| &**part)) {
            scan.begin();
            while let Some(step) = scan.step() {
                let step: Vec<&[u8]> = step.iter().map(Vec::as_slice).collect();
                let answers = server.exchange(&Packed::command(&step), None)?;
                scan.found(answers.replies.first().unwrap_or(&Reply::Nil))?;
            }
        }
        let mut holders = Vec::new();
        for name in scan.names() {
            let keys = Keys::new(&key_of(self.site(), &name));
            let (reply, _) = self.call(&self.dialect().look(&keys), None)?;
            holders.extend(script::holders(&name, &reply)?);
        }
        Ok(holders)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let key = key_of(self.site(), name);
        let (reply, _) = self.call(&self.dialect().force(&Keys::checked(&key)?, breaking, reason), None)?;
        let seen = script::holders(name, &reply)?.pop();
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

/// How many keys a step of a scan looks at.
const STEP: &[u8] = b"1000";

/// The steps that find all names with a prefix, and what they have found.
pub(crate) struct Scan {
    own: Box<str>,
    pattern: String,
    cursor: Option<Vec<u8>>,
    names: Vec<Name>,
}

impl Scan {
    pub(crate) fn new(site: &Site, prefix: &str) -> Self {
        let own = site.settings().prefix();
        let pattern = [escaped(own), escaped(prefix), "*".into()].concat();
        Self { own: own.into(), pattern, cursor: None, names: Vec::new() }
    }

    /// Begins with a server.
    pub(crate) fn begin(&mut self) {
        self.cursor = Some(b"0".to_vec());
    }

    /// The next command; `None` when all was seen.
    pub(crate) fn step(&self) -> Option<Vec<Vec<u8>>> {
        let cursor = self.cursor.clone()?;
        let pattern = self.pattern.clone().into_bytes();
        Some(vec![b"SCAN".to_vec(), cursor, b"MATCH".to_vec(), pattern, b"COUNT".to_vec(), STEP.to_vec()])
    }

    /// Takes in its answer.
    pub(crate) fn found(&mut self, reply: &Reply) -> Result<()> {
        let Some([next, keys]) = reply.list() else { return Err(script::odd(reply)) };
        for key in keys.list().unwrap_or_default().iter().filter_map(Reply::text) {
            let key = std::str::from_utf8(key).ok().filter(|key| !key.starts_with(MARK));
            let name = key.and_then(|key| key.strip_prefix(&*self.own));
            self.names.extend(name.and_then(|name| Name::new(name).ok()));
        }
        self.cursor = next.text().filter(|cursor| *cursor != b"0").map(<[u8]>::to_vec);
        Ok(())
    }

    /// What was found, in order; a scan may see a key twice.
    pub(crate) fn names(mut self) -> Vec<Name> {
        self.names.sort();
        self.names.dedup();
        self.names
    }
}

/// A text as a pattern that matches it alone.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for part in text.chars() {
        if matches!(part, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(part);
    }
    pattern
}
