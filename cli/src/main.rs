//! The `tenure` command.
#![forbid(unsafe_code)]
fn main() {}
