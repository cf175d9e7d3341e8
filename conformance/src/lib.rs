//! The contract of a `tenure` backend, as a test suite that anybody can run.
//!
//! Add this crate as a dev-dependency, and a test without the standard harness:
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! with these lines in `tests/conformance.rs`:
//!
//! ```no_run
//! # fn open(_: &str, _: tenure_core::Settings) -> tenure_core::Result<tenure_core::AnyBackend> { todo!() }
//! fn main() -> std::process::ExitCode {
//!     tenure_conformance::Suite::new("my-store")
//!         .open(|spec| open(spec.place(), spec.settings().clone()))
//!         .exempt("waiters_of_one_process_are_served_in_order", "why my store cannot do that")
//!         .run()
//! }
//! ```
//!
//! [`Suite::open`] is called with a [`Spec`] that says where the store is (a folder of this run, or
//! what [`Suite::server`] started) and under which settings. It returns an
//! [`AnyBackend`](tenure_core::AnyBackend) that has recorded what the store can do. Cases that need
//! what it cannot do, such as `Inspect`, show as ignored with that reason.
//!
//! The suite starts the test program again as other processes, which it kills, stops and forks. They
//! open the store through the same closure. A store that other processes cannot reach says so with
//! [`Suite::in_process`].
//!
//! # Reading the result
//!
//! Each case is a test of the usual output: it can be filtered by name, and listed with `--list`. An
//! ignored one stands with its reason in brackets. A store whose server is absent has all its cases
//! ignored; `CONFORMANCE_REQUIRE=my-store` or `=all` makes that a failure. An exemption that names no
//! case is an error, so that lists do not rot.
//!
//! # What is covered
//!
//! Besides the promises of [`Backend`](tenure_core::Backend) and [`Lock`](tenure_core::Lock), the
//! cases cover what the Python library `django-cache-lock` does, its defects included, as far as types
//! do not make them impossible: [`cases`] lists each case with what it covers, and what is covered
//! elsewhere.
//!
//! # Asynchronous stores
//!
//! Cases speak to a store through [`Subject`], whose words are those of `Lock`. A store of another
//! kind runs the same list by being turned into a `Subject`.
//!
//! # Unsafe code
//!
//! One call, `fork(2)`, which no safe function offers: what a forked child does to its parent's locks
//! is part of the contract.

mod agent;
pub mod cases;
mod failure;
mod fork;
mod spec;
mod subject;
mod suite;

pub use failure::Failure;
pub use spec::{Server, Spec};
pub use subject::{Subject, TestHeld, TestLock};
pub use suite::Suite;
