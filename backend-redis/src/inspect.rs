//! Looking at locks from outside, and breaking them.

use tenure_core::{Backend, Breaking, Holder, Inspect, Name, Result};

use crate::Redis;
use crate::keys::Keys;
use crate::resp::{Packed, Reply};
use crate::script;

/// How many keys a step of a scan looks at.
const STEP: &[u8] = b"1000";

impl Inspect for Redis {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let (reply, _) = self.call(&self.dialect().look(&self.keys_of(name)), None)?;
        Ok(script::holders(name, &reply)?.pop())
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let own = self.site().settings().prefix();
        let pattern = [escaped(own), escaped(prefix), "*".into()].concat();
        let mut names = Vec::new();
        let mut cursor = b"0".to_vec();
        loop {
            let step: &[&[u8]] = &[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", STEP];
            let answers = self.transport().exchange(&Packed::command(step), None)?;
            let (next, keys) = match answers.replies.first().and_then(Reply::list) {
                Some([next, keys]) => (next, keys),
                _ => return Err(script::odd(answers.replies.first().unwrap_or(&Reply::Nil))),
            };
            for key in keys.list().unwrap_or_default().iter().filter_map(Reply::text) {
                let name = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(own));
                names.extend(name.filter(|_| !key.starts_with(b"~")).and_then(|name| Name::new(name).ok()));
            }
            cursor = next.text().unwrap_or(b"0").to_vec();
            if cursor == b"0" {
                break;
            }
        }
        names.sort();
        names.dedup();
        let mut holders = Vec::new();
        for name in names {
            let (reply, _) = self.call(&self.dialect().look(&self.keys_of(&name)), None)?;
            holders.extend(script::holders(&name, &reply)?);
        }
        Ok(holders)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let keys = self.keys_of(name);
        let (reply, _) = self.call(&self.dialect().force(&keys, breaking, reason), None)?;
        let seen = script::holders(name, &reply)?.pop();
        if seen.is_some() {
            self.site().notify(&self.key(name));
        }
        Ok(seen)
    }
}

impl Redis {
    fn key(&self, name: &Name) -> String {
        [self.site().settings().prefix(), name.as_str()].concat()
    }

    fn keys_of(&self, name: &Name) -> Keys {
        Keys::new(&self.key(name))
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
