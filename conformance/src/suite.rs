//! The list of cases, run against one store.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use tenure_core::{AnyBackend, Result, Settings};

use crate::agent::{self, Agent};
use crate::cases::{Case, Need, all};
use crate::failure::{Failure, Outcome};
use crate::spec::{Server, Spec, settings};
use crate::subject::Subject;

type Open = dyn Fn(&Spec) -> Result<AnyBackend> + Send + Sync;
type Outage = dyn Fn(&Spec) -> Box<dyn FnOnce()> + Send + Sync;

/// The contract, to be run against one store.
#[must_use = "call `run`"]
pub struct Suite {
    name: &'static str,
    open: Option<Arc<Open>>,
    server: Option<Box<dyn Fn() -> std::result::Result<Server, String>>>,
    outage: Option<Arc<Outage>>,
    in_process: bool,
    exempt: Vec<(&'static str, &'static str)>,
}

impl Suite {
    /// A suite by the name that `CONFORMANCE_REQUIRE` knows it by.
    pub fn new(name: &'static str) -> Self {
        Self { name, open: None, server: None, outage: None, in_process: false, exempt: Vec::new() }
    }

    /// Says how the store is opened. Called in this process and in others, with several settings; all
    /// that is opened with one place must be one store.
    pub fn open(self, open: impl Fn(&Spec) -> Result<AnyBackend> + Send + Sync + 'static) -> Self {
        Self { open: Some(Arc::new(open)), ..self }
    }

    /// Starts the server that the store needs, once for the run; or says why there is none. Without
    /// it, the place is an empty folder.
    pub fn server(self, start: impl Fn() -> std::result::Result<Server, String> + 'static) -> Self {
        Self { server: Some(Box::new(start)), ..self }
    }

    /// Says how to make the store at a place unreachable, and by the returned closure reachable again.
    /// The place is one that no other case uses, if the place is a folder.
    pub fn outage(self, outage: impl Fn(&Spec) -> Box<dyn FnOnce()> + Send + Sync + 'static) -> Self {
        Self { outage: Some(Arc::new(outage)), ..self }
    }

    /// Says that no other process can reach the store.
    pub fn in_process(self) -> Self {
        Self { in_process: true, ..self }
    }

    /// Leaves a case out, for a reason that is shown.
    pub fn exempt(mut self, case: &'static str, reason: &'static str) -> Self {
        self.exempt.push((case, reason));
        self
    }

    /// Runs the cases as the command line says, as any test program does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let Some(open) = self.open.clone() else { return refuse("say how the store is opened, with `open`") };
        if let Ok(spec) = std::env::var(agent::VARIABLE) {
            return agent::obey(&spec, |spec| open(spec));
        }
        let known = |case: &str| all().any(|known| known.name == case);
        if let Some((unknown, _)) = self.exempt.iter().find(|(case, _)| !known(case)) {
            return refuse(&format!("the exemption {unknown:?} names no case"));
        }
        let mut arguments = Arguments::from_args();
        // Cases wait more than they work.
        arguments.test_threads.get_or_insert(8);
        let folder = match tempfile::Builder::new().prefix("tenure-conformance").tempdir() {
            Ok(folder) => folder,
            Err(error) => return refuse(&format!("no folder for the run: {error}")),
        };
        // Listing needs no server.
        let server = match &self.server {
            Some(start) if !arguments.list => start().map(Some),
            _ => Ok(None),
        };
        let trials = match server {
            Ok(server) => {
                let trials = self.trials(&open, server.as_ref(), folder.path().to_path_buf());
                let conclusion = libtest_mimic::run(&arguments, trials);
                drop(server);
                return conclusion.exit_code();
            }
            Err(absent) if self.is_required() => {
                let message = format!("{} is required and absent: {absent}", self.name);
                vec![Trial::test(format!("{}::is_there", self.name), move || Err(Failed::from(message)))]
            }
            Err(absent) => all().map(|case| ignored(self.name, case, &absent)).collect(),
        };
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn is_required(&self) -> bool {
        let required = std::env::var("CONFORMANCE_REQUIRE").unwrap_or_default();
        required.split(',').any(|name| name.trim() == self.name || name.trim() == "all")
    }

