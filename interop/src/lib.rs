//! Locks of other programs, on the same keys as ours.
//!
//! The others are the real ones, in the versions that their lists pin: `python/*.txt`, `node/package.json`,
//! `rust/Cargo.toml`. `cargo xtask interop` installs them under `target/interop` and runs the checks of
//! `tests/interop.rs`, one for each of them and each thing that must hold between them and us. A program
//! of a few lines drives each kind, `driver.py`, `driver.js` and `rust/`: it does what a line of its input
//! says, and answers with a line. `tests/caches.rs` does the same for Django's caches in memcached.

#![forbid(unsafe_code)]

mod client;
mod driver;

pub use client::{CACHES, CLIENTS, Client};
pub use driver::Driver;
