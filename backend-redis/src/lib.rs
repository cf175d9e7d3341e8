//! Locks in Redis or Valkey, for the processes of many hosts.

#![forbid(unsafe_code)]

#[cfg(feature = "async")]
mod aio;
mod backend;
mod config;
mod diagnose;
mod inspect;
mod keys;
mod listener;
mod pool;
mod resp;
mod script;
mod waited;
mod wire;

#[cfg(feature = "async")]
pub use aio::AsyncRedis;
pub use backend::Redis;
pub use config::{Builder, Wake};
