//! From the key of a lock to the file of its record.
//!
//! Names are any text, and two of them are one lock only if they are the same bytes. A store that
//! cannot take every key shortens with [`Limits`], which never makes two keys one.

use std::path::{Path, PathBuf};

use tenure_core::{Claim, Error, Limits, Result, Term};

use super::Fault;
use super::model::Model;

/// What a record is called at most; the rest of a file name is for its ending.
const LIMITS: Limits = Limits::new(200, is_plain);

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:~".contains(&byte)
}

impl Model {
    /// What the store takes for the key of a claim: the key.
    pub(super) fn address_of(&self, claim: &Claim) -> Result<String> {
        let key = claim.key();
        match self.fault() {
            Some(Fault::RefusesLongNames) if key.len() > 250 => {
                Err(Error::unavailable("file name too long").settled())
            }
            Some(Fault::TwoOfEach) => Ok(format!("{key}#{}", claim.owner().to_bytes()[15] % 2)),
            Some(Fault::SessionsApart) if claim.term() == Term::Session => Ok(format!("{key}#session")),
            _ => Ok(self.address(key)),
        }
    }

    /// What the store takes for a key: the key.
    pub(super) fn address(&self, key: &str) -> String {
        let (prefix, name) = key.split_at(self.settings().prefix().len());
        match self.fault() {
            Some(Fault::OneLockForAll) => "the lock".into(),
            Some(Fault::FoldsCase) => key.to_lowercase(),
            Some(Fault::TrimsNames) => key.trim_end_matches(' ').into(),
            Some(Fault::CutsAtNul) => key.split('\0').next().unwrap_or_default().into(),
            Some(Fault::NormalisesPaths) => {
                Path::new(key).components().collect::<PathBuf>().display().to_string()
            }
            Some(Fault::TruncatesNames) => key[..key.floor_char_boundary(200)].into(),
            Some(Fault::UnescapesSegments) => key.replace("%3A", ":").replace("%25", "%"),
            Some(Fault::LeavesOutThePrefix) => name.into(),
            Some(Fault::SeparatesThePrefix) => [prefix, "\u{1}", name].concat(),
            _ => key.into(),
        }
    }

    /// What the record of an address is called.
    pub(super) fn record_name(&self, address: &str) -> String {
        let fits = address.len() <= 200 && address.bytes().all(is_plain);
        if fits && self.has(Fault::MistakesShortenedNames) {
            return address.into();
        }
        LIMITS.fit(address).as_str().into()
    }

    /// The file of a record. No plain name has a `+`.
    pub(super) fn path(&self, address: &str) -> PathBuf {
        self.dir().join(format!("{}.json", self.record_name(address).replace('/', "+")))
    }
}
