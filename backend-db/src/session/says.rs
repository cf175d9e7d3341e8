//! What is said to a server about locks that belong to a connection. No I/O.

use crate::course::Step;
use crate::dialect::Kind;
use crate::statement::Text;

/// What is said to a kind of server.
#[derive(Debug)]
pub(super) struct Says {
    /// Fails if what keeps fences growing, and names apart, is not there.
    pub(super) there: &'static str,
    /// Makes it.
    pub(super) create: &'static [&'static str],
    /// Whether a number is of this name; the row is made if there is none.
    pub(super) known: Vec<Step>,
    /// Takes the lock, with a fence of this or, if it is free, nothing.
    pub(super) acquire: Text,
    /// Waits for the lock, however long; whether a fence comes with it.
    pub(super) wait: Text,
    pub(super) wait_gives: bool,
    /// A fence above the one that was given, where the lock itself has none.
    pub(super) fence: Option<(Text, Text)>,
    /// A fence above one that was seen.
    pub(super) raise: Text,
    /// Whether this connection has the lock.
    pub(super) verify: Text,
    pub(super) release: Text,
    /// The server's number of the connection.
    pub(super) number: Text,
    /// The server's clock, in microseconds.
    pub(super) clock: Text,
}

impl Says {
    pub(super) fn to(kind: Kind) -> Self {
        match kind {
            Kind::MariaDb => mysql(true),
            Kind::MySql => mysql(false),
            Kind::Postgres | Kind::Sqlite => postgres(),
        }
    }
}

/// The lock's number, out of the text that it is given as.
const NUMBER: &str = "('x' || :payload)::bit(64)::bigint";

fn postgres() -> Says {
    let row = |code: &str, fence: &str, rest: &str| {
        Text::new(&format!(
            "SELECT ({code})::bigint AS code, {fence}::bigint AS fence, 0::bigint AS remaining, 0::bigint AS awaited \
             {rest}"
        ))
    };
    let next = "nextval('tenure_session_fence')";
    let known = || {
        Step::Ask(row(
            "CASE WHEN name = :name THEN 1 ELSE -4 END",
            "0",
            &format!("FROM tenure_session_name WHERE number = {NUMBER}"),
        ))
    };
    Says {
        there: "DO $$ BEGIN PERFORM 1 FROM tenure_session_fence; PERFORM 1 FROM tenure_session_name LIMIT 1; END $$",
        create: &[
            "CREATE SEQUENCE IF NOT EXISTS tenure_session_fence",
            "CREATE TABLE IF NOT EXISTS tenure_session_name (number bigint PRIMARY KEY, name bytea NOT NULL)",
        ],
        known: vec![
            known(),
            Step::Do(Text::new(&format!(
                "INSERT INTO tenure_session_name (number, name) VALUES ({NUMBER}, :name) ON CONFLICT DO NOTHING"
            ))),
            known(),
        ],
        // The lock is taken before the list is made.
        acquire: row("1", next, &format!("WHERE pg_try_advisory_lock({NUMBER})")),
        wait: row("1", next, &format!("FROM pg_advisory_lock({NUMBER})")),
        wait_gives: true,
        fence: None,
        raise: row("1", &format!("setval('tenure_session_fence', greatest(:floor + 1, {next}))"), ""),
        verify: row("1", "0", ""),
        release: row(&format!("pg_advisory_unlock({NUMBER})::int"), "0", ""),
        number: row("pg_backend_pid()", "0", ""),
        clock: row("date_part('epoch', clock_timestamp()) * 1000000", "0", ""),
    }
}

/// Names of locks are those of the whole server, fold their cases, and have at most 64 characters.
const NAME: &str =
    "CONCAT('tenure_', LEFT(SHA2(CONCAT(CAST(IFNULL(DATABASE(), '') AS BINARY), CHAR(0), :name), 256), 48))";

