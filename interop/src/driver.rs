//! Talking to a driver.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use tenure_servers::{Outcome, Stop};

use crate::Client;

/// A running driver; ends when it is dropped.
#[derive(Debug)]
pub struct Driver {
    client: &'static Client,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts one, for locks on a server.
    ///
    /// # Errors
    ///
    /// If it is absent, or cannot be started.
    pub fn start(client: &'static Client, url: &str) -> Outcome<Self> {
        let mut command = client.command(url)?;
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let gone = || Stop::Failed("a driver without its pipes".into());
        let input = process.stdin.take().ok_or_else(gone)?;
        let output = BufReader::new(process.stdout.take().ok_or_else(gone)?);
        Ok(Self { client, process, input, output })
    }

    /// Whose driver it is.
    #[must_use]
    pub fn client(&self) -> &'static Client {
        self.client
    }

    /// Has it try to take a lock for a minute, and tells whether it got it.
    ///
    /// # Errors
    ///
    /// If it says something else.
    pub fn acquires(&mut self, lock: &str) -> Outcome<bool> {
        self.yes_or_no(&format!("acquire {lock}"))
    }

    /// Has it try to take a lock for so many seconds, and tells whether it got it.
    ///
    /// # Errors
    ///
    /// If it says something else.
    pub fn acquires_for(&mut self, lock: &str, seconds: f64) -> Outcome<bool> {
        self.yes_or_no(&format!("acquire {lock} {seconds}"))
    }

    /// Has it try to take a lock that is shared here, and tells whether it gets it.
    ///
    /// # Errors
    ///
    /// If it is denied otherwise than is known of it.
    pub fn acquires_shared(&mut self, lock: &str) -> Outcome<bool> {
        let line = format!("acquire {lock}");
        match self.ask(&line)?.as_str() {
            "yes" => Ok(true),
            "no" if !self.client.fails_on_shares => Ok(false),
            error if self.client.fails_on_shares && error.starts_with("error") => Ok(false),
            other => Err(Stop::Failed(format!("{line}: {other}").into())),
        }
    }

    /// Has it wait for a lock for up to ten seconds, and tells whether it got it.
    ///
    /// # Errors
    ///
    /// If it says something else.
    pub fn waits(&mut self, lock: &str) -> Outcome<bool> {
        self.yes_or_no(&format!("wait {lock}"))
    }

    /// Has it release a lock, or what it believes to be one: `yes`, `no`, or `done` where it does not say.
    ///
    /// # Errors
    ///
    /// If the driver is gone.
    pub fn release(&mut self, lock: &str) -> Outcome<String> {
        self.ask(&format!("release {lock}"))
    }

    /// Has it release a lock as far as it reads and compares before it deletes; [`goes_on`](Self::goes_on)
    /// must follow. Those on Django's memcached caches alone.
    ///
    /// # Errors
    ///
    /// If it does not stop there.
    pub fn begins_to_release(&mut self, lock: &str) -> Outcome {
        match self.ask(&format!("hesitate {lock}"))?.as_str() {
            "read" => Ok(()),
            other => {
                Err(Stop::Failed(format!("a release of {lock} that was to stop half-way: {other}").into()))
            }
        }
    }

    /// Has it end the release that it began: as [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// If the driver is gone.
    pub fn goes_on(&mut self) -> Outcome<String> {
        self.ask("")
    }

    /// What it reads as the value of a lock, or `none`. Those on Django's memcached caches alone.
    ///
    /// # Errors
    ///
    /// If the driver is gone.
    pub fn value(&mut self, lock: &str) -> Outcome<String> {
        self.ask(&format!("value {lock}"))
    }

    /// Has it extend a lock: `yes`, `no`, or `none` if it cannot.
    ///
    /// # Errors
    ///
    /// If the driver is gone.
    pub fn extend(&mut self, lock: &str) -> Outcome<String> {
        self.ask(&format!("extend {lock}"))
    }

    /// Asks whether it is the holder of a lock that it took: `yes`, `no`, or `none` if it does not know.
    ///
    /// # Errors
    ///
    /// If the driver is gone.
    pub fn owns(&mut self, lock: &str) -> Outcome<String> {
        self.ask(&format!("owned {lock}"))
    }

    fn yes_or_no(&mut self, line: &str) -> Outcome<bool> {
        match self.ask(line)?.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(Stop::Failed(format!("{line}: {other}").into())),
        }
    }

    fn ask(&mut self, line: &str) -> Outcome<String> {
        writeln!(self.input, "{line}")?;
        self.input.flush()?;
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{line}: no answer")).into());
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
