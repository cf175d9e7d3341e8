//! Locks in memcached, for the processes of many hosts.

#![forbid(unsafe_code)]

#[cfg(feature = "async")]
mod aio;
mod backend;
mod config;
mod diagnose;
mod dialect;
mod guard;
mod inspect;
#[cfg(feature = "async")]
mod link;
mod lookout;
mod pace;
mod placement;
mod pool;
mod profile;
mod record;
mod seen;
mod stats;
mod talk;
mod url;
mod wire;

#[cfg(feature = "async")]
pub use aio::AsyncMemcached;
pub use backend::Memcached;
pub use config::Builder;
pub use placement::Placement;
pub use profile::Profile;
pub use talk::Grant;
