//! SQLite: all who share a file are on one host, so leases are judged by the clock of that host, which
//! goes on while it sleeps and cannot be set. What was granted before a reboot is void.

use super::shares::Shares;
use super::{Dialect, Kind, Writer};
use crate::table::Table;

pub(super) fn dialect(table: &Table) -> Dialect {
    let writer = Writer { table, now: ":now", boot: "AND boot = :boot", big: "", greatest: "max" };
    let acquire = || {
        let denied = || writer.denied("0", "AND ends > :now AND boot = :boot AND token <> :token");
        vec![denied(), writer.ask(TAKE), denied(), writer.ask(TAKE), denied()]
    };
    let set = |what: &str| {
        let own = "WHERE name = :name AND token = :token AND ends > :now AND boot = :boot";
        writer.ask(&format!("UPDATE tenure_lock SET {what} {own} {DONE}"))
    };
    Dialect {
        kind: Kind::Sqlite,
        acquire: acquire(),
        guarded: acquire(),
        restore: vec![set("ends = :now + :ttl, label = :label"), writer.cause()],
        renew: vec![set("ends = :now + :ttl"), writer.cause()],
        verify: writer.verify(),
        release: vec![
            set("ends = CASE WHEN :keep > 0 THEN :now + :keep ELSE 0 END, token = x'', state = 0"),
            writer.ask(ACKNOWLEDGE),
            writer.cause(),
        ],
        known: writer.known(CREATE),
        mark: vec![writer.act(&format!("{} WHERE name = :name", writer.mark()))],
        awaited: writer.awaited(),
        force: writer.force(),
        look: writer.look(),
        list: writer.list(),
        wake: None,
        renewing: writer.renewing(Kind::Sqlite),
        shares: Shares::new(Kind::Sqlite, &writer, CREATE, ""),
        raise: writer.raise(),
        forget: writer.text(&format!(
            "DELETE FROM tenure_lock WHERE name IN (SELECT name FROM tenure_lock \
             WHERE (boot <> :boot OR (ends <= :now AND awaited <= :now)) AND {} LIMIT :limit)",
            writer.unused()
        )),
    }
}

const DONE: &str = "RETURNING 1 AS code, fence, 0 AS remaining, awaited - :now AS awaited";

/// Takes it if it is free or the token's own. A look before costs a tenth of this, and disturbs nobody.
const TAKE: &str = "INSERT INTO tenure_lock (name, whole, token, fence, ends, granted, label, boot) VALUES \
    (:name, :whole, :token, max(:wall, :floor + 1, (SELECT last_fence + 1 FROM tenure_lock_meta)), \
        :now + :ttl, :wall, :label, :boot) \
    ON CONFLICT (name) DO UPDATE SET \
    fence = CASE WHEN token = excluded.token AND ends > :now AND boot = excluded.boot \
        THEN fence ELSE max(fence + 1, excluded.fence) END, \
    granted = CASE WHEN token = excluded.token AND ends > :now AND boot = excluded.boot \
        THEN granted ELSE excluded.granted END, \
    awaited = CASE WHEN boot = excluded.boot THEN awaited ELSE 0 END, \
    token = excluded.token, ends = excluded.ends, label = excluded.label, state = 0, boot = excluded.boot, wanted = 0 \
    WHERE ends <= :now OR boot <> excluded.boot OR token = excluded.token \
    RETURNING 1 AS code, fence, 0 AS remaining, awaited - :now AS awaited";

/// With a fence of now, so that it is not forgotten before it is taken.
const CREATE: &str = "INSERT INTO tenure_lock (name, whole, fence, boot) VALUES \
    (:name, :whole, (SELECT max(last_fence, :wall) FROM tenure_lock_meta), :boot) ON CONFLICT (name) DO NOTHING";

/// A loser lets go of what it lost, or a late holder of what has ended.
const ACKNOWLEDGE: &str = "UPDATE tenure_lock SET ends = 0, token = x'', state = 0 \
    WHERE name = :name AND (token = :token OR (state = 1 AND loser = :token)) \
    RETURNING CASE WHEN loser = :token THEN -1 ELSE -2 END AS code, fence, 1 AS remaining, \
        awaited - :now AS awaited";
