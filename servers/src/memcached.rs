//! memcached.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tenure_conformance::{Absent, Server};

use crate::process::{Process, free_port};

/// A memcached of the test's own.
#[derive(Debug)]
pub struct Memcached {
    process: Process,
    port: u16,
    options: Vec<String>,
}

/// Starts one.
///
/// # Errors
///
/// [`Absent`] if there is no `memcached`.
pub fn memcached() -> Result<Memcached, Absent> {
    Memcached::with(&[])
}

impl Memcached {
    /// Starts one with more options, as on its command line.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no `memcached`, or it does not start with them.
    pub fn with(options: &[&str]) -> Result<Self, Absent> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Between looking for a port and binding it another may take it.
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            match start(port, &options) {
                Ok(process) => return Ok(Self { process, port, options }),
                Err(absent) => last = Some(absent),
            }
        }
        Err(last.unwrap_or_else(|| Absent::new("memcached did not start")))
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("memcache://127.0.0.1:{}", self.port)
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

    /// Kills it, and starts it again on the same port, where it knows nothing of what it had.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not come back.
    pub fn restart(&mut self) -> Result<(), Absent> {
        self.process.kill();
        self.process = start(self.port, &self.options)?;
        Ok(())
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends commands, each of which is answered by one line or by lines up to `END`, and returns what
    /// came back.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn command(&self, lines: &str) -> std::io::Result<String> {
        ask(self.port, lines)
    }

    /// As what a suite wants.
    #[must_use]
    pub fn into_server(self) -> Server {
        Server::new(self.url(), self)
    }
}

fn start(port: u16, options: &[String]) -> Result<Process, Absent> {
    let mut command = Command::new("memcached");
    // It refuses to run as root; as anybody else it takes no notice of the user.
    command.args(["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p", &port.to_string()]);
    command.args(options);
    let mut process = Process::start(&mut command, "memcached")?;
    process.until("memcached", || ask(port, "version").is_ok_and(|answer| answer.starts_with("VERSION")))?;
    Ok(process)
}

/// What a server answers to commands, up to the answer to a last one of our own.
fn ask(port: u16, lines: &str) -> std::io::Result<String> {
    const END: &str = "MN\r\n";
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("{lines}\r\nmn\r\n").as_bytes())?;
    let (mut answer, mut chunk) = (String::new(), [0; 4096]);
    while !answer.ends_with(END) {
        match stream.read(&mut chunk)? {
            0 => break,
            len => answer.push_str(&String::from_utf8_lossy(&chunk[..len])),
        }
    }
    Ok(answer.trim_end_matches(END).to_owned())
}
