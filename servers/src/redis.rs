//! redis-server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tenure_conformance::{Absent, Server};

use crate::process::{Process, free_port};

/// A Redis server of the test's own, without persistence unless it asks for it.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    dir: TempDir,
    options: Vec<String>,
}

/// Starts one.
///
/// # Errors
///
/// [`Absent`] if there is no `redis-server`.
pub fn redis() -> Result<Redis, Absent> {
    Redis::with(&[])
}

impl Redis {
    /// Starts one with more options, as on its command line.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no `redis-server`, or it does not start with them.
    pub fn with(options: &[&str]) -> Result<Self, Absent> {
        let dir = tempfile::Builder::new().prefix("tenure-redis-").tempdir();
        let dir = dir.map_err(|error| Absent::new(format!("no directory for redis-server: {error}")))?;
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Between looking for a port and binding it another may take it.
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            match start(&dir, port, &options) {
                Ok(process) => return Ok(Self { process, port, dir, options }),
                Err(absent) => last = Some(absent),
            }
        }
        Err(last.unwrap_or_else(|| Absent::new("redis-server did not start")))
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, to stop it and let it go on.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it, and starts it again on the same port with what it had saved.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn restart(&mut self) -> Result<(), Absent> {
        self.process.kill();
        self.process = start(&self.dir, self.port, &self.options)?;
        Ok(())
    }

    /// Kills it, and starts it again on the same port with nothing of what it had.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn restart_empty(&mut self) -> Result<(), Absent> {
        self.process.kill();
        let emptied =
            std::fs::remove_dir_all(self.dir.path()).and_then(|()| std::fs::create_dir(self.dir.path()));
        emptied.map_err(|error| Absent::new(format!("the directory of redis-server: {error}")))?;
        self.restart()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends one inline command, and returns what came back first.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn command(&self, line: &str) -> std::io::Result<String> {
        ask(self.port, line)
    }

    /// As what a suite wants.
    #[must_use]
    pub fn into_server(self) -> Server {
        Server::new(self.url(), self)
    }
}

fn start(dir: &TempDir, port: u16, options: &[String]) -> Result<Process, Absent> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(dir.path());
    if !options.iter().any(|option| option == "--save") {
        command.args(["--save", ""]);
    }
    command.args(options);
    let mut process = Process::start(&mut command, "redis-server")?;
    process.until("redis-server", || {
        ask(port, "PING").is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
    })?;
    Ok(process)
}

pub(crate) fn ask(port: u16, line: &str) -> std::io::Result<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = [0; 4096];
    let len = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
}
