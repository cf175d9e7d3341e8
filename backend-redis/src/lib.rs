//! Locks in Redis or Valkey, for the processes of many hosts.

#![forbid(unsafe_code)]

mod backend;
mod config;
mod inspect;
mod keys;
mod listener;
mod pool;
mod resp;
mod script;
mod wire;

pub use backend::Redis;
pub use config::{Builder, Wake};
