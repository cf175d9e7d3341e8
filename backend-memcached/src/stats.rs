//! What a server tells of itself, in words.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use tenure_core::{Error, Result};

use crate::config::Limits;

/// What `stats` or `stats settings` says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats(HashMap<Box<str>, Box<str>>);

impl Stats {
    pub(crate) fn read(text: &str) -> Self {
        let pair = |line: &str| {
            let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            Some((name.into(), value.trim().into()))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    /// Both of what is known, of one server.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn says(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.says(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The server's clock, in seconds since 1970 as it was when the server was started.
    pub(crate) fn time(&self) -> u64 {
        self.number("time")
    }

    /// What that clock showed at the server's start: it begins with 2.
    pub(crate) fn started(&self) -> u64 {
        (self.time() + 2).saturating_sub(self.number("uptime"))
    }

    /// Whether it may have dropped what it was to keep, since it was started.
    pub(crate) fn has_forgotten(&self) -> bool {
        ["cmd_flush", "evictions", "slab_reassign_evictions_nomem", "slab_reassign_busy_deletes"]
            .iter()
            .any(|count| self.number(count) > 0)
    }
}

/// Asks a server in words, on a connection for that alone, and returns all lines up to the end of its answer.
pub(crate) fn ask(address: &str, command: &str, limits: Limits) -> Result<String> {
    answer(address, command, limits).map_err(|source| {
        Error::unavailable("no connection to the server; see whether it runs, and whether the URL names it")
            .with_source(source)
            .settled()
    })
}

/// Asks for `stats` or one of its kinds.
pub(crate) fn stats(address: &str, kind: &str, limits: Limits) -> Result<Stats> {
    Ok(Stats::read(&ask(address, format!("stats {kind}").trim_end(), limits)?))
}

fn answer(address: &str, command: &str, limits: Limits) -> io::Result<String> {
    let stream = connect(address, limits)?;
    (&stream).write_all(format!("{command}\r\n").as_bytes())?;
    let began = Instant::now();
    let (mut lines, mut text) = (BufReader::new(stream), String::new());
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line);
        text.push_str(&line);
        let first = line.split([' ', '\r']).next().unwrap_or_default();
        if !matches!(first, "STAT") && !line.starts_with("key=") {
            return Ok(text);
        }
        if began.elapsed() > limits.io * 10 {
            return Err(ErrorKind::TimedOut.into());
        }
    }
}

/// A connection within the limits, which hold for what is done on it as well.
pub(crate) fn connect(address: &str, limits: Limits) -> io::Result<TcpStream> {
    let began = Instant::now();
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let left = limits.connect.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(limits.io))?;
                stream.set_write_timeout(Some(limits.io))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
