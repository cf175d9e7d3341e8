//! Tests that need servers, as a test program: where a server is absent they show as ignored, with the
//! reason.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};
use tenure_conformance::Absent;

/// What a test returns.
pub type Outcome<T = ()> = Result<T, Stop>;

/// Why a test did not come to its end.
#[derive(Debug)]
pub enum Stop {
    /// There is no server for it here.
    Absent(Absent),
    /// It does not apply here, for this reason.
    Ignored(Box<str>),
    /// Something did not go as it must.
    Failed(Box<str>),
}

impl Stop {
    /// Something did not go as it must.
    #[must_use]
    pub fn failed(why: impl Into<Box<str>>) -> Self {
        Self::Failed(why.into())
    }
}

impl From<Absent> for Stop {
    fn from(absent: Absent) -> Self {
        Self::Absent(absent)
    }
}

impl From<tenure_core::Error> for Stop {
    fn from(error: tenure_core::Error) -> Self {
        Self::Failed(format!("{error:?}").into())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("{error:?}").into())
    }
}

/// A test and its name.
pub type Test = (&'static str, fn() -> Outcome);

/// Runs tests as the command line says. `CONFORMANCE_REQUIRE`, with `suite` in its list or with `all`,
/// makes an absent server a failure.
#[must_use]
pub fn run(suite: &'static str, tests: &[Test]) -> ExitCode {
    run_all(suite, tests.iter().copied())
}

/// Runs tests that were put together, as [`run`] does.
#[must_use]
pub fn run_all<N: Into<String>, T: FnOnce() -> Outcome + Send + 'static>(
    suite: &'static str,
    tests: impl IntoIterator<Item = (N, T)>,
) -> ExitCode {
    let trials = tests.into_iter().map(|(name, test)| trial(suite, &name.into(), test));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Runs tests that mostly wait, so many at once unless the command line says otherwise.
#[must_use]
pub fn run_at_once(
    suite: &'static str,
    at_once: usize,
    tests: impl IntoIterator<Item = (String, Box<dyn FnOnce() -> Outcome + Send>)>,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(at_once);
    let trials = tests.into_iter().map(|(name, test)| trial(suite, &name, test));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial(suite: &'static str, name: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(Stop::Ignored(why)) => Ok(Completion::ignored_with(why)),
        Err(Stop::Absent(absent)) if !is_required(suite) => Ok(Completion::ignored_with(absent.to_string())),
        Err(Stop::Absent(absent)) => {
            Err(format!("CONFORMANCE_REQUIRE asks for {suite}, but {absent}").into())
        }
        Err(Stop::Failed(why)) => Err(String::from(why).into()),
    })
}

fn is_required(suite: &str) -> bool {
    let required = std::env::var("CONFORMANCE_REQUIRE").unwrap_or_default();
    required.split(',').map(str::trim).any(|name| name == "all" || name == suite)
}

/// The tests of these functions, named after them.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        &[$((stringify!($test), $test as fn() -> $crate::Outcome)),*]
    };
}
