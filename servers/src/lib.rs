//! Servers that tests start for themselves: on free loopback ports, in temporary directories, ended by
//! their process ids; and a network between them and their clients that can fail.

#![forbid(unsafe_code)]

mod certificates;
mod cluster;
mod memcached;
mod process;
mod proxy;
mod redis;
mod sentinel;
mod trials;

pub use certificates::Certificates;
pub use cluster::{Cluster, cluster};
pub use memcached::{Memcached, memcached};
pub use process::{Process, free_port};
pub use proxy::{Plan, Proxy, Trouble};
pub use redis::{Redis, redis};
pub use sentinel::{Sentinels, sentinels};
pub use trials::{Outcome, Stop, Test, run, run_all, run_at_once};
