//! The list of cases as a test program of one store.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::TempDir;
use tenure_core::{AnyBackend, Result, aio};

use crate::case::{Case, Need};
use crate::ctx::{Ctx, MakeOutage, Open, Waiting};
use crate::driver::{self, Executor, Store};
use crate::failure::{Failure, Outcome};
use crate::server::{Absent, Server};
use crate::spec::Spec;
use crate::subject::Subject;
use crate::{agent, cases};

/// The whole contract as the test program of one store.
///
/// Its `main` runs again in every process that a case needs, so nothing should happen there before
/// [`run`](Self::run) that another process must not repeat.
#[must_use = "a suite does nothing until it is run"]
pub struct Suite {
    name: String,
    open: Option<Arc<Open>>,
    outage: Option<Arc<MakeOutage>>,
    waiting: Option<Arc<Waiting>>,
    server: Option<Box<Start>>,
    exempt: BTreeMap<String, String>,
    shortest_ttl: Duration,
    grain: Duration,
    lateness: Duration,
    patience: Duration,
    in_process: bool,
    ready: OnceLock<Ready>,
}

type Start = dyn Fn() -> std::result::Result<Server, Absent> + Send + Sync;

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The store did as it must.
    Passed,
    /// The case was not run, and why.
    Ignored(String),
    /// The store did not; what was expected and what was seen.
    Failed(String),
}

/// What all cases of a suite share, made when the first of them runs.
enum Ready {
    Store { spec: Spec, subject: Box<Subject>, dir: TempDir, server: Option<Server> },
    Absent(String),
    Broken(String),
}

/// Cases mostly wait, so more of them run at once than there are processors.
const AT_ONCE: usize = 8;

