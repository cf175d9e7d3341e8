//! Locks in files, for the processes of one host.
#![forbid(unsafe_code)]
