//! The contract of a `tenure` backend as a test suite that anybody can run.
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
//! # mod my_store {
//! #     use tenure_core::{AnyBackend, Result, Settings};
//! #     pub fn open(_: &str, _: &Settings) -> Result<AnyBackend> { unimplemented!() }
//! # }
//! fn main() -> std::process::ExitCode {
//!     tenure_conformance::Suite::new("my-store")
//!         .open(|spec| my_store::open(spec.place(), spec.settings()))
//!         .exempt("waiters_of_one_process_are_served_in_order", "my store shuffles them on purpose")
//!         .run()
//! }
//! ```
//!
//! [`Suite::open`] is called with a [`Spec`] and returns an [`AnyBackend`](tenure_core::AnyBackend) that
//! has recorded what the store can do; [`Suite::open_async`] does the same for stores of asynchronous
//! code, through the same list of cases. A store that needs a server starts one in [`Suite::server`]. A
//! store that other processes cannot reach says so with [`Suite::in_process`], and how many wait in a
//! queue of its own with [`Suite::waiting`]. A store that can be cut off says how in [`Suite::outage`].
//!
//! The suite starts the test program again as other processes, which it kills, stops and forks; they open
//! the store through the same closure. So `main` should do nothing else before [`Suite::run`].
//!
//! # Reading the result
//!
//! Each case is a test, and its name is the claim that failed if it failed. The usual arguments work:
//! a part of a name, `--skip`, `--list`, `--test-threads`. A failure says what was expected, what was
//! seen, and where in the suite.
//!
//! A case that was not run shows as ignored with its reason: a capability that the store lacks, an
//! exemption, or an absent server. `CONFORMANCE_REQUIRE=my-store`, or a list separated by commas, or
//! `all`, makes an absent server the failure of `the_suite_is_complete`. So is an exemption that names no
//! case, lest such lists rot.
//!
//! Cases let leases of [`Suite::shortest_ttl`] pass. On a machine that is too slow for them a case is
//! repeated with longer ones before it counts as failed. Lifetimes may never be shorter than asked, and
//! longer by no more than [`Suite::grain`]; that something happens in time is measured loosely. How fast
//! a store is belongs into benchmarks.
//!
//! # What is covered
//!
//! [`cases`] lists them; `CASES.md` beside the source is the same list as a table, with a mistake that
//! makes each case fail. These mistakes are real: [`mutants`] are stores that make one each, and a case
//! that catches none of them is no case. [`Suite::judge`] runs a single case. Together they cover the promises of [`Backend`](tenure_core::Backend) and
//! [`Lock`](tenure_core::Lock), and [what `django-cache-lock` does](claims).
//!
//! What happens while servers fail and networks lose things is not in these cases: it takes a while and some
//! chance. [`history`] is for tests of that kind.
//!
//! # Unsafe code
//!
//! `fork(2)`, which no safe function offers, and the `_exit(2)` of its child: what a forked child does to
//! its parent's locks is part of the contract.

#![deny(unsafe_code)]

mod agent;
mod bare;
mod case;
mod cases;
pub mod claims;
mod counter;
mod ctx;
mod driver;
mod failure;
pub mod history;
pub mod mutants;
mod server;
mod spec;
mod subject;
mod suite;

pub use case::{Case, Need};
pub use cases::all as cases;
pub use server::{Absent, Server};
pub use spec::Spec;
pub use suite::{Suite, Verdict};
