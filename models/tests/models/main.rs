//! The models; see the crate's documentation.

#![cfg(tenure_shuttle)]
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a model is a test from end to end"
)]

mod backend;
mod doubt;
mod explore;
mod loss;
mod queue;
mod renewal;
mod sets;
mod store;
mod take_part;
mod waiting;
