//! A folder of record files, and how each process that uses it finds its open ones.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::geteuid;
use tenure_core::{Claim, Error, Fence, Moment, Result, Settings, Site};

use crate::config::Access;
use crate::entry::{Entry, Inside, refused};
use crate::file_name;
use crate::pace::Pace;
use crate::record::{Boot, Parsed, Process, Record, State};
use crate::task;
use crate::watch::Listener;

pub(crate) struct Store {
    pub(crate) site: Site,
    pub(crate) path: PathBuf,
    /// The folder itself: files are opened in it, whatever its path names by then.
    pub(crate) dir: File,
    pub(crate) access: Access,
    pub(crate) network_allowed: bool,
    pub(crate) boot: Boot,
    pub(crate) pace: Pace,
    first: Local,
}

/// What belongs to one process. A forked child inherits its parent's, leaves it alone and makes
/// its own: it shares the open files, so unlocking there would unlock the parent's locks.
pub(crate) struct Local {
    pub(crate) process: Process,
    open: Mutex<HashMap<Box<str>, Weak<Entry>>>,
    pub(crate) listener: OnceLock<Option<Listener>>,
    child: OnceLock<Box<Local>>,
}

/// What a `Lock` keeps of its file between acquisitions.
#[derive(Debug, Default)]
pub(crate) struct Place(Mutex<Option<Arc<Entry>>>);

/// How many files may be open before locks that are not held stop keeping theirs.
const KEPT: usize = 256;

impl Store {
    pub(crate) fn new(
        path: PathBuf,
        dir: File,
        settings: Settings,
        access: Access,
        network_allowed: bool,
    ) -> Result<Self> {
        let site = Site::new(format!("file:{}", path.display()), settings);
        let path = path.canonicalize().map_err(|source| refused("the folder cannot be found", source))?;
        Ok(Self {
            site,
            path,
            dir,
            access,
            network_allowed,
            boot: boot()?,
            pace: Pace::default(),
            first: Local::new(),
        })
    }

    /// What belongs to the process that asks.
    pub(crate) fn local(&self) -> &Local {
        let pid = std::process::id();
        let mut local = &self.first;
        // As many steps as there were forks between the opening and here.
        while local.process.pid != pid {
            local = local.child.get_or_init(|| Box::new(Local::new()));
        }
        local
    }

    /// The open record file of a claim.
    pub(crate) fn entry(&self, claim: &Claim) -> Result<Arc<Entry>> {
        let place = claim.resolved(|| Ok(Arc::new(Place::default())))?;
        let pid = std::process::id();
        // A fork may have copied the mutex while it was locked, so nobody waits for it.
        let mut kept = place.0.try_lock().ok();
        if let Some(Some(entry)) = kept.as_deref()
            && entry.process.pid == pid
            && !entry.is_retired()
        {
            return Ok(entry.clone());
        }
        let (entry, open) = self.open(claim.key())?;
        if let Some(kept) = &mut kept {
            **kept = (open < KEPT).then(|| entry.clone());
        }
        Ok(entry)
    }

    /// The record file of a key, made if it is not there, and how many this process has open.
    pub(crate) fn open(&self, key: &str) -> Result<(Arc<Entry>, usize)> {
        let local = self.local();
        if let Some(found) = local.find(key) {
            return Ok(found);
        }
        let file_name = file_name::of(key);
        let file = self.open_file(&file_name, OFlag::O_RDWR | OFlag::O_CREAT)?;
        let file = file.expect("it is made if it is not there");
        Ok(local.keep(Arc::new(Entry::new(key, &file_name, file, local.process))))
    }

