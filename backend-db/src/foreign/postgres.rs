//! What is said about the tables of other libraries in PostgreSQL. No I/O.

use super::Says;
use crate::course::Step;
use crate::statement::Text;
use crate::table::Table;

/// A table's columns, and what is in them.
struct Columns {
    table: String,
    key: &'static str,
    owner: &'static str,
    ends: &'static str,
    /// How many digits of a second its moments must have.
    digits: u8,
    /// The moment now, as the table has it.
    now: &'static str,
    /// Whether a row's time is over.
    over: &'static str,
    /// A moment that is so many microseconds from now, never less.
    after: fn(&str) -> String,
    /// The token as the table has it.
    token: fn(&str) -> String,
    /// The fence of a row.
    fence: &'static str,
    /// How long a row stays, in microseconds.
    remaining: &'static str,
}

const NAME: &str = "convert_from(:name, 'UTF8')";

pub(super) fn shedlock(table: &Table) -> Says {
    let columns = Columns {
        table: table.full(),
        key: "name",
        owner: "locked_by",
        ends: "lock_until",
        digits: 3,
        now: "timezone('utc', clock_timestamp())",
        over: "s.lock_until <= timezone('utc', clock_timestamp())",
        after: |span| {
            // A column may have milliseconds only, and cut the rest.
            format!(
                "(timezone('utc', clock_timestamp()) + {span} * interval '1 microsecond' + interval '1 millisecond')"
            )
        },
        token: |token| format!("convert_from({token}, 'UTF8')"),
        fence: "(extract(epoch FROM s.locked_at) * 1000000)::bigint",
        remaining: "(extract(epoch FROM s.lock_until - timezone('utc', clock_timestamp())) * 1000000)::bigint",
    };
    let floor = "timestamp 'epoch' + (:floor + 1000) * interval '1 microsecond'";
    // A column of milliseconds would give two the same.
    let next = format!("greatest({{now}}, s.locked_at + interval '1 millisecond', {floor})");
    let mine = "s.locked_by = {token} AND NOT {over}";
    let insert = format!(
        "INSERT INTO {{table}} AS s (name, lock_until, locked_at, locked_by) \
         VALUES ({NAME}, {{until}}, greatest({{now}}, {floor}), {{token}}) ON CONFLICT (name) DO UPDATE SET \
         lock_until = {{until}}, locked_by = {{token}}, \
         locked_at = CASE WHEN {mine} THEN s.locked_at ELSE {next} END"
    );
    columns.says(&insert)
}

pub(super) fn django(table: &Table) -> Says {
    let columns = Columns {
        table: table.full(),
        key: "cache_key",
        owner: "value",
        ends: "expires",
        digits: 0,
        now: "clock_timestamp()",
        // Django compares whole seconds: a row lives to the end of its last one.
        over: "s.expires < date_trunc('second', clock_timestamp())",
        after: |span| format!("date_trunc('second', clock_timestamp() + {span} * interval '1 microsecond')"),
        token: |token| format!("encode({token}, 'base64')"),
        fence: "greatest(:floor + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)",
        remaining: "(extract(epoch FROM s.expires + interval '1 second' - clock_timestamp()) * 1000000)::bigint",
    };
    let insert = format!(
        "INSERT INTO {{table}} AS s (cache_key, value, expires) VALUES ({NAME}, {{token}}, {{until}}) \
         ON CONFLICT (cache_key) DO UPDATE SET value = {{token}}, expires = {{until}}"
    );
    let mut says = columns.says(&insert);
    // Django's own delete leaves nothing either.
    says.release = vec![columns.ask(
        "WITH u AS (DELETE FROM {table} AS s WHERE s.{key} = {name} AND s.{owner} = {token} AND NOT {over} \
         RETURNING s.{ends}) SELECT 1::bigint AS code, 0::bigint AS fence, 0::bigint AS remaining, \
         0::bigint AS awaited FROM u",
    )];
    says
}

impl Columns {
    /// What all tables have in common; `insert` makes a row or changes the one that is there.
    fn says(&self, insert: &str) -> Says {
        let row = "0::bigint AS awaited FROM u AS s";
        let update = |set: &str| {
            self.ask(&format!(
                "WITH u AS (UPDATE {{table}} AS s SET {set} WHERE s.{{key}} = {{name}} AND s.{{owner}} = {{token}} \
                 AND NOT {{over}} RETURNING s.*) \
                 SELECT 1::bigint AS code, {{fence}} AS fence, 0::bigint AS remaining, {row}"
            ))
        };
        let acquire = self.ask(&format!(
            "WITH u AS ({insert} WHERE {{over}} OR s.{{owner}} = {{token}} RETURNING s.*) \
             SELECT 1::bigint AS code, {{fence}} AS fence, 0::bigint AS remaining, {row} \
             UNION ALL SELECT 0::bigint, {{fence}}, {{remaining}}, 0::bigint FROM {{table}} AS s \
             WHERE s.{{key}} = {{name}} AND NOT EXISTS (SELECT 1 FROM u)"
        ));
        let verify = self.ask(
            "SELECT 1::bigint AS code, {fence} AS fence, 0::bigint AS remaining, 0::bigint AS awaited \
             FROM {table} AS s WHERE s.{key} = {name} AND s.{owner} = {token} AND NOT {over}",
        );
        Says {
            there: self.ask(&format!(
                "SELECT (SELECT min(CASE atttypmod WHEN -1 THEN 6 ELSE atttypmod END) >= {} FROM pg_attribute \
                 WHERE attrelid = '{{table}}'::regclass AND atttypid IN ('timestamp'::regtype, \
                 'timestamptz'::regtype))::int::bigint AS code, 0::bigint AS fence, 0::bigint AS remaining, \
                 0::bigint AS awaited FROM (SELECT count(*) FROM {{table}} WHERE {{key}} = '') AS s",
                self.digits
            )),
            acquire: vec![acquire],
            renew: vec![update("{ends} = {until}")],
            verify: vec![verify],
            release: vec![update("{ends} = {now}")],
            keep: vec![update("{ends} = {kept}, {owner} = {nobody}")],
        }
    }

    fn ask(&self, sql: &str) -> Step {
        let all = [
            ("{table}", self.table.clone()),
            ("{key}", self.key.into()),
            ("{owner}", self.owner.into()),
            ("{ends}", self.ends.into()),
            ("{name}", NAME.into()),
            ("{over}", self.over.into()),
            ("{now}", self.now.into()),
            ("{until}", (self.after)(":ttl")),
            ("{kept}", (self.after)(":keep")),
            ("{token}", (self.token)(":token")),
            ("{nobody}", (self.token)(":victim")),
            ("{fence}", self.fence.into()),
            ("{remaining}", self.remaining.into()),
        ];
        let sql = all.iter().fold(sql.to_owned(), |sql, (word, text)| sql.replace(word, text));
        Step::Ask(Text::new(&sql))
    }
}
