//! One lock API over files, local memory and network stores.
#![forbid(unsafe_code)]

pub use tenure_core::*;
