//! Locks that several have at once: readers, or those who have permits.
//!
//! Each of them has a row of its own. The lock's row is nobody's then, says of which kind they are, and ends
//! with the last of them; so whoever wants the lock alone is kept out by what keeps him out anyway. The
//! statements of a course are carried out together, in one transaction that has the lock's row to itself from
//! its first statement on.

use super::{Kind, Writer};
use crate::course::{Course, Step};
use crate::statement::Text;

/// What is said about a lock to have it beside others.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Begins the transaction.
    pub(crate) begin: &'static str,
    /// Makes the lock's row; carried out by itself.
    pub(crate) create: Course,
    pub(super) acquire: Course,
    pub(super) guarded: Course,
    pub(super) restore: Course,
    pub(super) renew: Course,
    pub(super) verify: Course,
    pub(super) release: Course,
    /// Takes a lock away from all who have it.
    pub(crate) force: Course,
    /// Says that somebody waits who wants it alone.
    pub(crate) want: Course,
    /// Says that nobody does, until one says so again.
    pub(crate) give_up: Course,
    /// Forgets those who let go long ago.
    pub(crate) forget: Text,
}

impl Shares {
    pub(super) fn new(kind: Kind, writer: &Writer<'_>, create: &str, guard: &str) -> Self {
        let says = Says { kind, writer };
        let held_after = |label: &str| {
            let kept =
                says.act(&format!("UPDATE tenure_lock_share SET ends = {{now}} + :ttl{label} WHERE {LIVE}"));
            says.alone([kept, says.act(ENDS), says.held()].into_iter().chain(says.causes()))
        };
        let mut guarded = Course::new();
        if !guard.is_empty() {
            guarded.push(says.act(guard));
            guarded.push(writer.ask(
                "SELECT -3{big} AS code, 0{big} AS fence, opens - {now} AS remaining, 0{big} AS awaited \
                 FROM tenure_lock_guard WHERE opens > {now}",
            ));
        }
        guarded.extend(says.acquire());
        let mut release = vec![says.act(LET_GO), says.act(ENDS)];
        if kind == Kind::Postgres {
            release.push(says.act(
                "SELECT pg_notify(:channel, :payload) FROM tenure_lock WHERE name = :name AND awaited > {now}",
            ));
        }
        Self {
            begin: match kind {
                Kind::Sqlite => "BEGIN IMMEDIATE",
                Kind::Postgres => "BEGIN",
                Kind::MariaDb | Kind::MySql => "START TRANSACTION",
            },
            create: vec![says.act(create)],
            acquire: says.acquire(),
            guarded,
            restore: held_after(", label = :label"),
            renew: held_after(""),
            verify: [says.held()].into_iter().chain(says.causes()).collect(),
            release: says.alone(release.into_iter().chain(says.causes())),
            force: says.alone([says.act(LOST), writer.count(&says.text(BROKEN))]),
            want: vec![says.act(
                "UPDATE tenure_lock SET awaited = {greatest}(awaited, {now} + :patience), \
                 wanted = {greatest}(wanted, {now} + :patience) WHERE name = :name",
            )],
            give_up: vec![says.act("UPDATE tenure_lock SET wanted = 0 WHERE name = :name AND wanted > 0")],
            forget: writer.text(&says.text(
                "DELETE FROM tenure_lock_share WHERE (ends <= {now}{rebooted}) AND granted < {wall} - :ttl",
            )),
        }
    }
}

/// Says it to one kind of database.
struct Says<'w, 't> {
    kind: Kind,
    writer: &'w Writer<'t>,
}

impl Says<'_, '_> {
    fn text(&self, sql: &str) -> String {
        let (rebooted, boots, boot) = match self.kind {
            Kind::Sqlite => (" OR boot <> :boot", ", boot", ", :boot"),
            _ => ("", "", ""),
        };
        let set = if boot.is_empty() { "" } else { ", boot = :boot" };
        let sql = sql.replace("{rebooted}", rebooted).replace("{boots}", boots).replace("{theboot}", boot);
        let none = if boot.is_empty() { "''" } else { "x''" };
        let sql = sql.replace("{none}", none);
        sql.replace("{setboot}", set).replace("{wall}", self.writer.wall())
    }

    fn act(&self, sql: &str) -> Step {
        self.writer.act(&self.text(sql))
    }

    fn ask(&self, sql: &str) -> Step {
        self.writer.ask(&self.text(sql))
    }

