//! Servers that tests start for themselves: on free loopback ports, in temporary directories, ended by
//! their process ids; and a network between them and their clients that can fail.

#![forbid(unsafe_code)]

mod process;
mod proxy;
mod redis;
mod trials;

pub use process::Process;
pub use proxy::{Plan, Proxy, Trouble};
pub use redis::{Redis, redis};
pub use trials::{Outcome, Stop, Test, run, run_at_once};
