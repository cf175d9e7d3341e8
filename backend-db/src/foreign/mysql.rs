//! What is said about the tables of other libraries in MariaDB and MySQL, to both alike. No I/O but for how to
//! connect.

use std::time::Duration;

use tenure_core::Result;

use super::Says;
use super::columns::{Columns, DJANGO, SHEDLOCK};
use crate::course::Step;
use crate::failure;
use crate::link::{Link, mysql::MySql};
use crate::pool::Open;
use crate::table::Table;

/// Opens connections that read moments as the other library's do: where a column is a `TIMESTAMP`, what it says
/// depends on the session's time zone, which is the server's there.
pub(super) struct AsOthers(MySql);

impl AsOthers {
    pub(super) fn new(url: &str, limit: Duration) -> Self {
        Self(MySql::new(url, limit))
    }
}

impl Open for AsOthers {
    fn open(&self) -> Result<Box<dyn Link + Send>> {
        let mut link = self.0.open()?;
        link.run("SET time_zone = @@GLOBAL.time_zone").map_err(|error| failure::error(&error))?;
        Ok(link)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

pub(super) fn shedlock(table: &Table) -> Says {
    let columns = Columns {
        names: SHEDLOCK,
        now: "UTC_TIMESTAMP(6)",
        mine: "CAST(locked_by AS BINARY) = CAST({token} AS BINARY)",
        over: "lock_until <= UTC_TIMESTAMP(6)",
        // A column may have milliseconds only, and round the rest.
        after: |span| format!("TIMESTAMPADD(MICROSECOND, {span} + 1000, UTC_TIMESTAMP(6))"),
        token: |token| format!("CONVERT({token} USING utf8mb4)"),
        fence: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', locked_at)",
        remaining: "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), lock_until)",
    };
    let floor = "TIMESTAMPADD(MICROSECOND, :floor + 1000, CAST('1970-01-01' AS DATETIME(6)))";
    // A column of milliseconds would give two the same.
    let next = format!("GREATEST({{now}}, TIMESTAMPADD(MICROSECOND, 1000, locked_at), {floor})");
    let insert = format!(
        "INSERT INTO {{table}} (name, lock_until, locked_at, locked_by) \
         VALUES (:key, {{until}}, GREATEST({{now}}, {floor}), {{token}}) ON DUPLICATE KEY UPDATE \
         locked_at = IF({{over}}, {next}, locked_at), locked_by = IF({{over}}, {{token}}, locked_by), \
         lock_until = IF({{mine}}, {{until}}, lock_until)"
    );
    says(table, &columns, &insert)
}

pub(super) fn django(table: &Table) -> Says {
    let columns = Columns {
        names: DJANGO,
        now: "UTC_TIMESTAMP()",
        // Django compares whole seconds: a row lives to the end of its last one.
        mine: "CAST(value AS BINARY) = CAST({token} AS BINARY)",
        over: "expires < UTC_TIMESTAMP()",
        after: |span| {
            format!(
                "CAST(DATE_FORMAT(TIMESTAMPADD(MICROSECOND, {span}, UTC_TIMESTAMP(6)), '%Y-%m-%d %H:%i:%s') AS DATETIME)"
            )
        },
        token: |token| format!("TO_BASE64({token})"),
        fence: "GREATEST(:floor + 1, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))",
        remaining: "TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), TIMESTAMPADD(SECOND, 1, expires))",
    };
    let mut says = says(
        table,
        &columns,
        "INSERT INTO {table} (cache_key, value, expires) VALUES (:key, {token}, {until}) ON DUPLICATE KEY UPDATE \
         value = IF({over}, {token}, value), expires = IF({mine}, {until}, expires)",
    );
    // Django's own delete leaves nothing either.
    says.release = vec![Step::Count(
        columns.text(table, "DELETE FROM {table} WHERE {key} = :key AND {mine} AND NOT {over}"),
    )];
    says
}

/// What all tables have in common; `insert` makes a row, or changes the one that is there if that is
/// somebody's whose time is over, or its own. Columns are set from left to right, and whose a row is before
/// for how long.
fn says(table: &Table, columns: &Columns, insert: &str) -> Says {
    let text = |sql: &str| columns.text(table, sql);
    let row = |code: &str, rest: &str| {
        Step::Ask(text(&format!(
            "SELECT CAST({code} AS SIGNED) AS code, CAST({{fence}} AS SIGNED) AS fence, \
             CAST({{remaining}} AS SIGNED) AS remaining, CAST(0 AS SIGNED) AS awaited \
             FROM {{table}} WHERE {{key}} = :key {rest}"
        )))
    };
    let is_mine = "{mine} AND NOT {over}";
    let update = |set: &str| format!("UPDATE {{table}} SET {set} WHERE {{key}} = :key AND {is_mine}");
    let verify = || row("1", &format!("AND {is_mine}"));
    Says {
        there: Step::Ask(text(
            "SELECT CAST(IFNULL((SELECT MIN(DATETIME_PRECISION) >= {digits} FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' \
             AND COLUMN_NAME IN ({moments})), 1) AS SIGNED) AS code, CAST(0 AS SIGNED) AS fence, \
             CAST(0 AS SIGNED) AS remaining, CAST(0 AS SIGNED) AS awaited \
             FROM (SELECT COUNT(*) FROM {table} WHERE {key} = '') AS s",
        )),
        acquire: vec![Step::Do(text(insert)), row(&format!("({is_mine})"), "")],
        renew: vec![Step::Do(text(&update("{ends} = {until}"))), verify()],
        verify: vec![verify()],
        // That a row is mine is part of each condition, so that what is counted is what was so.
        release: vec![Step::Count(text(&update("{ends} = {now}")))],
        keep: vec![Step::Count(text(&update("{ends} = {kept}, {owner} = {nobody}")))],
    }
}