    /// The record file of a key if there is one.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Arc<Entry>>> {
        let local = self.local();
        if let Some((entry, _)) = local.find(key) {
            return Ok(Some(entry));
        }
        let file_name = file_name::of(key);
        let Some(file) = self.open_file(&file_name, OFlag::O_RDWR)? else { return Ok(None) };
        Ok(Some(local.keep(Arc::new(Entry::new(key, &file_name, file, local.process))).0))
    }

    /// Enters a record, after making a new file's and setting right what is not whole; `None` if the
    /// file was removed, so that it must be opened anew.
    pub(crate) fn enter<'e>(&self, entry: &'e Entry) -> Result<Option<(Inside<'e>, Record)>> {
        let inside = entry.enter()?;
        match inside.read()? {
            Parsed::Record(record) if record.state != State::Retired => Ok(Some((inside, record))),
            _ if !self.is_named(&entry.file_name, &entry.file)? => {
                entry.retire();
                Ok(None)
            }
            // Whoever was about to remove the file died over it.
            Parsed::Record(mut record) if !entry.is_anyone_alive()? => {
                record.free();
                inside.write(&record)?;
                Ok(Some((inside, record)))
            }
            // One that was emptied under a holder is found out before anything is granted.
            Parsed::Blank => {
                let record = Record::new(&entry.key, self.floor()?);
                inside.create(&record)?;
                Ok(Some((inside, record)))
            }
            Parsed::Record(record) => {
                let record = self.quarantine(&inside, record.fence)?;
                Ok(Some((inside, record)))
            }
            _ => {
                let record = self.quarantine(&inside, Fence::ZERO)?;
                Ok(Some((inside, record)))
            }
        }
    }

    /// Closes a record that is not whole or not true for as long as anybody can believe in a lease,
    /// and goes on above what is known of its fence.
    pub(crate) fn quarantine(&self, inside: &Inside<'_>, known: Fence) -> Result<Record> {
        let mut record = Record::new(&inside.entry.key, self.floor()?.max(known));
        // No later grant may get the number, and with it the alive byte, of one that lives.
        record.seq = inside.entry.latest_alive()?;
        let end = Moment::now() + self.site.settings().max_ttl().get();
        record.close_until(end, State::Quarantined, self.boot);
        inside.create(&record)?;
        Ok(record)
    }

    /// Opens a file of the folder; `None` if it is not there. Follows no link, and takes nothing
    /// but a plain file that belongs to who may use the store.
    pub(crate) fn open_file(&self, file_name: &str, how: OFlag) -> Result<Option<File>> {
        task::may_wait()?;
        self.check_place()?;
        let flags = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mode = Mode::from_bits_truncate(self.access.file_mode());
        let mut tries = 0;
        let file = loop {
            match openat(&self.dir, file_name, flags, mode) {
                Ok(descriptor) => break File::from(descriptor),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOENT) if !how.contains(OFlag::O_CREAT) => return Ok(None),
                // The one that makes it opens it to the group a moment later.
                Err(Errno::EACCES) if self.access == Access::Group && tries < 20 => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(errno) => return Err(not_opened(file_name, errno)),
            }
        };
        self.check(file_name, &file)?;
        Ok(Some(file))
    }

    /// Others who open the store now must find this folder: in one that was moved away or removed
    /// nobody is excluded.
    fn check_place(&self) -> Result<()> {
        let here = self.dir.metadata().map_err(|source| refused("the folder cannot be looked at", source))?;
        match fs::symlink_metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (here.dev(), here.ino()) => Ok(()),
            Ok(_) => {
                Err(Error::unavailable("another folder is in the place of the store's; open it again")
                    .settled())
            }
            Err(source) => {
                Err(Error::unavailable("the folder was moved or removed; put it back, or open it again")
                    .with_source(source)
                    .settled())
            }
        }
    }

    /// Whether the folder still has this very file under this name.
    pub(crate) fn is_named(&self, file_name: &str, file: &File) -> Result<bool> {
        let found = file.metadata().map_err(|source| refused("the record cannot be looked at", source))?;
        match fstatat(&self.dir, file_name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (found.dev(), found.ino())),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(refused("the record cannot be looked at", errno.into())),
        }
    }

    fn check(&self, file_name: &str, file: &File) -> Result<()> {
        let found = file.metadata().map_err(|source| refused("the record cannot be looked at", source))?;
        let me = geteuid().as_raw();
        let refusal = if !found.is_file() {
            "is not a plain file; remove it"
        } else if found.nlink() > 1 {
            "has a second name, so it may be somebody's other file; remove it"
        } else if self.access == Access::User && found.uid() != me && found.uid() != 0 {
            "belongs to another user; remove it, or open the store for a group on purpose"
        } else {
            let mode = self.access.file_mode();
            if self.access == Access::Group && found.uid() == me && found.mode() & 0o777 != mode {
                file.set_permissions(fs::Permissions::from_mode(mode))
                    .map_err(|source| refused("the record cannot be opened to its group", source))?;
            }
            return Ok(());
        };
        Err(Error::misconfigured(format!("{file_name:?} in the folder {refusal}")))
    }
}

