//! pgbouncer.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tenure_conformance::Absent;

use crate::postgres::{self, Postgres};
use crate::process::{Process, free_port};
use crate::{template, unprivileged};

/// A pooler before a PostgreSQL server, which lends a connection for the length of a transaction.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: u16,
    _dir: TempDir,
}

const PACKAGE: &str = "pgbouncer";

impl PgBouncer {
    /// Starts one before a server, with so many connections to it for each database.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no `pgbouncer`.
    pub fn before(server: &Postgres, connections: u16) -> Result<Self, Absent> {
        let dir = template::directory(PACKAGE)?;
        let file = dir.path().join("pgbouncer.ini");
        // Between looking for a port and binding it another may take it.
        let mut last = None;
        for _ in 0..5 {
            let port = free_port()?;
            let lines = format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
                 pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 500\n\
                 ignore_startup_parameters = extra_float_digits,options\n",
                server.port()
            );
            fs::write(&file, lines)
                .and_then(|()| unprivileged::give(&file))
                .map_err(|error| Absent::new(format!("no file for pgbouncer: {error}")))?;
            let program = template::find("pgbouncer", ["/usr/sbin"].map(PathBuf::from));
            let mut process = Process::start(unprivileged::command(program).arg("-q").arg(&file), PACKAGE)?;
            let answers = || postgres::answers(port).unwrap_or(false);
            match process.until("pgbouncer", answers) {
                Ok(()) => return Ok(Self { process, port, _dir: dir }),
                Err(absent) => last = Some(absent),
            }
        }
        Err(last.unwrap_or_else(|| Absent::new("pgbouncer did not start")))
    }

    /// Its URL, with the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of one of the server's databases.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The process, to stop it and let it go on.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
