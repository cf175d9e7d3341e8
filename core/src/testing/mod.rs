//! For tests of programs that use locks: a store that does as it is told, time that passes when the
//! test says so, and assertions.
//!
//! How does a job behave that loses its lock half-way? [`Scripted`] is a store in which that happens,
//! at the second renewal for instance, without a server and without waiting:
//!
//! ```
//! use std::time::Duration;
//! use tenure_core::testing::{Scripted, assert_held};
//! use tenure_core::{Cause, Lock, Status};
//!
//! let store = Scripted::new();
//! store.on_renewal("job", 2).lose(Cause::Superseded);
//!
//! let held = Lock::new(&store, "job").acquire()?;      // kept alive on a lease of 30 s
//! store.clock().advance(Duration::from_secs(12));      // the first renewal
//! assert_held(&held);
//! store.clock().advance(Duration::from_secs(12));      // the second one
//! assert_eq!(held.status(), Status::Lost(Cause::Superseded));
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! For tests that only need a lock, a store in local memory is simpler.

mod assert;
mod clock;
mod ledger;
mod script;
mod scripted;
mod store;
mod task;

pub use assert::{HeldLock, assert_held, assert_lost};
pub use clock::Clock;
pub use script::{Calls, On};
pub use scripted::{Event, Scripted, Taken};
