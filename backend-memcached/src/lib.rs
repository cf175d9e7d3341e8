//! Locks in memcached, for the processes of many hosts.

#![forbid(unsafe_code)]

mod backend;
mod config;
mod diagnose;
mod dialect;
mod guard;
mod inspect;
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

pub use backend::Memcached;
pub use config::Builder;
pub use placement::Placement;
pub use profile::Profile;
pub use talk::Grant;