impl Local {
    fn new() -> Self {
        let pid = std::process::id();
        Self {
            process: Process { pid, start: started() },
            open: Mutex::default(),
            listener: OnceLock::new(),
            child: OnceLock::new(),
        }
    }

    fn find(&self, key: &str) -> Option<(Arc<Entry>, usize)> {
        let open = self.open();
        let entry = open.get(key)?.upgrade().filter(|entry| !entry.is_retired())?;
        Some((entry, open.len()))
    }

    /// Keeps an entry, unless another thread was faster.
    fn keep(&self, entry: Arc<Entry>) -> (Arc<Entry>, usize) {
        let mut open = self.open();
        if let Some(other) = open.get(&entry.key).and_then(Weak::upgrade).filter(|other| !other.is_retired())
        {
            return (other, open.len());
        }
        // Closed ones are swept when the table would grow, so that it stays as large as what is open.
        if open.len() == open.capacity() {
            open.retain(|_, entry| entry.strong_count() > 0);
        }
        open.insert(entry.key.clone(), Arc::downgrade(&entry));
        // Before anybody can be denied by the new file and go to sleep.
        if let Some(Some(listener)) = self.listener.get() {
            listener.follow(&entry);
        }
        (entry, open.len())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Box<str>, Weak<Entry>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two descriptors are of one file.
pub(crate) fn is_same(one: &File, other: &File) -> Result<bool> {
    let number = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let looked = |source| refused("the record cannot be looked at", source);
    Ok(number(one).map_err(looked)? == number(other).map_err(looked)?)
}

fn not_opened(file_name: &str, errno: Errno) -> Error {
    let remedy = match errno {
        Errno::ELOOP => {
            return Error::misconfigured(format!(
                "{file_name:?} in the folder is a link, and links are not followed; remove it"
            ))
            .with_source(errno);
        }
        Errno::EMFILE => "this process has too many open files; raise its limit (ulimit -n)",
        Errno::ENFILE => "the host has too many open files; raise fs.file-max",
        Errno::EACCES | Errno::EPERM => "no right to; check owner and mode of the folder and the file",
        Errno::EROFS => "the file system is read-only; name another folder",
        Errno::ENOSPC | Errno::EDQUOT => "the disk is full; free some space or inodes",
        Errno::ENOENT => "the folder was removed; open the store again",
        _ => "the folder's file system refused",
    };
    Error::unavailable(format!("the record file {file_name:?} cannot be opened: {remedy}"))
        .with_source(io::Error::from(errno))
        .settled()
}

/// The id of the running boot, under which deadlines are comparable.
fn boot() -> Result<Boot> {
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    let read = fs::read_to_string(FILE).map_err(|source| {
        Error::misconfigured(format!("{FILE} cannot be read, so a reboot could not be told; mount /proc"))
            .with_source(source)
    })?;
    let digits: String = read.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map(u128::to_be_bytes).map_err(|source| {
        Error::misconfigured(format!("{FILE} does not hold a boot id; mount /proc")).with_source(source)
    })
}

/// When this process started, in ticks since boot; zero where that is hidden. See proc(5).
fn started() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold anything, but not the last bracket.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Files;
    use crate::record::NUMBERS;
    use tenure_core::Lock;

    /// Changes the record of "a" behind everybody's back, with its sums right.
    fn forge(files: &Files, change: impl FnOnce(&mut Record)) -> Result<()> {
        let (entry, _) = files.0.open("lock:a")?;
        let Parsed::Record(mut record) = entry.peek()? else { panic!("there is a record") };
        change(&mut record);
        entry.enter()?.write(&record)
    }

    #[test]
    fn a_reboot_frees_what_was_held_and_fences_go_on() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks");
        let before = Files::open(&path)?;
        // Nobody lives after a reboot; what is left of both is their records.
        let left = |lock: Lock<Files>| Ok::<_, Error>(lock.release_on_drop(false).try_acquire()?.fence());
        let (session, lease) = (left(Lock::new(&before, "a").session())?, left(Lock::new(&before, "b"))?);
        for name in ["a", "b"] {
            assert!(Lock::new(&before, name).try_acquire().unwrap_err().is_contended());
        }
        let mut after = Files::open(&path)?;
        Arc::get_mut(&mut after.0).unwrap().boot = [9; 16];
        assert!(Lock::new(&after, "a").try_acquire()?.fence() > session);
        assert!(Lock::new(&after, "b").try_acquire()?.fence() > lease);
        Ok(())
    }

