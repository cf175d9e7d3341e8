//! What most files need.

#[cfg(feature = "macros")]
pub use tenure_macros::{Lockable, lock_model};

pub use tenure_core::{Held, Lock, Lockable, Unlocked};
