//! Mutexes, condition variables, threads and time under the scheduler of `shuttle`.
//!
//! What `shuttle` lacks is made here: time, which stands still until a model moves it, and with it
//! sleeps that end; parking without wake-ups out of nothing, behind which a lost wake-up would hide;
//! and threads that do not keep a schedule from ending, as those of the engine.

mod condvar;
pub mod thread;
mod time;
mod token;

pub use shuttle::sync::atomic;
pub use shuttle::thread_local;

pub use condvar::{Condvar, Mutex, MutexGuard};
pub use thread::settle;
pub use time::advance;
pub(crate) use time::nanos;

use shuttle::rand::Rng;

/// A random value, the same one whenever a schedule is repeated.
pub(crate) fn random<T: Random>() -> T {
    T::draw()
}

pub(crate) trait Random {
    fn draw() -> Self;
}

impl Random for u128 {
    fn draw() -> Self {
        shuttle::rand::thread_rng().r#gen()
    }
}

impl Random for f64 {
    fn draw() -> Self {
        shuttle::rand::thread_rng().r#gen()
    }
}