    #[test]
    fn a_record_that_its_living_holder_belies_is_quarantined() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Files::open(dir.path())?, Files::open(dir.path())?);
        let changes: [fn(&mut Record); 4] = [
            |record| record.boot = [9; 16],
            |record| record.state = State::Retired,
            |record| record.seq = 1,
            |record| *record = Record::new("lock:a", Fence::ZERO),
        ];
        Lock::new(&other, "a").try_acquire()?.release()?;
        for session in [false, true] {
            for change in changes {
                let lock = Lock::new(&one, "a");
                let held = if session { lock.session() } else { lock }.try_acquire()?;
                let (entry, _) = one.0.open("lock:a")?;
                let Parsed::Record(truth) = entry.peek()? else { panic!("there is a record") };
                for files in [&one, &other] {
                    forge(files, |record| {
                        record.clone_from(&truth);
                        change(record);
                    })?;
                    let error = Lock::new(files, "a").try_acquire().unwrap_err();
                    assert!(error.is_quarantined(), "{error}");
                }
                drop(held);
                forge(&one, Record::free)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_name_that_is_closed_for_longer_than_can_be_asked_opens_after_max_ttl() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path())?;
        let lock = Lock::new(&files, "a").release_on_drop(false);
        for state in [State::Quarantined, State::Lingering, State::Plain] {
            // The last two are no end at all, and that of nobody in particular.
            for deadline in [u64::MAX / 2, u64::MAX - 1, u64::MAX] {
                if state == State::Plain && deadline == u64::MAX {
                    continue;
                }
                drop(lock.try_acquire()?);
                forge(&files, |record| (record.state, record.deadline) = (state, deadline))?;
                let error = lock.try_acquire().unwrap_err();
                let wait = error.retry_after().unwrap();
                assert!(error.is_quarantined() && wait <= files.0.site.settings().max_ttl().get(), "{error}");
                forge(&files, Record::free)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_record_without_a_number_left_grants_nothing() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path())?;
        let lock = Lock::new(&files, "a");
        lock.try_acquire()?.release()?;
        let changes: [fn(&mut Record); 2] =
            [|record| record.fence = Fence::new(NUMBERS - 1), |record| record.seq = NUMBERS - 1];
        for change in changes {
            forge(&files, change)?;
            for _ in 0..2 {
                let error = lock.try_acquire().unwrap_err();
                assert!(error.is_misconfigured() && error.to_string().contains("lock=a.lock"), "{error}");
            }
            forge(&files, |record| (record.seq, record.fence) = (7, Fence::new(7)))?;
            lock.try_acquire()?.release()?;
        }
        Ok(())
    }

    #[test]
    fn a_collector_that_died_over_a_file_leaves_it_usable() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path().join("locks"))?;
        let lock = Lock::new(&files, "a");
        lock.try_acquire()?.release()?;
        let (entry, _) = files.0.open("lock:a")?;
        let Parsed::Record(mut record) = entry.peek()? else { panic!("there is a record") };
        record.state = State::Retired;
        entry.enter()?.write(&record)?;
        assert!(lock.try_acquire()?.fence() > record.fence);
        Ok(())
    }
}
