//! What most files that take locks need: `use tenure::prelude::*;`.
//!
//! `lock_model!` in here is the macro that locks a record where it stands. The attribute of that name is
//! written with its whole path, [`#[tenure::lock_model]`](crate::lock_model).

pub use tenure_core::{Held, Lock, Lockable, Unlocked};
#[cfg(feature = "macros")]
#[doc(inline)]
pub use tenure_macros::{Lockable, lock_model};
