//! What is said to each kind of database.

mod mariadb;
mod mysql;
mod postgres;
mod shares;
mod sqlite;

use self::shares::Shares;
use crate::batch::Renewing;
use crate::course::{Course, Step};
use crate::statement::Text;
use crate::table::Table;
use tenure_core::Mode;

/// A kind of database, as far as statements differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    /// With `INSERT .. RETURNING`, which MySQL has not.
    MariaDb,
    MySql,
}

/// What is said to a database about a lock.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(crate) kind: Kind,
    /// Takes a lock, or takes up again what the token holds.
    pub(crate) acquire: Course,
    /// The same while locks may be closed because the database was started anew.
    pub(crate) guarded: Course,
    /// Takes up again what the token holds, and nothing else.
    pub(crate) restore: Course,
    pub(crate) renew: Course,
    /// Whether the token holds it still.
    pub(crate) verify: Course,
    pub(crate) release: Course,
    /// Whether a short form is of this long key.
    pub(crate) known: Course,
    /// Says that somebody waits.
    pub(crate) mark: Course,
    /// Whether somebody waits.
    pub(crate) awaited: Course,
    /// Takes a lock away from whom it was seen with.
    pub(crate) force: Course,
    /// Tells who waits that a lock may be free, where that is not part of the release.
    pub(crate) wake: Option<Text>,
    /// Sees a lock.
    pub(crate) look: Text,
    /// Sees the locks in a range of keys, and those with long keys.
    pub(crate) list: Text,
    /// Renews many locks.
    pub(crate) renewing: Renewing,
    /// Raises the last fence of names that are forgotten above those of rows long unused.
    pub(crate) raise: Text,
    /// Forgets rows long unused, whose fences are not above that.
    pub(crate) forget: Text,
    /// What is said to have a lock beside others.
    pub(crate) shares: Shares,
}

/// What is done with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Acquire,
    /// The same while locks may be closed because the database was started anew.
    Guarded,
    Restore,
    Renew,
    Verify,
    Release,
}

impl Dialect {
    /// What is said to do it, and what begins the transaction if that is to be said together.
    pub(crate) fn course(&self, mode: Mode, deed: Deed) -> (&Course, Option<&'static str>) {
        let (alone, shares) = match deed {
            Deed::Acquire => (&self.acquire, &self.shares.acquire),
            Deed::Guarded => (&self.guarded, &self.shares.guarded),
            Deed::Restore => (&self.restore, &self.shares.restore),
            Deed::Renew => (&self.renew, &self.shares.renew),
            Deed::Verify => (&self.verify, &self.shares.verify),
            Deed::Release => (&self.release, &self.shares.release),
        };
        match mode {
            Mode::Exclusive => (alone, None),
            _ => (shares, Some(self.shares.begin)),
        }
    }

    pub(crate) fn new(kind: Kind, table: &Table) -> Self {
        match kind {
            Kind::Sqlite => sqlite::dialect(table),
            Kind::Postgres => postgres::dialect(table),
            Kind::MariaDb => mariadb::dialect(table),
            Kind::MySql => mysql::dialect(table),
        }
    }

    /// The same as a client for tasks says it.
    #[cfg(feature = "async")]
    pub(crate) fn for_tasks(kind: Kind, table: &Table) -> Self {
        match kind {
            Kind::MariaDb => mariadb::returning(table),
            _ => Self::new(kind, table),
        }
    }

    /// Whether leases are judged by our own clock, which all who share the file have.
    pub(crate) fn has_our_clock(&self) -> bool {
        self.kind == Kind::Sqlite
    }
}

/// Writes texts about a table, as far as the kinds of databases agree.
struct Writer<'t> {
    table: &'t Table,
    /// What the moment now is, in microseconds.
    now: &'static str,
    /// What leases are compared under, beside the moment; begins with `AND` if there is anything.
    boot: &'static str,
    /// What makes a number one of 64 bits.
    big: &'static str,
    /// What takes the largest of several numbers.
    greatest: &'static str,
}

