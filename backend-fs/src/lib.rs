//! Locks in files, for the processes of one host.
//!
//! ```
//! use tenure_core::Lock;
//! use tenure_fs::Files;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let store = Files::open(folder)?;
//! let held = Lock::new(&store, "global").try_acquire()?;
//! assert!(Lock::new(&store, "global").try_acquire().is_err_and(|error| error.is_contended()));
//! held.release()?;
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! # What it guarantees
//!
//! *Exclusive*: no two holders of a name at once, among all processes of the host that use the same
//! folder, whatever fails: each grant has a lease on the host's suspend-aware clock, and is marked
//! alive by a lock that the kernel takes away when the process ends.
//!
//! | what happens | what follows |
//! |---|---|
//! | the holder is killed | the lock is free at once, and waiters are woken |
//! | the holder hangs or is stopped | the lock is free at the end of its lease |
//! | the holder of a [session](tenure_core::Lock::session) hangs | it keeps the lock until it ends |
//! | the host reboots | all locks are free |
//! | a record is damaged | the name is closed for `max_ttl`, then free |
//! | the disk is full | held locks can be renewed and released; new names cannot be locked |
//! | somebody removes a lock file | its holder loses the lock at the next renewal; another may get it before |
//!
//! Fences survive all of these but the last, where the wall clock keeps them growing.
//!
//! Each held lock takes a file descriptor. Names leave a file of one block behind; [`Files::collect`]
//! removes those that were not used for long, and runs by itself now and then.
//!
//! Linux only: other systems lack open-file-description locks or the boot clock, and are refused.
//! Network file systems are refused unless told otherwise.

#![forbid(unsafe_code)]

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!(
    "tenure-fs needs Linux, for open-file-description locks and the boot clock; leave the feature `fs` of `tenure` out"
);

mod backend;
mod collect;
mod config;
mod entry;
mod flock;
mod grant;
mod inspect;
mod record;
mod watch;

pub use backend::Files;
pub use collect::Collected;
pub use config::FilesBuilder;
pub use flock::{Flock, FlockGrant};
pub use grant::FileGrant;
