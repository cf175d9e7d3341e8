//! What is said about the tables of other libraries in PostgreSQL. No I/O.

use super::Says;
use super::columns::{Columns, DJANGO, SHEDLOCK};
use crate::course::Step;
use crate::table::Table;

pub(super) fn shedlock(table: &Table) -> Says {
    let columns = Columns {
        names: SHEDLOCK,
        now: "timezone('utc', clock_timestamp())",
        mine: "s.locked_by = {token}",
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
    let insert = format!(
        "INSERT INTO {{table}} AS s (name, lock_until, locked_at, locked_by) \
         VALUES (:key, {{until}}, greatest({{now}}, {floor}), {{token}}) ON CONFLICT (name) DO UPDATE SET \
         lock_until = {{until}}, locked_by = {{token}}, \
         locked_at = CASE WHEN {{mine}} AND NOT {{over}} THEN s.locked_at ELSE {next} END"
    );
    says(table, &columns, &insert)
}

pub(super) fn django(table: &Table) -> Says {
    let columns = Columns {
        names: DJANGO,
        now: "clock_timestamp()",
        // Django compares whole seconds: a row lives to the end of its last one.
        mine: "s.value = {token}",
        over: "s.expires < date_trunc('second', clock_timestamp())",
        after: |span| format!("date_trunc('second', clock_timestamp() + {span} * interval '1 microsecond')"),
        token: |token| format!("encode({token}, 'base64')"),
        fence: "greatest(:floor + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)",
        remaining: "(extract(epoch FROM s.expires + interval '1 second' - clock_timestamp()) * 1000000)::bigint",
    };
    let insert = "INSERT INTO {table} AS s (cache_key, value, expires) VALUES (:key, {token}, {until}) \
                  ON CONFLICT (cache_key) DO UPDATE SET value = {token}, expires = {until}";
    let mut says = says(table, &columns, insert);
    // Django's own delete leaves nothing either.
    says.release = vec![Step::Ask(columns.text(
        table,
        "WITH u AS (DELETE FROM {table} AS s WHERE s.{key} = :key AND {mine} AND NOT {over} \
         RETURNING s.{ends}) SELECT 1::bigint AS code, 0::bigint AS fence, 0::bigint AS remaining, \
         0::bigint AS awaited FROM u",
    ))];
    says
}

/// What all tables have in common; `insert` makes a row or changes the one that is there.
fn says(table: &Table, columns: &Columns, insert: &str) -> Says {
    let ask = |sql: &str| Step::Ask(columns.text(table, sql));
    let row = "0::bigint AS awaited FROM u AS s";
    let update = |set: &str| {
        ask(&format!(
            "WITH u AS (UPDATE {{table}} AS s SET {set} WHERE s.{{key}} = :key AND {{mine}} \
             AND NOT {{over}} RETURNING s.*) \
             SELECT 1::bigint AS code, {{fence}} AS fence, 0::bigint AS remaining, {row}"
        ))
    };
    let acquire = ask(&format!(
        "WITH u AS ({insert} WHERE {{over}} OR {{mine}} RETURNING s.*) \
         SELECT 1::bigint AS code, {{fence}} AS fence, 0::bigint AS remaining, {row} \
         UNION ALL SELECT 0::bigint, {{fence}}, {{remaining}}, 0::bigint FROM {{table}} AS s \
         WHERE s.{{key}} = :key AND NOT EXISTS (SELECT 1 FROM u)"
    ));
    let verify =
        ask("SELECT 1::bigint AS code, {fence} AS fence, 0::bigint AS remaining, 0::bigint AS awaited \
         FROM {table} AS s WHERE s.{key} = :key AND {mine} AND NOT {over}");
    Says {
        there: ask(
            "SELECT coalesce((SELECT min(CASE atttypmod WHEN -1 THEN 6 ELSE atttypmod END) >= {digits} \
             FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname IN ({moments})), true)::int::bigint \
             AS code, 0::bigint AS fence, 0::bigint AS remaining, 0::bigint AS awaited FROM (SELECT count(*) FROM {table} WHERE {key} = '') AS s",
        ),
        acquire: vec![acquire],
        renew: vec![update("{ends} = {until}")],
        verify: vec![verify],
        release: vec![update("{ends} = {now}")],
        keep: vec![update("{ends} = {kept}, {owner} = {nobody}")],
    }
}
