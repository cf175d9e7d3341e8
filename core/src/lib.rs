//! The lock types, the backend traits and the engines of `tenure`.
//!
//! Who uses locks depends on the crate `tenure`. Who writes a store depends on this one: implement
//! [`Backend`] for a cheap handle of the store, make a [`Site`] when it connects, and run
//! `tenure-conformance` against it. What the store can do beyond that is said by implementing
//! [`Inspect`], [`Restore`], [`SessionLocks`], [`SharedLocks`], [`Permits`] and [`DurableFence`].
//!
//! # What a backend is asked, and what it is not
//!
//! A backend answers one request at once: grant or deny, renew, release. Waiting in line, waking,
//! retrying, renewing in time, giving up, noticing a loss and telling of it are done here, the same
//! for all stores. A [`Claim`] carries one owner token through all requests of one acquisition, so
//! that each can be repeated when an answer got lost.
//!
//! # What is promised
//!
//! At most one unexpired lease per name by the store's clock; the holder stops believing that it
//! holds strictly before that lease ends, by its own suspend-aware clock; every grant carries a
//! fence strictly greater than that of every grant that completed before it began. Only the fence
//! check at the protected resource makes a paused holder harmless.

#![forbid(unsafe_code)]

pub mod aio;
mod all;
mod any;
mod backend;
mod callbacks;
mod capability;
mod claim;
mod clock;
mod default;
mod doubts;
mod engine;
mod erase;
mod error;
mod fence;
mod forward;
mod held;
mod holding;
mod key;
mod lease;
mod line;
mod lock;
mod lockable;
mod name;
pub mod observe;
mod options;
mod owner;
mod policy;
mod port;
mod ran;
mod settings;
mod site;
mod state;
mod status;
#[cfg(not(tenure_shuttle))]
mod sync;
#[cfg(tenure_shuttle)]
pub mod sync;
pub mod testing;
mod time;
mod ttl;
mod turns;
mod wait;
mod waiter;

pub use all::{LockAll, Members};
pub use any::{AnyBackend, AnyGrant, AnyPermits, AnyRestore, AnySessions, AnyShared, Erase};
pub use backend::{Advice, Attempt, Backend, Denied, Granted, Handle, Lease, Release, Renewal, Watch};
pub use capability::{Breaking, DurableFence, Holder, Inspect, Permits, Restore, SessionLocks, SharedLocks};
pub use claim::{Claim, Mode, Resolved, Term};
pub use clock::{Moment, wall_coarse, wall_micros};
pub use default::{default_store, install, release_all};
pub use error::{Cause, Error, Kind, Result};
pub use fence::Fence;
pub use key::{KeyPart, LockKey, Segment};
pub use lock::Lock;
pub use lockable::Lockable;
pub use name::{Fitted, IntoName, Limits, Name};
pub use owner::Owner;
pub use ran::Ran;
pub use settings::Settings;
pub use site::{Delivery, Site};
pub use state::{Exclusive, Held, Permit, Rule, Shared, State, Unlocked};
pub use status::Status;
pub use ttl::Ttl;
