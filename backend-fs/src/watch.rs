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

/// When a holder whose file was closed is looked at again, in milliseconds: the event comes before the
/// kernel has taken its byte locks away.
const LOOKS: [u64; 4] = [1, 2, 8, 32];

/// How long a free lock is left to the process that has waited longest. One that runs comes within a
/// hundredth of that; one that is stopped costs every other one so much, once.
const COURTESY: Duration = Duration::from_millis(20);

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

/// A second look, and when it is due.
#[derive(Clone, Copy)]
struct Again {
    at: Moment,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The grant ends then.
    Ending,
    /// The holder may be about to die; how often it was looked at since.
    Dying(usize),
    /// Since this grant ended it is the turn of the process with this ticket.
    Left { granted: u64, first: u64 },
}

/// What a look from outside says.
enum Seen {
    /// It has a holder until then, or is kept closed; whether a byte lock says that the holder is alive.
    Taken {
        until: Option<Moment>,
        alive: bool,
    },
    /// Nobody has it since this grant, if it is known which one that was.
    Free {
        granted: Option<u64>,
    },
    Removed,
}

impl Listening {
    fn run(self) {
        let mut again = HashMap::new();
        loop {
            let mut ready = [
                PollFd::new(self.watcher.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, timeout(&again)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            if ready[1].any().unwrap_or(true) {
                return;
            }
            let Some(store) = self.store.upgrade() else { return };
            if ready[0].any().unwrap_or(false) {
                self.read(&store, &mut again);
            }
            let now = Moment::now();
            let due: Vec<_> = again.extract_if(|_, again: &mut Again| again.at <= now).collect();
            for (key, known) in due {
                if let Some(next) = self.look(&store, &key, Some(known), false) {
                    again.insert(key, next);
                }
            }
        }
    }

    fn read(&self, store: &Arc<Store>, again: &mut HashMap<Box<str>, Again>) {
        let Ok(events) = self.watcher.inotify.read_events() else { return };
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                store.site.notify_all();
                continue;
            }
            let Some(key) = self.watcher.names().by_descriptor.get(&event.wd).cloned() else { continue };
            let known = again.remove(&key);
            let closed = event.mask.intersects(AddWatchFlags::IN_CLOSE);
            if let Some(next) = self.look(store, &key, known, closed) {
                again.insert(key, next);
            }
        }
    }

    /// Looks at a record, and notifies if it may be free and nobody has waited longer. Returns when it
    /// must be looked at again, and why; `known` is what it said before, `closed` whether the file was
    /// closed just now.
    fn look(&self, store: &Arc<Store>, key: &str, known: Option<Again>, closed: bool) -> Option<Again> {
        let entry = self.watcher.entry(key)?;
        let now = Moment::now();
        match seen(&entry, now, store.boot) {
            Ok(Seen::Taken { until, alive }) => {
                let known = if closed { Some(Again { at: now, why: Why::Dying(0) }) } else { known };
                let dying = known.filter(|_| alive).and_then(|known| known.dying(now));
                let ending = until.map(|at| Again { at, why: Why::Ending });
                return dying.into_iter().chain(ending).min_by_key(|again| again.at);
            }
            Ok(Seen::Removed) => {
                // Opening the file that takes its place moves the watch there.
                entry.retire();
                let _ = store.open(key);
            }
            Ok(Seen::Free { granted: Some(granted) }) => {
                if let Some(left) = leave(&entry, granted, now, known) {
                    return Some(left);
                }
            }
            Ok(Seen::Free { granted: None }) | Err(_) => {}
        }
        store.site.notify(key);
        None
    }
}

impl Again {
    /// The next look at a holder that may be about to die.
    fn dying(self, now: Moment) -> Option<Self> {
        let Why::Dying(looks) = self.why else { return None };
        if now < self.at {
            return Some(self);
        }
        let at = now + Duration::from_millis(*LOOKS.get(looks)?);
        Some(Self { at, why: Why::Dying(looks + 1) })
    }
}

/// Leaves a lock that is free since a grant to the process that has waited longest, unless it was left
/// to that one before and not taken.
fn leave(entry: &Entry, granted: u64, now: Moment, known: Option<Again>) -> Option<Again> {
    if let Some(Again { at, why: Why::Left { granted: since, first } }) = known
        && at <= now
        && since == granted
    {
        entry.queue.pass(first);
    }
    let why = Why::Left { granted, first: entry.queue.behind(granted)? };
    let since = known.filter(|known| known.why == why);
    Some(since.unwrap_or(Again { at: now + COURTESY, why }))
}

/// Until the first second look. The clock of `poll` stops while the machine is suspended, so it is
/// looked at now and then.
fn timeout(again: &HashMap<Box<str>, Again>) -> PollTimeout {
    const LONGEST: Duration = Duration::from_secs(1);
    let Some(first) = again.values().map(|again| again.at).min() else { return PollTimeout::NONE };
    // Rounded up, so that it is due by then.
    let wait = first.since(Moment::now()).min(LONGEST) + Duration::from_micros(999);
    PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO)
}

fn seen(entry: &Entry, now: Moment, boot: Boot) -> Result<Seen> {
    let mut parsed = entry.peek()?;
    for _ in 0..3 {
        if parsed != Parsed::Torn {
            break;
        }
        // The look crossed a write.
        parsed = entry.peek()?;
    }
    let Parsed::Record(record) = parsed else { return Ok(Seen::Free { granted: None }) };
    let free = Seen::Free { granted: Some(record.seq) };
    Ok(match record.standing(now, boot) {
        Standing::Retired => Seen::Removed,
        Standing::Free | Standing::Impossible => free,
        Standing::Quarantined(wait) => Seen::Taken { until: Some(now + wait), alive: false },
        Standing::Held { remaining, alive } => {
            let is_alive = alive.map(|seq| entry.is_alive(seq)).transpose()?;
            let until = remaining.map(|remaining| now + remaining);
            match is_alive {
                Some(false) => free,
                alive => Seen::Taken { until, alive: alive.is_some() },
            }
        }
    })
}
