//! Another process with a crew of its own: this program, started again.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio, exit};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tenure_conformance::history::Event;
use tenure_servers::Process;

use crate::crew::{Crew, Tell};
use crate::row::Row;
use crate::table::{CONTROLS, ROWS};

/// What makes this program such a process: the row, the place, the folder and the seed, line by line.
const TASK: &str = "TENURE_FAULTS_CREW";

/// How many threads it has.
pub(crate) const SIZE: usize = 2;

/// How long it may take to end when its crew has been told to.
const PATIENCE: Duration = Duration::from_secs(20);

/// The other process, seen from this one.
pub(crate) struct Other {
    process: Process,
    /// It works until this is closed.
    work: Option<ChildStdin>,
    reader: Option<JoinHandle<io::Result<()>>>,
}

impl Other {
    pub(crate) fn start(row: &Row, place: &str, folder: &Path, seed: u64, tell: &Tell) -> io::Result<Self> {
        let task = format!("{}\n{place}\n{}\n{seed}", row.name, folder.display());
        let mut child = Command::new(env::current_exe()?)
            .env(TASK, task)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let work = child.stdin.take();
        let events = child.stdout.take().ok_or_else(|| io::Error::other("a process without an output"))?;
        let (process, tell) = (Process::from(child), tell.clone());
        let reader = thread::spawn(move || {
            for line in BufReader::new(events).lines() {
                tell(serde_json::from_str(&line?)?);
            }
            Ok(())
        });
        Ok(Self { process, work, reader: Some(reader) })
    }

    /// To stop it and let it go on.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Lets its crew finish.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        drop(self.work.take());
        match self.process.end_within(PATIENCE)? {
            Some(status) if status.success() => {}
            ended => return Err(io::Error::other(format!("the other process ended with {ended:?}"))),
        }
        let reader = self.reader.take().map(JoinHandle::join);
        reader.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("its reader panicked")))
    }
}

/// Does not return in a process that was started as another one.
pub(crate) fn work_if_asked() {
    let Ok(task) = env::var(TASK) else { return };
    match work(&task) {
        Ok(()) => exit(0),
        Err(error) => {
            let _ = writeln!(io::stderr(), "the other process: {error}");
            exit(1)
        }
    }
}

fn work(task: &str) -> io::Result<()> {
    let [row, place, folder, seed] = task.split('\n').collect::<Vec<_>>()[..] else {
        return Err(io::Error::other("a task has four lines"));
    };
    let known = ROWS.iter().chain(CONTROLS.iter().map(|control| control.row));
    let row = known.into_iter().find(|known| known.name == row);
    let row = row.ok_or_else(|| io::Error::other("there is no such row"))?;
    let seed = seed.parse().map_err(io::Error::other)?;
    let store = row.opened(place).map_err(io::Error::other)?;
    let tell: Tell = Arc::new(|event: Event| {
        let line = serde_json::to_string(&event).expect("an event can be written as JSON");
        // Who cannot tell any more has nothing to work for.
        if writeln!(io::stdout().lock(), "{line}").is_err() {
            exit(1);
        }
    });
    let crew = Crew::start(&store, "other", SIZE, Path::new(folder), seed, &tell)?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    crew.stop()
}