impl Suite {
    /// A suite; `name` is what `CONFORMANCE_REQUIRE` may list.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            open: None,
            outage: None,
            waiting: None,
            server: None,
            exempt: BTreeMap::new(),
            shortest_ttl: Duration::from_millis(250),
            grain: Duration::ZERO,
            lateness: Duration::ZERO,
            patience: Duration::from_secs(90),
            in_process: false,
            ready: OnceLock::new(),
        }
    }

    /// How to open the store, in this process and in others. Called several times; the same
    /// [`Spec`] must lead to the same locks.
    pub fn open(self, open: impl Fn(&Spec) -> Result<AnyBackend> + Send + Sync + 'static) -> Self {
        Self { open: Some(Arc::new(move |spec| open(spec).map(Store::Blocking))), ..self }
    }

    /// How to open a store for asynchronous code, as [`open`](Self::open). Its futures are run on the
    /// threads of the cases.
    pub fn open_async(self, open: impl Fn(&Spec) -> Result<aio::AnyBackend> + Send + Sync + 'static) -> Self {
        self.open_async_on(driver::here, open)
    }

    /// As [`open_async`](Self::open_async), with an executor that runs a future to its end, as the
    /// `block_on` of a runtime does. It is called from several threads at once.
    pub fn open_async_on(
        self,
        executor: impl Fn(Pin<Box<dyn Future<Output = ()> + Send + '_>>) + Send + Sync + 'static,
        open: impl Fn(&Spec) -> Result<aio::AnyBackend> + Send + Sync + 'static,
    ) -> Self {
        let executor: Arc<Executor> = Arc::new(executor);
        let open = move |spec: &Spec| Ok(Store::polled(open(spec)?, executor.clone()));
        Self { open: Some(Arc::new(open)), ..self }
    }

    /// How to make the store at a place unreachable, and by what is returned reachable again. The
    /// place is one that no other case uses, if places are directories.
    pub fn outage(self, outage: impl Fn(&Spec) -> Box<dyn FnOnce()> + Send + Sync + 'static) -> Self {
        Self { outage: Some(Arc::new(outage)), ..self }
    }

    /// How many claims wait for a key, prefix included, in the store's own queue. For a store on a
    /// [`Site::direct`](tenure_core::Site::direct), whose waiters stand in no other line.
    pub fn waiting(self, waiting: impl Fn(&str) -> usize + Send + Sync + 'static) -> Self {
        Self { waiting: Some(Arc::new(waiting)), ..self }
    }

    /// How to start the server, once, before the first case. Its place is in the [`Spec`].
    pub fn server(
        self,
        start: impl Fn() -> std::result::Result<Server, Absent> + Send + Sync + 'static,
    ) -> Self {
        Self { server: Some(Box::new(start)), ..self }
    }

    /// Says that other processes do not reach the store; what needs them is exempt, by name.
    pub fn in_process(self) -> Self {
        Self { in_process: true, ..self }
    }

    /// Sets the shortest lifetime that cases let pass, 250 ms by default. A store that counts whole
    /// seconds says two of them.
    pub fn shortest_ttl(self, ttl: Duration) -> Self {
        Self { shortest_ttl: ttl, ..self }
    }

    /// Sets by how much a lease may end late, not at all by default. A store that rounds to whole
    /// milliseconds says two of them: one for each rounding. No lease may end early on any store.
    pub fn grain(self, grain: Duration) -> Self {
        Self { grain, ..self }
    }

    /// Sets by how much longer than its lease a lock may be taken for somebody who asks for it for the
    /// first time, not at all by default. A store whose own clock is coarse may need to be watched, or some
    /// time, before it is certain that a lease has ended.
    pub fn lateness(self, lateness: Duration) -> Self {
        Self { lateness, ..self }
    }

    /// Sets how long a case may take before it counts as one that hangs, 90 s by default.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Leaves a case out, for a reason that is shown. A name that no case has is a failure.
    pub fn exempt(mut self, case: impl Into<String>, reason: impl Into<String>) -> Self {
        self.exempt.insert(case.into(), reason.into());
        self
    }

    /// Runs the cases as the command line says, as `cargo test` programs do.
    #[must_use]
    pub fn run(self) -> ExitCode {
        self.obey_if_agent();
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
        let suite = Arc::new(self);
        let trials = suite.clone().trials();
        let conclusion = libtest_mimic::run(&arguments, trials);
        conclusion.exit_code()
    }

    /// Runs one case, for tests of deliberately broken stores.
    ///
    /// In a process that was started as an agent of this suite it does not return.
    #[must_use]
    pub fn judge(&self, case: &str) -> Verdict {
        self.obey_if_agent();
        match cases::all().find(|known| known.name() == case) {
            Some(known) => self.verdict(known),
            None => Verdict::Failed(format!("no case has the name {case:?}")),
        }
    }

    pub(crate) fn obey_if_agent(&self) {
        if let Some(open) = &self.open {
            agent::obey_if_asked(&self.name, open.as_ref());
        }
    }

    fn trials(self: Arc<Self>) -> Vec<Trial> {
        let suite = self.clone();
        let preparation =
            Trial::ignorable_test(format!("{}::the_suite_is_complete", self.name), move || suite.complete());
        let case = |case: &'static Case| {
            let suite = self.clone();
            Trial::ignorable_test(format!("{}::{}", suite.name, case.name()), move || {
                match suite.verdict(case) {
                    Verdict::Passed => Ok(Completion::Completed),
                    Verdict::Ignored(reason) => Ok(Completion::ignored_with(reason)),
                    Verdict::Failed(message) => Err(Failed::from(message)),
                }
            })
        };
        std::iter::once(preparation).chain(cases::all().map(case)).collect()
    }

    /// Whether the suite can say anything: names in its lists exist, and what is required is there.
    fn complete(&self) -> std::result::Result<Completion, Failed> {
        for name in self.exempt.keys() {
            if !cases::all().any(|case| case.name() == name) {
                return Err(format!("the suite exempts {name:?}, which no case is called").into());
            }
        }
        match self.ready() {
            Ready::Store { .. } => Ok(Completion::Completed),
            Ready::Broken(why) => Err(why.into()),
            Ready::Absent(why) if is_required(&self.name) => {
                Err(format!("CONFORMANCE_REQUIRE asks for {}, but {why}", self.name).into())
            }
            Ready::Absent(why) => Ok(Completion::ignored_with(why)),
        }
    }

    fn verdict(&self, case: &'static Case) -> Verdict {
        if let Some(reason) = self.exempt.get(case.name()) {
            return Verdict::Ignored(format!("exempt: {reason}"));
        }
        let (spec, subject, dir, server) = match self.ready() {
            Ready::Store { spec, subject, dir, server } => (spec, subject, dir, server),
            Ready::Absent(why) => return Verdict::Ignored(why.clone()),
            Ready::Broken(why) => return Verdict::Failed(why.clone()),
        };
        for need in case.needs() {
            if let Some(reason) = self.lacks(*need, subject) {
                return Verdict::Ignored(reason);
            }
        }
        let ctx = |shortest_ttl| Ctx {
            suite: self.name.clone(),
            case: case.name(),
            open: self.open.clone().expect("a store is ready only if it can be opened"),
            outage: self.outage.clone(),
            waiting: self.waiting.clone(),
            spec: spec.clone(),
            subject: (**subject).clone(),
            dir: dir.path().into(),
            places: server.is_none(),
            shortest_ttl,
            grain: self.grain,
            lateness: self.lateness,
        };
        // A machine too slow for a lease has shown nothing about the store; a longer lease may.
        let mut lateness = None;
        for attempt in 0..3 {
            match with_patience(self.patience, case, ctx(self.shortest_ttl * 3_u32.pow(attempt))) {
                Ok(()) => return Verdict::Passed,
                Err(failure) if failure.is_late() => lateness = Some(failure),
                Err(failure) => return Verdict::Failed(failure.to_string()),
            }
        }
        Verdict::Failed(lateness.map(|failure| failure.to_string()).unwrap_or_default())
    }

    fn lacks(&self, need: Need, subject: &Subject) -> Option<String> {
        let store = subject.store();
        let there = match need {
            Need::Processes if self.in_process => {
                return Some("exempt: the store lives in one process".into());
            }
            Need::Processes => cfg!(unix),
            Need::Inspect => store.inspect().is_some(),
            Need::Restore => store.can_restore(),
            Need::Sessions => store.has_sessions(),
            Need::Sharing => store.has_shared_locks(),
            Need::Permits => store.has_permits(),
            Need::Polled => store.is_polled(),
            Need::Outage => self.outage.is_some(),
        };
        (!there).then(|| format!("needs {need}"))
    }

    fn ready(&self) -> &Ready {
        self.ready.get_or_init(|| {
            let server = match self.server.as_ref().map(|start| start()) {
                Some(Ok(server)) => Some(server),
                Some(Err(absent)) => return Ready::Absent(absent.to_string()),
                None => None,
            };
            let dir = match tempfile::Builder::new().prefix("tenure-conformance-").tempdir() {
                Ok(dir) => dir,
                Err(error) => return Ready::Broken(format!("no directory for the suite: {error}")),
            };
            let Some(open) = &self.open else {
                return Ready::Broken("the suite does not say how to open the store; call `open`".into());
            };
            let store = || dir.path().join("store").display().to_string();
            let spec = Spec::new(server.as_ref().map_or_else(store, |server| server.place().to_owned()));
            match open(&spec) {
                Ok(store) => {
                    let subject = Box::new(Subject::new(store));
                    Ready::Store { spec, subject, dir, server }
                }
                Err(error) => Ready::Broken(format!("the store could not be opened: {error:?}")),
            }
        })
    }
}

fn is_required(suite: &str) -> bool {
    let required = std::env::var("CONFORMANCE_REQUIRE").unwrap_or_default();
    required.split(',').map(str::trim).any(|name| name == "all" || name == suite)
}

/// Runs a case on a thread of its own, so that a store that hangs is a failure and not a hang.
fn with_patience(patience: Duration, case: &'static Case, ctx: Ctx) -> Outcome {
    let (tell, told) = mpsc::channel();
    let run = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&ctx)));
        // Nobody listens any more if the case took too long.
        let _ = tell.send(outcome);
    };
    thread::Builder::new().name(case.name().into()).spawn(run)?;
    match told.recv_timeout(patience) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Failure::new(format!("the case or the store panicked: {text}")))
        }
        Err(_) => Err(Failure::new(format!("expected an end within {patience:?}, saw none"))),
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("name", &self.name).finish_non_exhaustive()
    }
}
