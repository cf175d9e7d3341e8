//! Stores whose fences are on disk before they are granted.

use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Breaking, Claim, DurableFence, Error, Granted, Holder, Inspect,
    Name, Release, Renewal, Restore, Result, Site, Watch,
};

use crate::backend::Db;
use crate::dialect::Kind;
use crate::statement::{Statement, Text, Values};

/// A [`Db`] of which the database said that it writes a grant to disk before it answers; made by
/// [`Db::durable`]. It is the same store: locks, waiters and connections are shared with the [`Db`].
///
/// What compares fences at a resource, such as a [`Gate`](crate::Gate), asks for it.
#[derive(Clone, Debug)]
pub struct Durable(Db);

impl Db {
    /// The store as one whose fences no crash can make go back, if the database says that it is one.
    ///
    /// That is asked once, now. PostgreSQL must have `fsync` and `full_page_writes` on, `synchronous_commit`
    /// other than off, and the table must be logged; MySQL and MariaDB must have
    /// `innodb_flush_log_at_trx_commit = 1`, and `sync_binlog = 1` where there is a binary log; SQLite must
    /// write with `synchronous = FULL`, which it does for files that are not in WAL mode.
    ///
    /// A fail-over to a replica that was behind, or a backup that is played back, is no crash: there, fences
    /// go on growing as long as the clock does.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if a crash could lose a grant; the message says what to change. `Unavailable` if the
    /// database does not answer.
    pub fn durable(&self) -> Result<Durable> {
        let inner = self.inner();
        let (question, remedy) = question(inner.dialect.kind, &inner.table.full());
        let text = Text::new(&question);
        let values = Values::default();
        let rows = inner.pool.ask(|link| link.ask(Statement::new(&text, &values).kept(false)))?.value;
        match rows.first() {
            Some(row) if row.code == 1 => Ok(Durable(self.clone())),
            _ => Err(Error::misconfigured(format!(
                "the database answers before a grant is on disk, so that a crash could make fences go back; {remedy}"
            ))
            .at(inner.site.label())),
        }
    }
}

/// What is asked, and what is to be done if the answer is not 1.
fn question(kind: Kind, table: &str) -> (String, &'static str) {
    let (is, from, remedy) = match kind {
        Kind::Sqlite => {
            ("synchronous >= 2".to_owned(), "FROM pragma_synchronous", "use a file that is not in WAL mode")
        }
        Kind::Postgres => (
            format!(
                "current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' \
                 AND current_setting('synchronous_commit') <> 'off' AND \
                 (SELECT relpersistence = 'p' FROM pg_class WHERE oid = '{table}'::regclass)"
            ),
            "",
            "set fsync, full_page_writes and synchronous_commit to on, and the table to LOGGED",
        ),
        // Only MariaDB has a method that does not write at all.
        Kind::MariaDb | Kind::MySql => (
            "@@innodb_flush_log_at_trx_commit = 1 AND (@@log_bin = 0 OR @@sync_binlog = 1) \
             AND lower(@@innodb_flush_method) <> 'nosync'"
                .to_owned(),
            "",
            "set innodb_flush_log_at_trx_commit and, with a binary log, sync_binlog to 1",
        ),
    };
    let big = match kind {
        Kind::Postgres => "::bigint",
        _ => "",
    };
    let zero = format!("0{big}");
    let sql = format!(
        "SELECT CASE WHEN {is} THEN 1 ELSE 0 END{big} AS code, {zero} AS fence, {zero} AS remaining, \
         {zero} AS awaited {from}"
    );
    (sql, remedy)
}

impl DurableFence for Durable {}

impl Backend for Durable {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        self.0.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        self.0.try_acquire(claim)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        self.0.renew(due)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        self.0.release(end)
    }

    fn abandon(&self, claim: &Claim) {
        self.0.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.0.watch(claim)
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        self.0.is_awaited(claim)
    }

    fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        self.0.renew_many(due)
    }

    fn diagnose(&self) -> Vec<Advice> {
        self.0.diagnose()
    }
}

impl Restore for Durable {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        self.0.restore(claim)
    }
}

impl Inspect for Durable {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        self.0.inspect(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        self.0.list(prefix)
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        self.0.force_release(name, breaking, reason)
    }
}

impl From<Durable> for AnyBackend {
    fn from(store: Durable) -> Self {
        store.0.into()
    }
}
