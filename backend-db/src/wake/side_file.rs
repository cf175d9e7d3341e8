//! SQLite: a file beside the database, which whoever releases a lock writes to, and those who wait watch.
//!
//! The database's own `-wal` file would not do: it is written before the release can be seen, so a waiter
//! who looks at once sees the lock as held, and is not told again.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tenure_core::{Moment, Result, Site};

use super::waited::Waited;
use super::{Slot, Wake, here};
use crate::key::Key;

/// How many numbers the file has. A lock's stands where its key's digest says; it is another after each
/// release, and so says which locks may be free.
const NUMBERS: u64 = 256;

/// The file beside a database.
pub(crate) struct SideFile {
    path: PathBuf,
    waited: Arc<Waited>,
    file: Mutex<Option<Arc<File>>>,
    listener: Slot<Option<Listening>>,
}

impl SideFile {
    pub(crate) fn new(database: &Path, site: Site) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-wake");
        Self {
            path: path.into(),
            waited: Waited::new(site),
            file: Mutex::default(),
            listener: Slot::default(),
        }
    }

    /// The file that has the name now; it is made if it is not there, for those who have the database.
    fn file(&self) -> io::Result<Arc<File>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = file.as_ref()
            && file.metadata().is_ok_and(|found| found.nlink() > 0)
        {
            return Ok(file.clone());
        }
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        let database = self.path.to_string_lossy().trim_end_matches("-wake").to_owned();
        let mode = std::fs::metadata(database).map_or(0o600, |found| found.mode() & 0o666);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(mode)
            .custom_flags(flags)
            .open(&self.path)?;
        let found = opened.metadata()?;
        if found.mode() & 0o777 != mode {
            // The creation mask took bits off. A file of somebody else stays as it is.
            let _ = opened.set_permissions(std::fs::Permissions::from_mode(mode));
        }
        Ok(file.insert(Arc::new(opened)).clone())
    }

    fn tell(&self, key: &Key) -> io::Result<()> {
        let number = Moment::now().as_nanos() ^ u64::from(std::process::id()).rotate_right(16);
        self.file()?.write_all_at(&number.to_le_bytes(), place(key.number()) * 8)
    }
}

fn place(number: u64) -> u64 {
    number % NUMBERS
}

impl Wake for SideFile {
    fn needs_marks(&self) -> bool {
        true
    }

    fn watch(&self, key: &Key, whole: &str, _: Duration) -> Result<Option<Box<dyn Any + Send + Sync>>> {
        // Without it, waiters ask now and then.
        let Ok(file) = self.file() else { return Ok(None) };
        let start = || Ok(listen(&self.path, file, &self.waited));
        let listener = here(&self.listener, start)?;
        Ok(listener.is_some().then(|| Box::new(self.waited.register(key, whole)) as _))
    }

    fn released(&self, key: &Key, is_awaited: bool) {
        if is_awaited {
            // Who is not told asks anew after a while.
            let _ = self.tell(key);
        }
    }
}

/// Starts the thread that listens, until what is returned is dropped; none where the limits of inotify are
/// reached.
fn listen(path: &Path, file: Arc<File>, waited: &Arc<Waited>) -> Option<Listening> {
    let (stopped, stop) = io::pipe().ok()?;
    let hearing = Hearing::new(path, file, waited.clone(), stopped)?;
    thread::Builder::new().name("tenure-db-watch".into()).spawn(move || hearing.run()).ok()?;
    Some(Listening { stop })
}

/// Ends the thread when it is dropped.
struct Listening {
    stop: PipeWriter,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.stop.write_all(&[0]);
    }
}

/// The thread.
struct Hearing {
    inotify: Inotify,
    file: Arc<File>,
    seen: Vec<u8>,
    waited: Arc<Waited>,
    stopped: PipeReader,
}

impl Hearing {
    fn new(path: &Path, file: Arc<File>, waited: Arc<Waited>, stopped: PipeReader) -> Option<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY).ok()?;
        let seen = read(&file);
        Some(Self { inotify, file, seen, waited, stopped })
    }

    fn run(mut self) {
        loop {
            let mut ready = [
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            if ready[1].any().unwrap_or(true) {
                return;
            }
            if self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {
                self.look();
            }
        }
    }

    /// Tells those whose number is another now.
    fn look(&mut self) {
        let now = read(&self.file);
        let before = std::mem::replace(&mut self.seen, now);
        let number = |bytes: &[u8], place: u64| {
            let start = usize::try_from(place * 8).ok()?;
            bytes.get(start..start + 8).map(<[u8]>::to_vec)
        };
        let is_other = |place| number(&before, place) != number(&self.seen, place);
        self.waited.changed(|lock| is_other(place(lock)));
    }
}

fn read(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(NUMBERS * 8).unwrap_or_default()];
    let mut len = 0;
    while let Ok(more @ 1..) = file.read_at(&mut bytes[len..], len as u64) {
        len += more;
    }
    bytes
}
