//! Locks in the memory of one process.
//!
//! For tests, for programs that run once, and for threads and tasks of one process. **Other
//! processes do not see these locks**, on the same machine or elsewhere: each has its own. Use a
//! store that processes share as soon as a second process could run.
//!
//! ```
//! use tenure_core::Lock;
//! use tenure_locmem::LocMem;
//!
//! let store = LocMem::for_this_process_only();
//! let held = Lock::new(&store, "global").try_acquire()?;
//! assert!(Lock::new(&store, "global").try_acquire().is_err_and(|error| error.is_contended()));
//! held.release()?;
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! # What it guarantees
//!
//! *Exclusive*: no two holders at once, whatever fails, since nothing can fail apart. Waiters get
//! the lock in the order in which they began to wait; a release hands it straight to the first.
//! Nothing is polled. Fences grow over release, expiry and force release of a name, and from one
//! store to the next in a process; the next process starts from the wall clock.
//!
//! A lock that is kept alive has no lease here: store and holder end together.

#![forbid(unsafe_code)]

mod aio;
mod backend;
mod entry;
mod inspect;
mod shards;

#[cfg(not(tenure_shuttle))]
use std::sync;
#[cfg(tenure_shuttle)]
use tenure_core::sync;

pub use backend::LocMem;
