//! Locks in a database.

#![forbid(unsafe_code)]

#[cfg(any(feature = "sqlite", feature = "async"))]
mod aio;
mod answer;
mod backend;
mod boot;
mod config;
mod course;
mod dialect;
mod durable;
mod failure;
mod gate;
mod inspect;
mod key;
mod link;
mod lock_in;
mod pool;
mod reload;
mod schema;
mod statement;
mod table;
mod url;
mod wake;

#[cfg(any(feature = "sqlite", feature = "async"))]
pub use aio::AsyncDb;
pub use backend::Db;
pub use config::Builder;
pub use durable::Durable;
pub use gate::Gate;
pub use lock_in::{Borrowed, LockIn};
pub use reload::{Reload, ReloadError};
pub use schema::schema_sql;
