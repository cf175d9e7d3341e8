//! redis-server as a master, its replica, and the sentinels that watch over them.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tenure_conformance::{Absent, Server};

use crate::process::{Process, free_port};
use crate::redis::{self, Redis};

/// A master, a replica of it, and three sentinels, two of which agree on a fail-over.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    servers: Vec<Redis>,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: u16,
    _dir: TempDir,
}

/// Starts them.
///
/// # Errors
///
/// [`Absent`] if there is no `redis-server`, or they do not find each other.
pub fn sentinels() -> Result<Sentinels, Absent> {
    Sentinels::with(&[])
}

/// The name under which the sentinels know the master.
const NAME: &str = "mymaster";

const PATIENCE: Duration = Duration::from_secs(40);

impl Sentinels {
    /// Starts them, with more options of the servers as on their command lines.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no `redis-server`, or they do not find each other.
    pub fn with(options: &[&str]) -> Result<Self, Absent> {
        let all = [&["--repl-diskless-sync-delay", "0"], options].concat();
        let master = Redis::with(&all)?;
        let port = master.port().to_string();
        let replica = Redis::with(&[&all[..], &["--replicaof", &format!("127.0.0.1 {port}")]].concat())?;
        let mut these = Self { sentinels: Vec::new(), servers: vec![master, replica] };
        these.until("the replica is in step", |these| {
            these.servers[1]
                .command("INFO replication")
                .is_ok_and(|info| info.contains("master_link_status:up"))
        })?;
        for _ in 0..3 {
            these.sentinels.push(Sentinel::start(these.servers[0].port())?);
        }
        these.until("the sentinels know each other and the replica", |these| {
            these.sentinels.iter().all(|sentinel| {
                let master = format!("SENTINEL MASTER {NAME}");
                let answer = redis::ask(sentinel.port, &master).unwrap_or_default();
                says(&answer, "num-other-sentinels", "2") && says(&answer, "num-slaves", "1")
            })
        })?;
        Ok(these)
    }

    /// Its URL, which names all sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("redis+sentinel://{}/{NAME}", hosts.join(","))
    }

    /// The master and its replica, as they were at the start.
    pub fn servers(&mut self) -> &mut [Redis] {
        &mut self.servers
    }

    /// The processes of the sentinels.
    pub fn sentinels(&mut self) -> impl Iterator<Item = &mut Process> {
        self.sentinels.iter_mut().map(|sentinel| &mut sentinel.process)
    }

    /// The port of the master that the sentinels name now.
    #[must_use]
    pub fn master(&self) -> Option<u16> {
        let question = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}");
        let answer = self.sentinels.iter().find_map(|sentinel| redis::ask(sentinel.port, &question).ok())?;
        answer.lines().filter_map(|line| line.trim().parse().ok()).next_back()
    }

    /// Asks the sentinels for a fail-over although the master lives.
    ///
    /// # Errors
    ///
    /// [`Absent`] if they do not take it up.
    pub fn fail_over(&self) -> Result<(), Absent> {
        let question = format!("SENTINEL FAILOVER {NAME}");
        self.until("the sentinels take up a fail-over", |these| {
            redis::ask(these.sentinels[0].port, &question).is_ok_and(|answer| answer.starts_with("+OK"))
        })
    }

    /// Sends a command to one of the sentinels, and returns what came back first.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn ask(&self, place: usize, command: &str) -> std::io::Result<String> {
        redis::ask(self.sentinels[place].port, command)
    }

    /// Sends a command to each of the sentinels.
    ///
    /// # Errors
    ///
    /// [`Absent`] if one does not answer that it is done.
    pub fn each(&self, command: &str) -> Result<(), Absent> {
        self.until(command, |these| {
            these.sentinels.iter().all(|sentinel| {
                redis::ask(sentinel.port, command).is_ok_and(|answer| answer.starts_with("+OK"))
            })
        })
    }

    fn until(&self, what: &str, is: impl Fn(&Self) -> bool) -> Result<(), Absent> {
        let began = Instant::now();
        while !is(self) {
            if began.elapsed() > PATIENCE {
                return Err(Absent::new(format!("it takes too long until {what}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// As what a suite wants.
    #[must_use]
    pub fn into_server(self) -> Server {
        Server::new(self.url(), self)
    }
}

impl Sentinel {
    fn start(master: u16) -> Result<Self, Absent> {
        let dir = tempfile::Builder::new().prefix("tenure-sentinel-").tempdir();
        let dir = dir.map_err(|error| Absent::new(format!("no directory for a sentinel: {error}")))?;
        let port = free_port()?;
        let file = dir.path().join("sentinel.conf");
        // A sentinel writes what it learns into its file.
        let lines = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 3000\n"
        );
        fs::write(&file, lines).map_err(|error| Absent::new(format!("no file for a sentinel: {error}")))?;
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").current_dir(dir.path());
        let mut process = Process::start(&mut command, "redis-server")?;
        process.until("a sentinel", || {
            redis::ask(port, "PING").is_ok_and(|answer| answer.starts_with("+PONG"))
        })?;
        Ok(Self { process, port, _dir: dir })
    }
}

/// Whether a list of names and values has this value under this name.
fn says(answer: &str, name: &str, value: &str) -> bool {
    let mut words = answer.lines().filter(|line| !line.starts_with(['$', '*', '+', '-', ':']));
    words.any(|line| line.trim() == name) && words.next().is_some_and(|line| line.trim() == value)
}
