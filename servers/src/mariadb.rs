//! MariaDB.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tenure_conformance::{Absent, Server};

use crate::client;
use crate::process::{Process, free_port};
use crate::template::{self, DATA, Template};
use crate::unprivileged;

/// A MariaDB server of the test's own, where `root` needs no password.
///
/// It does not call fsync(2) unless it is told to: what it has committed survives the end of its process,
/// and not that of the machine.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    port: u16,
    dir: TempDir,
    options: Vec<String>,
}

/// Starts one.
///
/// # Errors
///
/// [`Absent`] if MariaDB is not installed.
pub fn mariadb() -> Result<MariaDb, Absent> {
    MariaDb::with(&[])
}

const NAME: &str = "mariadb";

const PACKAGE: &str = "mariadb-server";

impl MariaDb {
    /// Starts one with more options, as on its command line.
    ///
    /// # Errors
    ///
    /// [`Absent`] if MariaDB is not installed, or does not start with them.
    pub fn with(options: &[&str]) -> Result<Self, Absent> {
        let dir = data().copy(NAME)?;
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Between looking for a port and binding it another may take it.
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            match start(dir.path(), port, &options) {
                Ok(process) => return Ok(Self { process, port, dir, options }),
                Err(absent) => last = Some(absent),
            }
        }
        Err(last.unwrap_or_else(|| Absent::new("mariadbd did not start")))
    }

    /// Its URL, with the database `test`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("test")
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// The process, to stop it and let it go on.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Runs SQL as `mariadb` does in the database `test`, and returns what it prints: a line for each row,
    /// with tabs between columns.
    ///
    /// # Errors
    ///
    /// What `mariadb` says.
    pub fn sql(&self, text: &str) -> io::Result<String> {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-NB", "-u", "root", "-D", "test", "-S"]).arg(self.socket());
        client::run(&mut command, text)
    }

    /// Makes a database with nothing in it, and returns its URL.
    ///
    /// # Errors
    ///
    /// What `mariadb` says.
    pub fn database(&self, name: &str) -> io::Result<String> {
        self.sql(&format!("CREATE DATABASE `{name}`"))?;
        Ok(self.url_of(name))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it in good order.
    ///
    /// # Errors
    ///
    /// Those of kill(2), or that it takes too long.
    pub fn shut_down(&mut self) -> io::Result<()> {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM)?;
        match self.process.end_within(Duration::from_secs(20))? {
            Some(_) => Ok(()),
            None => Err(io::Error::other("mariadbd does not end")),
        }
    }

    /// Starts it again on the same port with what it had written, after it was ended.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn start(&mut self) -> Result<(), Absent> {
        self.process = start(self.dir.path(), self.port, &self.options)?;
        Ok(())
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
            .map_err(|error| Absent::new(format!("the directory of mariadbd: {error}")))?;
        data().copy_to(self.dir.path(), NAME)?;
        self.start()
    }

    /// As what a suite wants.
    #[must_use]
    pub fn into_server(self) -> Server {
        Server::new(self.url(), self)
    }
}

const SOCKET: &str = "mariadb.sock";

fn data() -> Template {
    let arguments = &[
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--innodb-flush-method=nosync",
        "--innodb-log-file-size=4M",
    ];
    Template { program: program("mariadb-install-db"), package: PACKAGE, arguments, directory: "--datadir" }
}

/// Debian keeps the server out of the `PATH` of those who are not root.
fn program(name: &str) -> PathBuf {
    template::find(name, ["/usr/sbin", "/usr/bin"].map(PathBuf::from))
}

fn start(dir: &Path, port: u16, options: &[String]) -> Result<Process, Absent> {
    let mut command = unprivileged::command(program("mariadbd"));
    // What the machine's own server reads is none of ours; this comes first or not at all.
    command.arg("--no-defaults");
    for (option, file) in [("datadir", DATA), ("socket", SOCKET), ("pid-file", "mariadb.pid")] {
        command.arg(format!("--{option}={}", dir.join(file).display()));
    }
    command.args(["--port", &port.to_string(), "--bind-address=127.0.0.1", "--skip-name-resolve"]);
    command.args([
        "--innodb-flush-method=nosync",
        "--innodb-log-file-size=4M",
        "--innodb-buffer-pool-size=16M",
    ]);
    command.args(["--innodb-use-native-aio=0", "--skip-log-bin", "--max-connections=300"]);
    command.args(options);
    let mut process = Process::start(&mut command, PACKAGE)?;
    process.until("mariadbd", || answers(port).unwrap_or(false))?;
    Ok(process)
}

/// Whether it greets: it listens no earlier than it is ready.
fn answers(port: u16) -> io::Result<bool> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting)?;
    // After the length and the number of the packet comes the version of the protocol.
    Ok(greeting[4] == 10)
}
