//! MariaDB: a lock is taken in one statement, and what is in the row afterwards says whose it is. How many
//! rows an upsert changed says nothing: with `CLIENT_FOUND_ROWS` a denial counts like an insert.
//!
//! The moment now is that of the statement. Assignments go from left to right, and see those before.

use super::mysql;
use super::{Dialect, Kind};
use crate::course::Course;
use crate::table::Table;

pub(super) fn dialect(table: &Table) -> Dialect {
    let writer = mysql::writer(table);
    acquiring(table, || vec![writer.act(TAKE), mysql::taken(&writer)])
}

/// With acquisitions in one round trip, for a client that reads rows which it was not told of when it prepared the
/// statement.
#[cfg(feature = "async")]
pub(super) fn returning(table: &Table) -> Dialect {
    let writer = mysql::writer(table);
    let returned = format!("{TAKE} RETURNING {}", writer.denial(mysql::TAKEN));
    acquiring(table, || vec![writer.ask(&returned)])
}

/// A second try is for those who came when the lease of another had just ended.
fn acquiring(table: &Table, once: impl Fn() -> Course) -> Dialect {
    let writer = mysql::writer(table);
    let mut dialect = mysql::dialect(table);
    let acquire = || once().into_iter().chain(once()).collect::<Course>();
    dialect.kind = Kind::MariaDb;
    dialect.acquire = acquire();
    dialect.guarded = mysql::guard(&writer).into_iter().chain(acquire()).collect();
    dialect
}

/// Makes the row, or takes it if it is free or the token's own. `RETURNING` says in the same round trip what is in
/// the row then; but servers announce no columns for it when a statement is prepared (MDEV-27013), and diesel's
/// connections for threads ask then.
const TAKE: &str = "INSERT INTO tenure_lock (name, whole, token, fence, ends, granted, label) VALUES \
    (:name, :whole, :token, greatest({now}, :floor + 1, (SELECT last_fence + 1 FROM tenure_lock_meta)), \
        {now} + :ttl, {now}, :label) \
    ON DUPLICATE KEY UPDATE \
    fence = IF(ends <= {now}, greatest(fence + 1, VALUES(fence)), fence), \
    granted = IF(ends <= {now}, VALUES(granted), granted), \
    label = IF(ends <= {now}, VALUES(label), label), \
    state = IF(ends <= {now}, 0, state), \
    wanted = IF(ends <= {now}, 0, wanted), \
    token = IF(ends <= {now}, VALUES(token), token), \
    ends = IF(token = VALUES(token), VALUES(ends), ends)";