    fn trials(&self, open: &Arc<Open>, server: Option<&Server>, folder: PathBuf) -> Vec<Trial> {
        let place = server.map(|server| server.place.clone());
        let shared = Arc::new(Shared {
            open: open.clone(),
            outage: self.outage.clone(),
            place,
            folder,
            places: AtomicUsize::new(0),
        });
        let store = shared.open(&shared.spec());
        all()
            .map(|case| match self.why_not(case, &store) {
                Some(reason) => ignored(self.name, case, &reason),
                None => {
                    let (shared, store) = (shared.clone(), store.as_ref().ok().cloned());
                    Trial::test(format!("{}::{}", self.name, case.name), move || {
                        let store = match store {
                            Some(store) => store,
                            None => shared.open(&shared.spec())?,
                        };
                        (case.run)(&Context { case: case.name, store, shared })?;
                        Ok(())
                    })
                }
            })
            .collect()
    }

    /// Why a case is not run.
    fn why_not(&self, case: &Case, store: &Outcome<Subject>) -> Option<String> {
        if let Some((_, reason)) = self.exempt.iter().find(|(exempt, _)| *exempt == case.name) {
            return Some(format!("exempt: {reason}"));
        }
        case.needs.iter().find_map(|need| {
            let lacking = match (need, store) {
                (Need::Processes, _) => self.in_process,
                (Need::Outage, _) => self.outage.is_none(),
                (_, Err(_)) => false,
                (Need::Inspect, Ok(store)) => store.inspect().is_none(),
                (Need::Restore, Ok(store)) => !store.can_restore(),
                (Need::Sessions, Ok(store)) => !store.has_sessions(),
            };
            lacking.then(|| need.reason().to_owned())
        })
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").field("name", &self.name).finish_non_exhaustive()
    }
}

fn ignored(suite: &str, case: &Case, reason: &str) -> Trial {
    Trial::test(format!("{suite}::{}", case.name), || Ok(())).with_kind(reason).with_ignored_flag(true)
}

#[expect(clippy::print_stderr, reason = "a test program that cannot run says why")]
fn refuse(why: &str) -> ExitCode {
    eprintln!("conformance: {why}");
    ExitCode::FAILURE
}

struct Shared {
    open: Arc<Open>,
    outage: Option<Arc<Outage>>,
    place: Option<String>,
    folder: PathBuf,
    places: AtomicUsize,
}

impl Shared {
    fn spec(&self) -> Spec {
        let place = self.place.clone().unwrap_or_else(|| self.folder.join("store").display().to_string());
        Spec::new(place, settings())
    }

    fn open(&self, spec: &Spec) -> Outcome<Subject> {
        let store = (self.open)(spec);
        Ok(store.map_err(|error| Failure::new(format!("the store cannot be opened: {error}")))?.into())
    }
}

/// What a case has to work with.
pub struct Context {
    case: &'static str,
    store: Subject,
    shared: Arc<Shared>,
}

impl Context {
    /// The store that all cases share.
    pub(crate) fn store(&self) -> &Subject {
        &self.store
    }

    /// A name of this case's own.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.case)
    }

    /// The same store, opened once more.
    pub(crate) fn reopen(&self) -> Outcome<Subject> {
        self.shared.open(&self.shared.spec())
    }

    /// The same store, opened with other settings.
    pub(crate) fn reopen_with(&self, change: impl FnOnce(Settings) -> Result<Settings>) -> Outcome<Subject> {
        self.shared.open(&self.shared.spec().with_settings(change(settings())?))
    }

    /// Another process that has the store open.
    pub(crate) fn agent(&self) -> Outcome<Agent> {
        Agent::start(&self.shared.spec())
    }

    /// An empty folder of this case's own.
    pub(crate) fn folder(&self) -> Outcome<PathBuf> {
        let number = self.shared.places.fetch_add(1, Ordering::Relaxed);
        let folder = self.shared.folder.join(format!("{}-{number}", self.case));
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// A store that can be made unreachable, if places are folders one that no other case uses.
    pub(crate) fn with_outage(&self, during: impl FnOnce(&Subject) -> Outcome) -> Outcome<Subject> {
        let mut spec = self.shared.spec();
        if self.shared.place.is_none() {
            spec = Spec::new(self.folder()?.join("store").display().to_string(), settings());
        }
        let store = self.shared.open(&spec)?;
        store.lock(&self.name("before")).try_acquire()?.release()?;
        let outage = self.shared.outage.as_ref().ok_or_else(|| Failure::new("no outage can be made"))?;
        let end = outage(&spec);
        let outcome = during(&store);
        end();
        outcome.map(|()| store)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("case", &self.case).finish_non_exhaustive()
    }
}
