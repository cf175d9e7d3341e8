//! Locks in the memory of one process.
#![forbid(unsafe_code)]