fn mysql(has_sequences: bool) -> Says {
    let row = |code: &str, fence: &str| {
        Text::new(&format!(
            "SELECT CAST({code} AS SIGNED) AS code, CAST({fence} AS SIGNED) AS fence, CAST(0 AS SIGNED) AS remaining, \
             CAST(0 AS SIGNED) AS awaited"
        ))
    };
    let now = "UNIX_TIMESTAMP(NOW(6)) * 1000000";
    let take = |seconds: &str| row("1", &format!("IFNULL(GET_LOCK({NAME}, {seconds}), 0)"));
    // In one expression, since to take it twice would be to have to release it twice.
    let with_fence =
        || row("1", &format!("IF(GET_LOCK({NAME}, 0) = 1, NEXT VALUE FOR tenure_session_fence, 0)"));
    let raised = format!(
        "UPDATE tenure_session_row SET fence = LAST_INSERT_ID(GREATEST(fence + 1, :floor + 1, {now})) WHERE id = 1"
    );
    let last = || row("1", "LAST_INSERT_ID()");
    Says {
        there: match has_sequences {
            true => "DO NEXTVAL(tenure_session_fence)",
            false => "DO (SELECT fence FROM tenure_session_row WHERE id = 1)",
        },
        create: match has_sequences {
            true => &["CREATE SEQUENCE IF NOT EXISTS tenure_session_fence"],
            false => &[
                "CREATE TABLE IF NOT EXISTS tenure_session_row (id bigint PRIMARY KEY, fence bigint NOT NULL) \
                 ENGINE=InnoDB",
                "INSERT INTO tenure_session_row VALUES (1, 0) ON DUPLICATE KEY UPDATE id = id",
            ],
        },
        // 192 bits of a SHA-256 are nobody else's.
        known: Vec::new(),
        acquire: if has_sequences { with_fence() } else { take("0") },
        // Who waits in a statement about a sequence keeps others from making it, and from looking for it.
        wait: take("86400"),
        wait_gives: false,
        fence: (!has_sequences).then(|| (Text::new(&raised), last())),
        raise: row("1", "NEXT VALUE FOR tenure_session_fence"),
        verify: row(&format!("IFNULL(IS_USED_LOCK({NAME}) = CONNECTION_ID(), 0)"), "0"),
        release: row(&format!("IFNULL(RELEASE_LOCK({NAME}), 0)"), "0"),
        number: row("CONNECTION_ID()", "0"),
        clock: row(now, "0"),
    }
}

/// Cuts what a connection waits for short, from another one.
pub(super) fn cancel(kind: Kind, number: i64) -> String {
    match kind {
        Kind::Postgres | Kind::Sqlite => format!("SELECT pg_cancel_backend({number})"),
        Kind::MariaDb | Kind::MySql => format!("KILL QUERY {number}"),
    }
}

/// Moves fences to the clock, if they are behind it. For PostgreSQL by no less than a second, so that what is
/// given out meanwhile stays below; one connection does so at a time.
pub(super) fn catch_up(kind: Kind, clock: i64) -> String {
    match kind {
        Kind::Postgres | Kind::Sqlite => format!(
            "DO $$ BEGIN PERFORM pg_advisory_xact_lock({GUARD}); PERFORM setval('tenure_session_fence', {clock}) \
             FROM tenure_session_fence WHERE last_value < {clock} - 1000000; END $$"
        ),
        // It never goes back.
        Kind::MariaDb => format!("DO SETVAL(tenure_session_fence, {clock})"),
        Kind::MySql => "DO 0".into(),
    }
}

/// The number of a lock that is none of a name.
const GUARD: i64 = 0x7465_6e75_7265;

/// Lets statements take as long as they may.
pub(super) fn patience(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres | Kind::Sqlite => "SET statement_timeout = 0; SET lock_timeout = 0",
        Kind::MariaDb => "SET max_statement_time = 0",
        Kind::MySql => "SET max_execution_time = 0",
    }
}

/// Says for how long the server lets a connection be idle, in milliseconds; zero for ever.
pub(super) fn live(kind: Kind, millis: i64) -> String {
    match (kind, millis) {
        (Kind::Postgres | Kind::Sqlite, _) => format!("SET idle_session_timeout = {millis}"),
        (_, 0) => "SET SESSION wait_timeout = DEFAULT".into(),
        (_, millis) => format!("SET SESSION wait_timeout = {}", (millis + 999) / 1000),
    }
}
