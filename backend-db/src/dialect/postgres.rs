//! PostgreSQL: one statement each. `UPDATE` comes first, so that an attempt that is denied writes nothing.
//! The moment now is that of the clock, not of the transaction.

use super::shares::Shares;
use super::{Dialect, Kind, Writer};
use crate::table::Table;

const NOW: &str = "(date_part('epoch', clock_timestamp()) * 1000000)::bigint";

pub(super) fn dialect(table: &Table) -> Dialect {
    let writer = Writer { table, now: NOW, boot: "", big: "::bigint", greatest: "greatest" };
    let set = |what: &str| {
        let own = "WHERE name = :name AND token = :token AND ends > {now} RETURNING fence, awaited";
        vec![writer.ask(&format!("WITH u AS (UPDATE tenure_lock SET {what} {own}) {DONE} {CAUSE}"))]
    };
    let acquire = format!("WITH u AS ({TAKE} RETURNING fence, awaited) {DONE} {DENIED}");
    Dialect {
        kind: Kind::Postgres,
        acquire: vec![writer.ask(&acquire), writer.act(CREATE), writer.ask(&acquire), writer.ask(&acquire)],
        guarded: vec![
            writer.ask(&guarded()),
            writer.act(GUARD),
            writer.act(CREATE),
            writer.ask(&guarded()),
            writer.ask(&guarded()),
        ],
        restore: set("ends = {now} + :ttl, label = :label"),
        renew: set("ends = {now} + :ttl"),
        verify: writer.verify(),
        release: vec![writer.ask(&release())],
        known: writer.known(CREATE),
        mark: vec![
            writer.act(&format!(
                "WITH c AS MATERIALIZED ({LATER}) {} FROM c WHERE name = :name",
                writer.mark()
            )),
        ],
        awaited: writer.awaited(),
        force: writer.force(),
        look: writer.look(),
        list: writer.list(),
        wake: Some(writer.text("SELECT pg_notify(:channel, :payload)")),
        renewing: writer.renewing(Kind::Postgres),
        shares: Shares::new(Kind::Postgres, &writer, CREATE, GUARD),
        raise: writer.raise(),
        forget: writer.text(&format!(
            "DELETE FROM tenure_lock WHERE name IN (SELECT name FROM tenure_lock \
             WHERE ends <= {{now}} AND awaited <= {{now}} AND {} LIMIT :limit FOR UPDATE SKIP LOCKED)",
            writer.unused()
        )),
    }
}

/// Takes it if it is free or the token's own.
const TAKE: &str = "UPDATE tenure_lock SET \
    fence = CASE WHEN token = :token AND ends > {now} THEN fence \
        ELSE greatest(fence + 1, :floor + 1, {now}) END, \
    granted = CASE WHEN token = :token AND ends > {now} THEN granted ELSE {now} END, \
    token = :token, ends = {now} + :ttl, label = :label, state = 0, wanted = 0 \
    WHERE name = :name AND (ends <= {now} OR token = :token)";

const DONE: &str =
    "SELECT 1::bigint AS code, fence, 0::bigint AS remaining, awaited - {now} AS awaited FROM u";

/// What comes after the union sees the table as it was before; if that was stale, nothing remains.
const DENIED: &str = "UNION ALL SELECT 0::bigint, fence, ends - {now}, \
    CASE WHEN state >= 2 THEN wanted ELSE awaited END - {now} FROM tenure_lock \
    WHERE name = :name AND NOT EXISTS (SELECT 1 FROM u)";

const CAUSE: &str = "UNION ALL \
    SELECT (CASE WHEN loser = :token THEN -1 WHEN token = :token THEN -2 ELSE 0 END)::bigint, \
    fence, 1::bigint, awaited - {now} FROM tenure_lock WHERE name = :name AND NOT EXISTS (SELECT 1 FROM u)";

/// With a fence of now, so that it is not forgotten before it is taken.
const CREATE: &str = "INSERT INTO tenure_lock (name, whole, fence) \
    SELECT :name, :whole, greatest(last_fence, {now}) FROM tenure_lock_meta ON CONFLICT (name) DO NOTHING";

const GUARD: &str =
    "INSERT INTO tenure_lock_guard (id, opens) VALUES (1, {now} + :longest) ON CONFLICT (id) DO NOTHING";

/// What this transaction does may be lost in a crash, and costs no wait for the disk.
const LATER: &str = "SELECT set_config('synchronous_commit', 'off', true)";

/// Nothing is taken before all locks open; there is no answer if nothing says when that is.
fn guarded() -> String {
    let open = "EXISTS (SELECT 1 FROM g WHERE opens <= {now})";
    format!(
        "WITH g AS MATERIALIZED (SELECT opens FROM tenure_lock_guard), \
         u AS ({TAKE} AND {open} RETURNING fence, awaited) {DONE} \
         UNION ALL SELECT -3::bigint, 0::bigint, opens - {{now}}, 0::bigint FROM g WHERE opens > {{now}} \
         {DENIED} AND {open}"
    )
}

/// A release that is lost costs the rest of the lease, so it need not be on disk; a name that is to stay
/// taken must be. Who waits is told in the same transaction, and nobody if nobody does.
fn release() -> String {
    format!(
        "WITH c AS MATERIALIZED (SELECT set_config('synchronous_commit', CASE WHEN :keep > 0 \
             THEN current_setting('synchronous_commit') ELSE 'off' END, true)), \
         u AS (UPDATE tenure_lock SET ends = CASE WHEN :keep > 0 THEN {{now}} + :keep ELSE 0 END, \
             token = '', state = 0 FROM c WHERE name = :name AND token = :token AND ends > {{now}} \
             RETURNING fence, awaited), \
         a AS (UPDATE tenure_lock SET ends = 0, token = '', state = 0 FROM c WHERE name = :name \
             AND ((token = :token AND ends <= {{now}}) OR (state = 1 AND loser = :token)) RETURNING awaited), \
         n AS MATERIALIZED (SELECT pg_notify(:channel, :payload) FROM \
             (SELECT awaited FROM u UNION ALL SELECT awaited FROM a) w WHERE awaited > {{now}}) \
         {DONE}, (SELECT count(*) FROM n) x {CAUSE} AND (SELECT count(*) FROM n) >= 0"
    )
}
