//! What threads share and wait with: the standard library's.
//!
//! Or, built with `--cfg tenure_shuttle` for `cargo xtask models`, that of a scheduler which tries out
//! how threads and time can get in each other's way. So core takes them from here.

#[cfg(tenure_shuttle)]
mod modelled;

#[cfg(not(tenure_shuttle))]
pub(crate) use rand::random;
#[cfg(not(tenure_shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(tenure_shuttle))]
pub(crate) use std::{thread, thread_local};

#[cfg(tenure_shuttle)]
pub use modelled::{Condvar, Mutex, MutexGuard, advance, atomic, settle, thread, thread_local};
#[cfg(tenure_shuttle)]
pub(crate) use modelled::{nanos, random};

/// Declares a static. Where models run, every schedule has its own.
#[cfg(not(tenure_shuttle))]
macro_rules! process_wide {
    ($static:item) => {
        $static
    };
}
#[cfg(tenure_shuttle)]
macro_rules! process_wide {
    (static $name:ident: $type:ty = $value:expr;) => {
        shuttle::lazy_static! { static ref $name: $type = $value; }
    };
}
pub(crate) use process_wide;
