//! Tasks of those who work on tenure.
#![forbid(unsafe_code)]
fn main() {}
