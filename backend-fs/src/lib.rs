//! Locks in files, for the processes of one host.
//!
//! [`Files`] keeps one small record file for each lock in a folder, as a backend of `tenure`. A lock
//! is free at once when its holder dies, however it dies; it is free when its lease ends if its
//! holder hangs, unless it was taken as a session; and it is free after a reboot. Waiters sleep
//! until the kernel tells that a record changed.
//!
//! ```no_run
//! use tenure_core::Lock;
//! use tenure_fs::Files;
//!
//! let files = Files::user_default(tenure_core::Settings::default())?;
//! let held = Lock::new(&files, "nightly report").acquire()?;
//! // … alone on this host …
//! held.release()?;
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! [`Flock`] takes plain locks that the `flock` command understands.
//!
//! # How it works
//!
//! A record file is never removed while it is in use. Byte 0 is locked (`F_OFD_SETLK`) for the
//! microseconds in which the record is read and changed; a byte far beyond the end, another one for
//! each grant, is locked as long as the holder lives. The record says who holds the lock until when,
//! on the clock that runs while the host sleeps, and of which boot. It is believed only while nobody
//! lives who was granted the lock after what it says.
//!
//! # What to know
//!
//! * A lock that is held takes one open file of the process, and so does a lock that was used and
//!   may be used again, for the first few hundred. A session takes two. At the limit an acquire is
//!   `Unavailable`; raise it with `ulimit -n`.
//! * A record takes a block of the disk, 4 KiB on most. [`Files::collect`] removes those of names
//!   that are long unused; a store does that by itself now and then for names unused for a day.
//! * Fences come from the record and the wall clock. They are not forced to the disk: after a power
//!   cut they go on from the clock.
//! * A damaged record is not believed: one that was cut, emptied, scribbled on, or put back from a copy
//!   while somebody holds the lock. Its name is closed (`Quarantined`) for the
//!   settings' `max_ttl`, in which every lease ends, and then for as long as a session lives. The
//!   holder is told at its next renewal that the lock is lost, and fences go on from the clock.
//! * What the bytes and the byte locks of a file cannot tell from the truth: an earlier state of the
//!   same grant, which says that the lease ends earlier; a record that was forged, its sums with it; an
//!   emptied file of a name that nothing but its record keeps taken, as after
//!   [`hold_at_least`](tenure_core::Lock::hold_at_least). Two may then hold the lock until the first one
//!   renews, and only fences keep them apart.
//! * A child that was forked without `exec` shares the open files: when its parent dies, the lock is
//!   free only with its lease, or when the child ends too.
//! * Who can write in the folder can break every lock in it. A folder that others can write is
//!   refused, and so are links, network file systems, and files that are not records.
//! * Processes of one host in different containers exclude each other if they share the folder,
//!   unless they were given different boot clocks (time namespaces).
//! * On other systems than Linux everything compiles, and opening a store is refused.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod advice;
#[cfg(target_os = "linux")]
mod aio;
#[cfg(target_os = "linux")]
mod backend;
#[cfg(target_os = "linux")]
mod collect;
#[cfg(target_os = "linux")]
mod config;
#[cfg(target_os = "linux")]
mod entry;
#[cfg(target_os = "linux")]
mod file_name;
#[cfg(target_os = "linux")]
mod flock;
#[cfg(target_os = "linux")]
mod floor;
#[cfg(target_os = "linux")]
mod grant;
#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod ofd;
#[cfg(target_os = "linux")]
mod pace;
#[cfg(all(test, target_os = "linux"))]
mod properties;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod record;
#[cfg(target_os = "linux")]
mod store;
#[cfg(target_os = "linux")]
mod task;
#[cfg(any(test, not(target_os = "linux")))]
mod unsupported;
#[cfg(target_os = "linux")]
mod url;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
pub use {
    backend::Files,
    collect::Collected,
    config::Builder,
    flock::{Flock, FlockGrant},
    grant::FileGrant,
};

#[cfg(not(target_os = "linux"))]
pub use unsupported::{Builder, Collected, FileGrant, Files, Flock, FlockGrant};
