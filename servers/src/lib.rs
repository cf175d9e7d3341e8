//! Servers that tests start for themselves: on free loopback ports, in temporary directories, ended by
//! their process ids; and a network between them and their clients that can fail.

#![forbid(unsafe_code)]

mod certificates;
mod client;
mod cluster;
mod mariadb;
mod memcached;
mod pgbouncer;
mod postgres;
mod process;
mod proxy;
mod redis;
mod sentinel;
mod template;
mod trials;
mod unprivileged;

pub use certificates::Certificates;
pub use cluster::{Cluster, cluster};
pub use mariadb::{MariaDb, mariadb};
pub use memcached::{Memcached, memcached};
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, postgres};
pub use process::{Process, free_port};
pub use proxy::{Plan, Proxy, Trouble};
pub use redis::{Redis, redis};
pub use sentinel::{Sentinels, sentinels};
pub use trials::{Outcome, Stop, Test, run, run_all, run_at_once};
