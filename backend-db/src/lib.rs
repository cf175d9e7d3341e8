//! Locks in a database.

#![forbid(unsafe_code)]

mod answer;
mod backend;
mod batch;
mod boot;
mod collect;
mod config;
mod course;
mod diagnose;
mod dialect;
mod durable;
mod failure;
mod gate;
mod hangup;
mod inspect;
mod key;
mod link;
mod lock_in;
mod pool;
mod reload;
mod renew;
mod schema;
mod statement;
mod table;
mod url;
mod wake;

pub use backend::Db;
pub use config::Builder;
pub use durable::Durable;
pub use gate::Gate;
pub use lock_in::{Borrowed, LockIn};
pub use reload::{Reload, ReloadError};
pub use schema::schema_sql;
