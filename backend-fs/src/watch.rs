//! Waking waiters: one inotify instance and one thread per store and process.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tenure_core::{Moment, Site, Watch};

use crate::entry::Entry;
use crate::record::Boot;

/// Listens to the lock files that this process waits for.
pub(crate) struct Watcher {
    inotify: Inotify,
    watched: Mutex<Watched>,
    quit: EventFd,
    boot: Boot,
    site: Site,
    pid: u32,
}

type Watched = HashMap<WatchDescriptor, (Arc<Entry>, usize)>;

/// A release touches the file if somebody waits; the end of a process closes it.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_ATTRIB
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_CLOSE_NOWRITE)
    .union(AddWatchFlags::IN_DELETE_SELF);

/// The kernel tells that a file is closed a moment before it takes its locks away: looks again
/// after these times.
const AFTER_CLOSE: [Duration; 3] =
    [Duration::from_micros(200), Duration::from_millis(2), Duration::from_millis(20)];

impl Watcher {
    pub(crate) fn start(boot: Boot, site: &Site) -> nix::Result<Arc<Self>> {
        let watcher = Arc::new(Self {
            inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
            watched: Mutex::default(),
            quit: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            boot,
            site: site.clone(),
            pid: std::process::id(),
        });
        let listener = Arc::downgrade(&watcher);
        let inotify = watcher.inotify.as_fd().try_clone_to_owned().map_err(|_| nix::errno::Errno::EMFILE)?;
        let quit = watcher.quit.as_fd().try_clone_to_owned().map_err(|_| nix::errno::Errno::EMFILE)?;
        thread::Builder::new()
            .name("tenure-files".into())
            .spawn(move || listen(&listener, &inotify, &quit))
            .map_err(|_| nix::errno::Errno::EAGAIN)?;
        Ok(watcher)
    }

    /// Whether it belongs to the parent of a fork.
    pub(crate) fn is_foreign(&self) -> bool {
        self.pid != std::process::id()
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the waiters of a file if its lock may be free; true if it is taken.
    fn tell(&self, entry: &Entry) -> bool {
        let record = entry.look().ok().flatten();
        let taken = record.is_some_and(|record| entry.is_taken(&record, &self.boot));
        if !taken {
            self.site.notify(entry.key());
        }
        taken
    }

    /// Reads what happened; the files that may have been closed by a dying holder.
    fn hear(&self) -> Vec<Arc<Entry>> {
        let mut taken = Vec::new();
        let mut events = Vec::new();
        while let Ok(more) = self.inotify.read_events() {
            events.extend(more);
        }
        let mut seen = Vec::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.site.notify_all();
            }
            let Some((entry, _)) = self.watched().get(&event.wd).cloned() else { continue };
            if !event.mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CLOSE_NOWRITE) {
                self.site.notify(entry.key());
            } else if !seen.contains(&event.wd) {
                seen.push(event.wd);
                if self.tell(&entry) {
                    taken.push(entry);
                }
            }
        }
        taken
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.quit.write(1);
    }
}

/// Registers a file; the promise ends when the last one who waits for it drops it. `None` if the
/// system has no more watches.
pub(crate) fn arm(watcher: &Arc<Watcher>, entry: Arc<Entry>) -> Option<Watch> {
    // By way of /proc it is this very file, whatever its path names now.
    let path = format!("/proc/self/fd/{}", entry.file().as_fd().as_raw_fd());
    let mut watched = watcher.watched();
    let descriptor = watcher.inotify.add_watch(path.as_str(), EVENTS).ok()?;
    entry.watch(true);
    watched.entry(descriptor).or_insert((entry, 0)).1 += 1;
    drop(watched);
    Some(Watch::armed(Registration { watcher: watcher.clone(), descriptor }))
}

struct Registration {
    watcher: Arc<Watcher>,
    descriptor: WatchDescriptor,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut watched = self.watcher.watched();
        let Some((entry, count)) = watched.get_mut(&self.descriptor) else { return };
        entry.watch(false);
        *count -= 1;
        if *count == 0 {
            let gone = watched.remove(&self.descriptor);
            let _ = self.watcher.inotify.rm_watch(self.descriptor);
            drop(watched);
            // Perhaps the last to use the file, which is closed outside the mutex.
            drop(gone);
        }
    }
}

/// The listener's thread: ends with the watcher.
fn listen(watcher: &Weak<Watcher>, inotify: &impl AsFd, quit: &impl AsFd) {
    // Files that are looked at again, when, and how often they were.
    let mut again: Vec<(Arc<Entry>, Moment, usize)> = Vec::new();
    loop {
        let now = Moment::now();
        let timeout = again.iter().map(|(_, at, _)| at.since(now)).min().map_or(PollTimeout::NONE, |wait| {
            // Rounded up to whole milliseconds: rather late once than early often.
            PollTimeout::try_from(wait + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut fds =
            [PollFd::new(inotify.as_fd(), PollFlags::POLLIN), PollFd::new(quit.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, timeout);
        let Some(watcher) = watcher.upgrade() else { return };
        for entry in watcher.hear() {
            if !again.iter().any(|(other, ..)| Arc::ptr_eq(other, &entry)) {
                again.push((entry, Moment::now() + AFTER_CLOSE[0], 0));
            }
        }
        let now = Moment::now();
        again.retain_mut(|(entry, at, looked)| {
            if *at > now {
                return true;
            }
            *looked += 1;
            if !watcher.tell(entry) {
                return false;
            }
            AFTER_CLOSE.get(*looked).is_some_and(|pause| {
                *at = now + *pause;
                true
            })
        });
    }
}
