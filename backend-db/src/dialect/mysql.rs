//! MySQL, and what MariaDB shares with it. A lock is taken by an `UPDATE`, and what is in the row afterwards
//! says whose it is; that is two statements, for there is no `RETURNING`.
//!
//! The moment now is that of the statement, by the server's clock in UTC.

use super::shares::Shares;
use super::{Dialect, Kind, Writer};
use crate::course::{Course, Step};
use crate::table::Table;

/// In the session's time zone, which is UTC: in others an hour of the year comes twice.
const NOW: &str = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";

pub(super) fn dialect(table: &Table) -> Dialect {
    let writer = writer(table);
    let acquire = || {
        let again = || [writer.act(TAKE), taken(&writer)];
        let steps = again().into_iter().chain([writer.act(CREATE)]).chain(again()).chain(again());
        steps.collect::<Course>()
    };
    let own = "WHERE name = :name AND token = :token AND ends > {now}";
    let mut guarded = guard(&writer);
    guarded.extend(acquire());
    Dialect {
        kind: Kind::MySql,
        acquire: acquire(),
        guarded,
        restore: vec![
            writer.act(&format!("UPDATE tenure_lock SET ends = {{now}} + :ttl, label = :label {own}")),
            writer.row("1", "AND token = :token AND ends > {now}"),
            writer.cause(),
        ],
        renew: vec![
            writer.count(&format!("UPDATE tenure_lock SET ends = {{now}} + :ttl {own}")),
            writer.cause(),
        ],
        verify: writer.verify(),
        release: vec![
            writer.count(&format!(
                "UPDATE tenure_lock SET ends = CASE WHEN :keep > 0 THEN {{now}} + :keep ELSE 0 END, token = '', \
                 state = 0 {own}"
            )),
            writer.act(
                "UPDATE tenure_lock SET ends = 0, token = '', state = 0 \
                 WHERE name = :name AND (token = :token OR (state = 1 AND loser = :token))",
            ),
            writer.cause(),
        ],
        known: writer.known(CREATE),
        mark: vec![writer.act(&format!("{} WHERE name = :name", writer.mark()))],
        awaited: writer.awaited(),
        force: writer.force(),
        look: writer.look(),
        list: writer.list(),
        wake: None,
        renewing: writer.renewing(Kind::MySql),
        shares: Shares::new(Kind::MySql, &writer, CREATE, GUARD),
        raise: writer.raise(),
        forget: writer.text(&format!(
            "DELETE FROM tenure_lock WHERE ends <= {{now}} AND awaited <= {{now}} AND {} LIMIT :limit",
            writer.unused()
        )),
    }
}

pub(super) fn writer(table: &Table) -> Writer<'_> {
    Writer { table, now: NOW, boot: "", big: "", greatest: "greatest" }
}

/// What is in the row says whose it is.
pub(super) fn taken(writer: &Writer<'_>) -> Step {
    writer.denied(TAKEN, "")
}

/// Whether it is the token's.
pub(super) const TAKEN: &str = "CASE WHEN token = :token AND ends > {now} THEN 1 ELSE 0 END";

/// Ends with an answer while locks are closed; there is none if they are open.
pub(super) fn guard(writer: &Writer<'_>) -> Course {
    vec![
        writer.act(GUARD),
        writer.ask(
            "SELECT -3 AS code, 0 AS fence, opens - {now} AS remaining, 0 AS awaited FROM tenure_lock_guard \
             WHERE opens > {now}",
        ),
    ]
}

/// Takes it if it is free or the token's own. Assignments go from left to right, and see those before.
const TAKE: &str = "UPDATE tenure_lock SET \
    fence = IF(token = :token AND ends > {now}, fence, greatest(fence + 1, :floor + 1, {now})), \
    granted = IF(token = :token AND ends > {now}, granted, {now}), \
    token = :token, ends = {now} + :ttl, label = :label, state = 0, wanted = 0 \
    WHERE name = :name AND (ends <= {now} OR token = :token)";

const GUARD: &str = "INSERT IGNORE INTO tenure_lock_guard (id, opens) VALUES (1, {now} + :longest)";

/// With a fence of now, so that it is not forgotten before it is taken.
const CREATE: &str = "INSERT IGNORE INTO tenure_lock (name, whole, fence) \
    SELECT :name, :whole, greatest(last_fence, {now}) FROM tenure_lock_meta";
