//! PostgreSQL.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tenure_conformance::{Absent, Server};

use crate::client;
use crate::process::{Process, free_port};
use crate::template::{self, DATA, Template};
use crate::unprivileged;

/// A PostgreSQL server of the test's own, where everybody on this host is its superuser `postgres`.
///
/// It does not call fsync(2) unless it is told to: what it has committed survives the end of its processes,
/// and not that of the machine.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: u16,
    dir: TempDir,
    settings: Vec<String>,
}

/// Starts one.
///
/// # Errors
///
/// [`Absent`] if PostgreSQL is not installed.
pub fn postgres() -> Result<Postgres, Absent> {
    Postgres::with(&[])
}

const NAME: &str = "postgres";

const PACKAGE: &str = "postgresql";

impl Postgres {
    /// Starts one with more settings, each as `name=value`.
    ///
    /// # Errors
    ///
    /// [`Absent`] if PostgreSQL is not installed, or does not start with them.
    pub fn with(settings: &[&str]) -> Result<Self, Absent> {
        let dir = data().copy(NAME)?;
        Self::in_directory(dir, settings.iter().map(|setting| (*setting).to_owned()).collect())
    }

    fn in_directory(dir: TempDir, settings: Vec<String>) -> Result<Self, Absent> {
        // Between looking for a port and binding it another may take it.
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            match start(dir.path(), port, &settings) {
                Ok(process) => return Ok(Self { process, port, dir, settings }),
                Err(absent) => last = Some(absent),
            }
        }
        Err(last.unwrap_or_else(|| Absent::new("postgres did not start")))
    }

    /// Its URL, with the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of its database `postgres` by its Unix socket.
    #[must_use]
    pub fn socket_url(&self) -> String {
        let dir = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{dir}:{}/postgres", self.port)
    }

    /// Its port, which is in the name of its Unix socket too.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as `psql` does, each statement in a transaction of its own, and returns what it prints:
    /// a line for each row, with `|` between columns.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn sql(&self, text: &str) -> io::Result<String> {
        let mut command = Command::new("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.url()]);
        client::run(&mut command, text)
    }

    /// Makes a database with nothing in it, and returns its URL.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn database(&self, name: &str) -> io::Result<String> {
        self.sql(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url_of(name))
    }

    /// Starts a replica that follows it, and that cannot be written to.
    ///
    /// # Errors
    ///
    /// [`Absent`] if the replica does not start.
    pub fn replica(&self) -> Result<Self, Absent> {
        let dir = template::directory(NAME)?;
        let port = self.port.to_string();
        let mut command = unprivileged::command(program("pg_basebackup"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port, "-c", "fast", "-R", "-N", "-D"]);
        client::run(command.arg(dir.path().join(DATA)), "")
            .map_err(|error| Absent::new(format!("pg_basebackup: {error}")))?;
        Self::in_directory(dir, Vec::new())
    }

    /// Ends all its processes as `kill -9` does.
    pub fn kill(&mut self) {
        let others = self.others();
        self.process.kill();
        for process in others {
            // It may have seen by itself that the first is gone.
            let _ = kill(process, Signal::SIGKILL);
        }
    }

    /// Ends it as `pg_ctl stop -m immediate` does: at once, without writing what it has in memory.
    ///
    /// # Errors
    ///
    /// Those of kill(2), or that it takes too long.
    pub fn quit(&mut self) -> io::Result<()> {
        self.end(Signal::SIGQUIT)
    }

    /// Ends it as `pg_ctl stop -m fast` does: connections are cut, what is committed is written.
    ///
    /// # Errors
    ///
    /// Those of kill(2), or that it takes too long.
    pub fn shut_down(&mut self) -> io::Result<()> {
        self.end(Signal::SIGINT)
    }

    fn end(&mut self, signal: Signal) -> io::Result<()> {
        kill(self.pid(), signal)?;
        match self.process.end_within(Duration::from_secs(20))? {
            Some(_) => Ok(()),
            None => Err(io::Error::other("postgres does not end")),
        }
    }

    /// Starts it again on the same port with what it had written, after it was ended.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn start(&mut self) -> Result<(), Absent> {
        // Its last processes may still hold on to its memory, which makes the new one refuse.
        let mut last = None;
        for _ in 0..40 {
            match start(self.dir.path(), self.port, &self.settings) {
                Ok(process) => {
                    self.process = process;
                    return Ok(());
                }
                Err(absent) => last = Some(absent),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(last.unwrap_or_else(|| Absent::new("postgres did not start")))
    }

    /// Kills it, and starts it again on the same port with what it had written.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn restart(&mut self) -> Result<(), Absent> {
        self.kill();
        self.start()
    }

    /// Kills it, and starts it again on the same port with nothing of what it had.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn restart_empty(&mut self) -> Result<(), Absent> {
        self.kill();
        fs::remove_dir_all(self.dir.path().join(DATA))
            .map_err(|error| Absent::new(format!("the directory of postgres: {error}")))?;
        data().copy_to(self.dir.path(), NAME)?;
        self.start()
    }

    /// Stops all its processes: they keep their connections and answer nothing.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    pub fn stop(&self) -> io::Result<()> {
        // The first one first, so that no more come.
        self.process.stop()?;
        let others = self.others();
        others.iter().try_for_each(|process| kill(*process, Signal::SIGSTOP))?;
        // Until they have, they may still answer.
        while !others.iter().all(|process| stands_still(*process)) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets all its processes go on.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    pub fn go_on(&self) -> io::Result<()> {
        self.others().into_iter().try_for_each(|process| kill(process, Signal::SIGCONT))?;
        self.process.go_on()
    }

    /// Its processes but the first.
    fn others(&self) -> Vec<Pid> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|id| id.parse().ok().map(Pid::from_raw)).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// As what a suite wants.
    #[must_use]
    pub fn into_server(self) -> Server {
        Server::new(self.url(), self)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn data() -> Template {
    let arguments = &["-N", "-A", "trust", "-U", "postgres", "--locale=C", "-E", "UTF8", "--wal-segsize=1"];
    Template { program: program("initdb"), package: PACKAGE, arguments, directory: "--pgdata" }
}

/// Debian keeps these programs out of `PATH`, in a directory for each version.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    versions.reverse();
    template::find(name, versions)
}

fn start(dir: &Path, port: u16, settings: &[String]) -> Result<Process, Absent> {
    let mut command = unprivileged::command(program("postgres"));
    command.arg("-D").arg(dir.join(DATA)).args(["-p", &port.to_string()]);
    command.arg("-c").arg(format!("unix_socket_directories={}", dir.display()));
    let ours = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200", "shared_buffers=32MB"];
    for setting in ours.into_iter().chain(settings.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    let mut process = Process::start(&mut command, PACKAGE)?;
    process.until("postgres", || answers(port).unwrap_or(false))?;
    Ok(process)
}

/// Whether a process has stopped, or ended.
fn stands_still(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name, which is in brackets.
    status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z']))
}

/// Whether it takes connections: before, it answers that it is starting up.
pub(crate) fn answers(port: u16) -> io::Result<bool> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // The length, protocol 3.0, and the user.
    stream.write_all(b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0")?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    // "Authentication", and not "Error".
    Ok(kind == *b"R")
}
