//! The record of a name: a small file of JSON, which is locked while it is read and changed.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::{Error, Moment, Owner, Result};

use super::shares::Share;

/// What is known of a name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) key: String,
    /// Of the latest grant; stays when that has ended.
    pub(super) fence: u64,
    /// Who has it alone.
    pub(super) holder: Option<Holding>,
    /// Who have it together.
    pub(super) shares: Vec<Share>,
    /// Whom a force release took the lock from while they may have believed in it.
    pub(super) evicted: Vec<Owner>,
    /// What only broken stores look at.
    pub(super) trace: Trace,
}

/// Who has a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Holding {
    /// `None` while a released name stays taken for a time.
    pub(super) owner: Option<Owner>,
    /// In nanoseconds since the host was booted; `None` for a session.
    pub(super) deadline: Option<u64>,
    /// The process, by its sign of life.
    pub(super) mark: String,
    pub(super) label: String,
    /// In microseconds since 1970.
    pub(super) granted: u64,
    /// Why it was force-released, until it has let go.
    pub(super) breaking: Option<String>,
}

/// What a store that makes no mistakes has no use for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Trace {
    /// Which thread of the holder asked.
    pub(super) thread: String,
    /// Whom the name had before.
    pub(super) last: Option<Holding>,
    /// Whom a denied attempt keeps it for.
    pub(super) reserved: Option<Owner>,
    /// Which process released it, and when.
    pub(super) released: Option<(String, u64)>,
}

impl Holding {
    pub(super) fn new(owner: Owner, deadline: Option<Moment>, mark: String, label: &str) -> Self {
        let granted = tenure_core::wall_micros();
        let deadline = deadline.map(Moment::as_nanos);
        Self { owner: Some(owner), deadline, mark, label: label.into(), granted, breaking: None }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadline.map(Moment::from_nanos)
    }

    pub(super) fn set_deadline(&mut self, deadline: Option<Moment>) {
        self.deadline = deadline.map(Moment::as_nanos);
    }

    /// The same name, taken until then, and nobody's.
    pub(super) fn closed_until(mut self, deadline: Moment) -> Self {
        self.set_deadline(Some(deadline));
        Self { owner: None, ..self }
    }
}

/// A record that nobody else reads or changes until this is dropped.
#[derive(Debug)]
pub(super) struct Inside {
    file: File,
    pub(super) record: Record,
}

/// How long one may wait for another that is inside a record, where it stays for microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

impl Inside {
    /// Enters a record, which is made if there is none; between the two, `pause`.
    pub(super) fn open(path: &Path, key: &str, pause: Duration) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(unanswered)?;
        thread::sleep(pause);
        let mut inside = Self::enter(file)?;
        inside.record.key = key.into();
        Ok(inside)
    }

    /// Enters a record that is there.
    pub(super) fn find(path: &Path) -> Result<Option<Self>> {
        match File::options().read(true).write(true).open(path) {
            Ok(file) => Self::enter(file).map(Some),
            Err(source) if source.kind() == ErrorKind::NotFound => match path.parent() {
                Some(place) if place.exists() => Ok(None),
                _ => Err(unanswered(source)),
            },
            Err(source) => Err(unanswered(source)),
        }
    }

    fn enter(file: File) -> Result<Self> {
        lock(&file)?;
        let mut inside = Self { file, record: Record::default() };
        let mut text = String::new();
        inside.file.read_to_string(&mut text).map_err(unanswered)?;
        inside.record = parse(&text).map_err(unanswered)?;
        Ok(inside)
    }

    pub(super) fn save(&mut self) -> Result<()> {
        let text = serde_json::to_vec(&self.record).map_err(|source| unanswered(source.into()))?;
        let write = |file: &mut File| -> io::Result<()> {
            file.rewind()?;
            file.write_all(&text)?;
            file.set_len(text.len() as u64)
        };
        write(&mut self.file).map_err(|source| Error::unavailable("no write").with_source(source))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked meanwhile has a copy.
        let _ = self.file.unlock();
    }
}

/// Reads a record without locking it, as a look that may cross a change; `None` if it did.
pub(super) fn peek(path: &Path) -> Option<Record> {
    parse(&std::fs::read_to_string(path).ok()?).ok()
}

fn parse(text: &str) -> io::Result<Record> {
    // The first value is the record. Behind it may be the end of a longer one, whose writer was
    // killed before it could cut it off.
    let first = serde_json::Deserializer::from_str(text).into_iter().next();
    Ok(first.transpose()?.unwrap_or_default())
}

/// Nothing was done, and this is why.
pub(super) fn unanswered(source: io::Error) -> Error {
    Error::unavailable("the store does not answer").with_source(source).settled()
}

fn lock(file: &File) -> Result<()> {
    let limit = Moment::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Moment::now() < limit => {
                thread::sleep(Duration::from_micros(50));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::unavailable("another process keeps the record locked").settled());
            }
            Err(TryLockError::Error(source)) => return Err(unanswered(source)),
        }
    }
}
