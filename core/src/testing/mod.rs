//! For tests of programs that use locks: time that passes when the test says so.

mod clock;

pub use clock::Clock;
