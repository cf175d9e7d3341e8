//! Servers that tests start for themselves: on free loopback ports, in temporary directories, ended by
//! their process ids.

#![forbid(unsafe_code)]

mod cluster;
mod process;
mod redis;
mod sentinel;
mod trials;

pub use cluster::{Cluster, cluster};
pub use process::Process;
pub use redis::{Redis, redis};
pub use sentinel::{Sentinels, sentinels};
pub use trials::{Outcome, Stop, Test, run};
