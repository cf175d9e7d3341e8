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
    let mut dialect = mysql::dialect(table);
    let acquire = || {
        let again = || [writer.act(TAKE), mysql::taken(&writer)];
        again().into_iter().chain(again()).collect::<Course>()
    };
    dialect.kind = Kind::MariaDb;
    dialect.acquire = acquire();
    dialect.guarded = mysql::guard(&writer).into_iter().chain(acquire()).collect();
    dialect
}

/// Makes the row, or takes it if it is free or the token's own. `RETURNING` could say in the same round trip
/// what is in the row then, but servers announce no columns for it when a statement is prepared (MDEV-27013), and
/// diesel's connections for threads ask then.
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