    /// With the lock's row to itself, which has to be there: what begins without it could see it appear half-way,
    /// and share it with somebody who did the same. A transaction of SQLite has the whole file to itself, and where
    /// a statement that returns rows cannot be counted, one that changes nothing locks them as well.
    fn alone(&self, steps: impl IntoIterator<Item = Step>) -> Course {
        let lock = match self.kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some("SELECT 1 FROM tenure_lock WHERE name = :name FOR UPDATE"),
            Kind::MariaDb | Kind::MySql => {
                Some("UPDATE tenure_lock SET awaited = awaited WHERE name = :name")
            }
        };
        lock.map(|lock| Step::Lock(self.writer.text(&self.text(lock)))).into_iter().chain(steps).collect()
    }

    fn acquire(&self) -> Course {
        self.alone([
            self.act("DELETE FROM tenure_lock_share WHERE name = :name AND (ends <= {now}{rebooted})"),
            self.act(&format!(
                "UPDATE tenure_lock_share SET ends = {{now}} + :ttl, label = :label WHERE {LIVE}"
            )),
            self.act(TAKE),
            self.act(LEAD),
            self.held(),
            self.ask(DENIED),
        ])
    }

    fn held(&self) -> Step {
        self.ask(&format!(
            "SELECT 1{{big}} AS code, fence, 0{{big}} AS remaining, {AWAITED} AS awaited FROM tenure_lock_share \
             WHERE {LIVE}"
        ))
    }

    /// What became of a share, or that there is none.
    fn causes(&self) -> [Step; 2] {
        [
            self.ask(&format!(
                "SELECT CASE WHEN state = 7 THEN 1 WHEN state IN (1, 8) THEN -1 ELSE -2 END{{big}} AS code, fence, \
                 1{{big}} AS remaining, {AWAITED} AS awaited FROM tenure_lock_share \
                 WHERE name = :name AND token = :token"
            )),
            self.ask(
                "SELECT 0{big} AS code, fence, 1{big} AS remaining, awaited - {now} AS awaited FROM tenure_lock \
                 WHERE name = :name",
            ),
        ]
    }
}

/// The token's own share, as long as it has it.
const LIVE: &str = "name = :name AND token = :token AND state = 0 AND ends > {now} {boot}";

const AWAITED: &str = "(SELECT l.awaited - {now} FROM tenure_lock l WHERE l.name = :name)";

/// Makes a share if nobody is known to want the lock alone, and it is free or those who have it let others in:
/// there are permits left.
const TAKE: &str = "INSERT INTO tenure_lock_share (name, token, fence, ends, granted, label, kind{boots}) \
    SELECT :name, :token, {greatest}(fence + 1, :floor + 1, {wall}), {now} + :ttl, {wall}, :label, :kind{theboot} \
    FROM tenure_lock WHERE name = :name AND (wanted <= {now}{rebooted}) AND (ends <= {now}{rebooted} \
    OR (state = :kind AND (:permits = 0 \
    OR (SELECT count(*) FROM tenure_lock_share s WHERE s.name = :name AND s.ends > {now}) < :permits))) \
    AND NOT EXISTS (SELECT 1 FROM tenure_lock_share s WHERE s.name = :name AND s.token = :token)";

/// Says at the lock that it is shared, and until when.
const LEAD: &str = "UPDATE tenure_lock SET token = {none}, label = {none}, state = :kind{setboot}, \
    fence = {greatest}(fence, (SELECT s.fence FROM tenure_lock_share s WHERE s.name = :name AND s.token = :token)), \
    ends = (SELECT max(s.ends) FROM tenure_lock_share s WHERE s.name = :name) \
    WHERE name = :name AND EXISTS (SELECT 1 FROM tenure_lock_share s WHERE s.name = :name AND s.token = :token \
    AND s.state = 0 AND s.ends > {now})";

/// Says at the lock until when it is shared, after somebody has let go or renewed.
const ENDS: &str = "UPDATE tenure_lock SET ends = coalesce((SELECT max(s.ends) FROM tenure_lock_share s \
    WHERE s.name = :name), 0) WHERE name = :name AND state IN (2, 3, 4)";

const DENIED: &str = "SELECT 0{big} AS code, fence, CASE WHEN wanted > {now} AND (state = :kind OR ends <= {now}) THEN wanted \
    WHEN state = :kind THEN (SELECT min(s.ends) FROM tenure_lock_share s WHERE s.name = :name) \
    ELSE ends END - {now} AS remaining, awaited - {now} AS awaited FROM tenure_lock WHERE name = :name";

/// Nobody has it any more, and what became of it is known for some time; once said, it is not said otherwise.
/// MySQL makes the changes from left to right, and sees those before; the others see none.
const LET_GO: &str = "UPDATE tenure_lock_share SET \
    state = CASE WHEN state = 1 THEN 8 WHEN ends <= {now}{rebooted} THEN 9 ELSE 7 END, \
    ends = CASE WHEN :keep > 0 AND ends > {now} AND state IN (0, 7) THEN {now} + :keep ELSE 0 END \
    WHERE name = :name AND token = :token AND state < 7";

const LOST: &str = "UPDATE tenure_lock_share SET \
    ends = CASE WHEN :force = 1 OR state <> 0 THEN 0 ELSE ends END, state = 1 \
    WHERE name = :name AND ends > {now} {boot} AND EXISTS (SELECT 1 FROM tenure_lock l WHERE l.name = :name \
    AND l.state IN (2, 3, 4))";

const BROKEN: &str = "UPDATE tenure_lock SET fence = {greatest}(fence + 1, {wall}), reason = :reason, state = 4, \
    ends = coalesce((SELECT max(s.ends) FROM tenure_lock_share s WHERE s.name = :name), 0) \
    WHERE name = :name AND state IN (2, 3, 4) AND ends > {now} {boot}";
