//! Waking waiters: one inotify descriptor and one thread for all files of a store that this process
//! waits for.

use std::collections::HashMap;
use std::fmt;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tenure_core::{Moment, Result};

use crate::entry::Entry;
use crate::record::{Boot, Parsed, Standing};
use crate::store::Store;

/// The listener of one process; ends when dropped.
pub(crate) struct Listener {
    watcher: Arc<Watcher>,
    stop: PipeWriter,
    pid: u32,
}

/// What the listener listens to.
pub(crate) struct Watcher {
    inotify: Inotify,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    by_key: HashMap<Box<str>, Watched>,
    by_descriptor: HashMap<WatchDescriptor, Box<str>>,
}

struct Watched {
    descriptor: WatchDescriptor,
    entry: Arc<Entry>,
    registrations: u32,
}

/// One promise to notify; ends when dropped, without waiting for anything.
struct Registration {
    watcher: Arc<Watcher>,
    key: Box<str>,
}

/// How often a holder whose file was closed is looked at again: the event comes before the kernel
/// has taken its byte locks away.
const LOOKS: [u64; 4] = [1, 2, 8, 32];

impl Listener {
    /// Starts listening; `None` where the limits of inotify or of threads are reached.
    pub(crate) fn start(store: &Arc<Store>) -> Option<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        let (stopped, stop) = std::io::pipe().ok()?;
        let watcher = Arc::new(Watcher { inotify, names: Mutex::default() });
        let listening = Listening { store: Arc::downgrade(store), watcher: watcher.clone(), stopped };
        let thread = std::thread::Builder::new().name("tenure-fs-watch".into());
        thread.spawn(move || listening.run()).ok()?;
        Some(Self { watcher, stop, pid: std::process::id() })
    }

    /// Registers interest in a file; `None` where the limit of watches is reached.
    pub(crate) fn register(&self, entry: &Arc<Entry>) -> Option<impl Send + Sync + 'static> {
        let mut names = self.watcher.names();
        let known = names.by_key.get_mut(&entry.key).filter(|watched| !watched.entry.is_retired());
        match known {
            Some(watched) => watched.registrations += 1,
            None => {
                let before = names.by_key.get(&entry.key).map_or(0, |watched| watched.registrations);
                self.watcher.add(&mut names, entry, before + 1).ok()?;
            }
        }
        Some(Registration { watcher: self.watcher.clone(), key: entry.key.clone() })
    }
}

impl Listener {
    /// Goes on with the file that takes the place of a removed one, if anybody waits for it.
    pub(crate) fn follow(&self, entry: &Arc<Entry>) {
        let mut names = self.watcher.names();
        if let Some(watched) =
            names.by_key.get(&entry.key).filter(|watched| !Arc::ptr_eq(&watched.entry, entry))
        {
            let registrations = watched.registrations;
            // Without a watch the waiters still look now and then.
            let _ = self.watcher.add(&mut names, entry, registrations);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A forked child's copy of the pipe leads to the parent's thread.
        if self.pid == std::process::id() {
            let _ = self.stop.write_all(&[0]);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut names = self.watcher.names();
        let Some(watched) = names.by_key.get_mut(&self.key) else { return };
        watched.registrations -= 1;
        if watched.registrations == 0
            && let Some(watched) = names.by_key.remove(&self.key)
        {
            names.by_descriptor.remove(&watched.descriptor);
            let _ = self.watcher.inotify.rm_watch(watched.descriptor);
        }
    }
}

impl Watcher {
    fn add(&self, names: &mut Names, entry: &Arc<Entry>, registrations: u32) -> nix::Result<()> {
        // By its descriptor, so that it is this very file, whatever has its name now.
        let path = format!("/proc/self/fd/{}", entry.file.as_raw_fd());
        let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE | AddWatchFlags::IN_DELETE_SELF;
        let descriptor = self.inotify.add_watch(path.as_str(), events)?;
        let watched = Watched { descriptor, entry: entry.clone(), registrations };
        if let Some(before) = names.by_key.insert(entry.key.clone(), watched)
            && before.descriptor != descriptor
        {
            names.by_descriptor.remove(&before.descriptor);
            let _ = self.inotify.rm_watch(before.descriptor);
        }
        names.by_descriptor.insert(descriptor, entry.key.clone());
        Ok(())
    }

    fn entry(&self, key: &str) -> Option<Arc<Entry>> {
        self.names().by_key.get(key).map(|watched| watched.entry.clone())
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Listening {
    store: Weak<Store>,
    watcher: Arc<Watcher>,
    stopped: PipeReader,
}

/// What a look from outside says.
enum Seen {
    Taken,
    /// Taken by one that a byte lock says is alive.
    Alive,
    MayBeFree,
    Removed,
}

impl Listening {
    fn run(self) {
        // Keys to look at again, and how often they were looked at.
        let mut again: HashMap<Box<str>, usize> = HashMap::new();
        loop {
            let wait = again.values().filter_map(|looks| LOOKS.get(*looks)).min();
            let timeout = wait.map_or(PollTimeout::NONE, |millis| {
                PollTimeout::try_from(Duration::from_millis(*millis)).unwrap_or(PollTimeout::ZERO)
            });
            let mut ready = [
                PollFd::new(self.watcher.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            if ready[1].any().unwrap_or(true) {
                return;
            }
            let Some(store) = self.store.upgrade() else { return };
            if ready[0].any().unwrap_or(false) {
                self.read(&store, &mut again);
            } else {
                again.retain(|key, looks| {
                    *looks += 1;
                    self.look(&store, key, *looks < LOOKS.len())
                });
            }
        }
    }

    fn read(&self, store: &Arc<Store>, again: &mut HashMap<Box<str>, usize>) {
        let Ok(events) = self.watcher.inotify.read_events() else { return };
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                store.site.notify_all();
                continue;
            }
            let Some(key) = self.watcher.names().by_descriptor.get(&event.wd).cloned() else { continue };
            let closed = event.mask.intersects(AddWatchFlags::IN_CLOSE);
            if self.look(store, &key, closed) {
                again.insert(key, 0);
            }
        }
    }

    /// Looks at a record and notifies if it may be free; true if it must be looked at again,
    /// because a holder may be about to die.
    fn look(&self, store: &Arc<Store>, key: &str, closed: bool) -> bool {
        let Some(entry) = self.watcher.entry(key) else { return false };
        match seen(&entry, store.boot) {
            Ok(Seen::Taken) => return false,
            Ok(Seen::Alive) => return closed,
            Ok(Seen::Removed) => {
                // Opening the file that takes its place moves the watch there.
                entry.retire();
                let _ = store.open(key);
            }
            Ok(Seen::MayBeFree) | Err(_) => {}
        }
        store.site.notify(key);
        false
    }
}

fn seen(entry: &Entry, boot: Boot) -> Result<Seen> {
    let mut parsed = entry.peek()?;
    for _ in 0..3 {
        if parsed != Parsed::Torn {
            break;
        }
        // The look crossed a write.
        parsed = entry.peek()?;
    }
    let Parsed::Record(record) = parsed else { return Ok(Seen::MayBeFree) };
    Ok(match record.standing(Moment::now(), boot) {
        Standing::Retired => Seen::Removed,
        Standing::Free | Standing::Impossible => Seen::MayBeFree,
        Standing::Quarantined(_) | Standing::Held { alive: None, .. } => Seen::Taken,
        Standing::Held { alive: Some(seq), .. } if entry.is_alive(seq)? => Seen::Alive,
        Standing::Held { .. } => Seen::MayBeFree,
    })
}