impl Writer<'_> {
    fn text(&self, sql: &str) -> Text {
        let sql = self.table.in_place(sql);
        let sql = sql.replace("{now}", self.now).replace("{boot}", self.boot);
        Text::new(&sql.replace("{big}", self.big).replace("{greatest}", self.greatest))
    }

    fn ask(&self, sql: &str) -> Step {
        Step::Ask(self.text(sql))
    }

    fn count(&self, sql: &str) -> Step {
        Step::Count(self.text(sql))
    }

    fn act(&self, sql: &str) -> Step {
        Step::Do(self.text(sql))
    }

    /// A row about the lock that is asked about.
    fn row(&self, code: &str, when: &str) -> Step {
        self.ask(&format!(
            "SELECT {code} AS code, fence, ends - {{now}} AS remaining, awaited - {{now}} AS awaited \
             FROM tenure_lock WHERE name = :name {when}"
        ))
    }

    /// For how long it is known that somebody waits for a lock that somebody has; where several have it, for how
    /// long that somebody wants it alone, which is what one who does has yet to say.
    fn wanted(&self) -> &'static str {
        "CASE WHEN state >= 2 THEN wanted ELSE awaited END - {now}"
    }

    /// A row about the lock that somebody wants alone.
    fn denied(&self, code: &str, when: &str) -> Step {
        self.ask(&format!("SELECT {} FROM tenure_lock WHERE name = :name {when}", self.denial(code)))
    }

    /// What such a row says.
    fn denial(&self, code: &str) -> String {
        format!("{code} AS code, fence, ends - {{now}} AS remaining, {} AS awaited", self.wanted())
    }

    /// Why a token holds nothing.
    fn cause(&self) -> Step {
        self.ask(
            "SELECT CASE WHEN loser = :token THEN -1 WHEN token = :token THEN -2 ELSE 0 END{big} AS code, fence, \
             1{big} AS remaining, awaited - {now} AS awaited FROM tenure_lock WHERE name = :name",
        )
    }

    fn verify(&self) -> Course {
        vec![self.row("1{big}", "AND token = :token AND ends > {now} {boot}"), self.cause()]
    }

    fn awaited(&self) -> Course {
        vec![self.row("1{big}", "")]
    }

    fn mark(&self) -> &'static str {
        "UPDATE tenure_lock SET awaited = {greatest}(awaited, {now} + :patience)"
    }

    fn known(&self, create: &str) -> Course {
        let known = || self.row("CASE WHEN whole = :whole THEN 1 ELSE -4 END{big}", "");
        vec![known(), self.act(create), known()]
    }

    /// Names that are merely kept taken have nobody who could acknowledge. The new token is nobody's.
    fn force(&self) -> Course {
        let opens = ":force = 1 OR (:victim = :token AND state <> 1)";
        let wall = self.wall();
        vec![self.count(&format!(
            "UPDATE tenure_lock SET loser = CASE WHEN :victim = :token THEN loser ELSE :victim END, token = :token, \
             ends = CASE WHEN {opens} THEN 0 ELSE ends END, \
             state = CASE WHEN {opens} THEN 0 ELSE 1 END, \
             reason = :reason, fence = {{greatest}}(fence + 1, {wall}) \
             WHERE name = :name AND token = :victim AND fence = :fence AND ends > {{now}} {{boot}}"
        ))]
    }

    fn look(&self) -> Text {
        self.seen("name = :name", "s.name = :name")
    }

    fn list(&self) -> Text {
        let range = |of: &str| format!("(l.whole IS NOT NULL OR ({of}.name >= :from AND {of}.name < :to))");
        self.seen(&range("l"), &range("s"))
    }

    /// The locks that somebody has alone, or that are merely kept taken, and the shares of others.
    fn seen(&self, alone: &str, shared: &str) -> Text {
        let lboot = if self.boot.is_empty() { "" } else { "AND l.boot = :boot" };
        let sboot = if self.boot.is_empty() { "" } else { "AND s.boot = :boot" };
        self.text(&format!(
            "SELECT l.name, l.whole, l.token, l.fence, l.ends - {{now}} AS remaining, l.granted, l.label, l.state, \
             l.reason FROM tenure_lock l WHERE {alone} AND l.ends > {{now}} {lboot} AND l.state < 2 \
             UNION ALL SELECT s.name, l.whole, s.token, s.fence, s.ends - {{now}} AS remaining, s.granted, s.label, \
             s.kind + CASE WHEN s.state = 1 THEN 2 ELSE 0 END AS state, l.reason \
             FROM tenure_lock_share s JOIN tenure_lock l ON l.name = s.name \
             WHERE {shared} AND s.ends > {{now}} {sboot} AND l.state >= 2"
        ))
    }

    /// What is before that moment is long ago, by the clock that fences are made of.
    fn raise(&self) -> Text {
        let raise = "UPDATE tenure_lock_meta SET last_fence = {greatest}(last_fence, {wall} - :ttl)";
        self.text(&raise.replace("{wall}", self.wall()))
    }

    /// Which rows are of names long unused.
    fn unused(&self) -> String {
        let unused = "fence < {wall} - :ttl AND fence <= (SELECT last_fence FROM tenure_lock_meta)";
        unused.replace("{wall}", self.wall())
    }

    /// The wall clock.
    fn wall(&self) -> &'static str {
        if self.now == ":now" { ":wall" } else { "{now}" }
    }

    fn renewing(&self, kind: Kind) -> Renewing {
        Renewing::new(kind, self.table, self.now)
    }
}
