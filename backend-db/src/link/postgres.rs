//! Connections to a PostgreSQL server, or to a pooler before one.

use std::time::Duration;

use diesel::result::QueryResult;
use diesel::{Connection, ConnectionError, PgConnection, QueryableByName, RunQueryDsl, sql_query};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tenure_core::{Error, Result};

use super::Link;
use crate::answer::{Answer, Seen, Word};
use crate::batch::Batch;
use crate::failure;
use crate::pool::Open;
use crate::statement::Statement;

/// Opens connections to a server.
pub(crate) struct Postgres {
    url: String,
    connect_timeout: Duration,
    io_timeout: Duration,
}

/// How long a statement may take, and how it is carried out, whatever the server's defaults are.
fn settings(limit: Duration) -> [(&'static str, String); 3] {
    let millis = limit.as_millis();
    [
        ("statement_timeout", millis.to_string()),
        ("lock_timeout", (millis / 2).max(1).to_string()),
        ("default_transaction_isolation", "read committed".into()),
    ]
}

/// What a connection is opened with: how it carries out statements, and by what it knows itself.
pub(crate) fn session_options(limit: Duration, session: &str) -> String {
    let given = settings(limit).map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ ")));
    format!("{} -c tenure.session={session}", given.join(" "))
}

#[derive(QueryableByName)]
pub(crate) struct Setting {
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    pub(crate) session: Option<String>,
}

impl Postgres {
    pub(crate) fn new(url: &str, connect_timeout: Duration, io_timeout: Duration) -> Self {
        Self { url: url.into(), connect_timeout, io_timeout }
    }
}

impl Open for Postgres {
    fn open(&self) -> Result<Box<dyn Link + Send>> {
        let session = format!("{:032x}", rand::random::<u128>());
        let options = session_options(self.io_timeout, &session);
        let opened = PgConnection::establish(&url_with(&self.url, Some(&options), self.connect_timeout));
        let mut link = match opened {
            // What a pooler says that shares its connections to the server among its clients.
            Err(ConnectionError::BadConnection(said)) if said.contains("unsupported startup parameter") => {
                let plain = PgConnection::establish(&url_with(&self.url, None, self.connect_timeout));
                return Ok(Box::new(Shared::new(plain.map_err(refused)?, self.io_timeout)));
            }
            opened => opened.map_err(refused)?,
        };
        let asked = sql_query("SELECT current_setting('tenure.session', true) AS session")
            .get_result::<Setting>(&mut link);
        let found = asked.map_err(|error| failure::error(&error))?.session;
        // Who sees what another connection was opened with is not alone on it.
        Ok(if found.is_some_and(|found| found == session) {
            Box::new(link)
        } else {
            Box::new(Shared::new(link, self.io_timeout))
        })
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// A connection behind which a pooler changes servers after each transaction. What a session would
/// remember is said in each transaction.
struct Shared {
    link: PgConnection,
    begin: String,
    /// Whether it is inside of a transaction of several statements.
    inside: bool,
}

impl Shared {
    fn new(link: PgConnection, limit: Duration) -> Self {
        let local = |(name, value): (&str, String)| match name {
            "default_transaction_isolation" => String::new(),
            _ => format!("; SET LOCAL {name} = {value}"),
        };
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED{}", settings(limit).map(local).concat());
        Self { link, begin, inside: false }
    }

    fn alone<T>(&mut self, act: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> QueryResult<T> {
        if self.inside {
            return act(&mut self.link);
        }
        self.link.run(&self.begin)?;
        let done = act(&mut self.link).and_then(|value| self.link.run("COMMIT").map(|()| value));
        if done.is_err() {
            let _ = self.link.run("ROLLBACK");
        }
        done
    }
}

impl Link for Shared {
    fn ask(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Answer>> {
        self.alone(|link| link.ask(statement.kept(false)))
    }

    fn look(&mut self, statement: Statement<'_>) -> QueryResult<Vec<Seen>> {
        self.alone(|link| link.look(statement.kept(false)))
    }

    fn act(&mut self, statement: Statement<'_>) -> QueryResult<usize> {
        self.alone(|link| link.act(statement.kept(false)))
    }

    fn renew(&mut self, batch: Batch<'_>) -> QueryResult<usize> {
        self.alone(|link| link.renew(batch))
    }

    fn words(&mut self, question: &str) -> QueryResult<Vec<Word>> {
        self.alone(|link| link.words(question))
    }

    fn run(&mut self, statements: &str) -> QueryResult<()> {
        self.alone(|link| link.run(statements))
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn begin(&mut self, _: &str) -> QueryResult<()> {
        self.link.run(&self.begin)?;
        self.inside = true;
        Ok(())
    }

    fn end(&mut self, good: bool) -> QueryResult<()> {
        self.inside = false;
        self.link.run(if good { "COMMIT" } else { "ROLLBACK" })
    }

    /// The server sees the pooler.
    fn port(&mut self) -> Option<u16> {
        None
    }
}

pub(crate) fn refused(error: ConnectionError) -> Error {
    let said = error.to_string();
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry"]) {
        return Error::misconfigured("the server knows no such user, password or database; see the URL")
            .with_source(said);
    }
    if says(&["invalid URI", "invalid connection option", "missing \"=\""]) {
        return Error::misconfigured(
            "libpq cannot read the URL; see the documentation of its connection URIs",
        );
    }
    let remedy = "no connection to the server; see whether it runs, and whether the URL names it";
    Error::unavailable(remedy).with_source(said).settled()
}

/// A URL with more options for the server than it has.
pub(crate) fn url_with(url: &str, options: Option<&str>, limit: Duration) -> String {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut all: Vec<String> = Vec::new();
    let mut given = std::env::var("PGOPTIONS").unwrap_or_default();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option.strip_prefix("options=") {
            Some(text) => given = percent_decode_str(text).decode_utf8_lossy().into_owned(),
            None => all.push(option.into()),
        }
    }
    if let Some(options) = options {
        let both = format!("{given} {options}");
        all.push(format!("options={}", utf8_percent_encode(both.trim(), NON_ALPHANUMERIC)));
    }
    if !all.iter().any(|option| option.starts_with("connect_timeout=")) {
        // In whole seconds, of which libpq takes no fewer than two.
        all.push(format!("connect_timeout={}", limit.as_secs().max(2)));
    }
    format!("{place}?{}", all.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_url_are_kept_beside_ours() {
        let limit = Duration::from_secs(1);
        assert_eq!(url_with("postgres://h/d", None, limit), "postgres://h/d?connect_timeout=2");
        assert_eq!(
            url_with("postgres://h/d?a=b&options=-c%20x%3D1&connect_timeout=9", Some("-c y=2"), limit),
            "postgres://h/d?a=b&connect_timeout=9&options=%2Dc%20x%3D1%20%2Dc%20y%3D2"
        );
    }
}
