//! MariaDB: a lock is taken in one statement, and what is in the row afterwards says whose it is. How many
//! rows an upsert changed says nothing: with `CLIENT_FOUND_ROWS` a denial counts like an insert.
//!
//! The moment now is that of the statement. Assignments go from left to right, and see those before.

use super::mysql::{self, NOW};
use super::{Dialect, Kind, Writer};
use crate::table::Table;

pub(super) fn dialect(table: &Table) -> Dialect {
    let writer = Writer { table, now: NOW, boot: "", big: "", greatest: "greatest" };
    let mut dialect = mysql::dialect(table);
    let mut guarded = mysql::guard(&writer);
    guarded.push(writer.ask(TAKE));
    dialect.kind = Kind::MariaDb;
    dialect.acquire = vec![writer.ask(TAKE)];
    dialect.guarded = guarded;
    dialect
}

/// Makes the row, or takes it if it is free or the token's own.
const TAKE: &str = "INSERT INTO tenure_lock (name, whole, token, fence, ends, granted, label) VALUES \
    (:name, :whole, :token, greatest({now}, :floor + 1, (SELECT last_fence + 1 FROM tenure_lock_meta)), \
        {now} + :ttl, {now}, :label) \
    ON DUPLICATE KEY UPDATE \
    fence = IF(ends <= {now}, greatest(fence + 1, VALUES(fence)), fence), \
    granted = IF(ends <= {now}, VALUES(granted), granted), \
    label = IF(ends <= {now}, VALUES(label), label), \
    state = IF(ends <= {now}, 0, state), \
    token = IF(ends <= {now}, VALUES(token), token), \
    ends = IF(token = VALUES(token), VALUES(ends), ends) \
    RETURNING IF(token = :token, 1, 0) AS code, fence, ends - {now} AS remaining, awaited - {now} AS awaited";
