//! Locks in a database.

#![forbid(unsafe_code)]

mod answer;
mod backend;
mod boot;
mod config;
mod course;
mod dialect;
mod failure;
mod inspect;
mod key;
mod link;
mod pool;
mod schema;
mod statement;
mod table;
mod url;
mod wake;

pub use backend::Db;
pub use config::Builder;
pub use schema::schema_sql;
