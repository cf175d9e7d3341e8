//! Locks on records.

pub use tenure_core::Lockable;
pub use tenure_macros::{Lockable, lock_model};
