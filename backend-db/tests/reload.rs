//! Records are read again by their primary keys.

#![cfg(feature = "sqlite")]

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tenure_db::{Reload, ReloadError};

mod schema {
    #![allow(missing_docs, reason = "the macro makes public items")]
    diesel::table! {
        lines (order_id, number) { order_id -> BigInt, number -> Integer, text -> Text, }
    }
    diesel::table! {
        notes { id -> Text, text -> Nullable<Text>, }
    }
}
use schema::{lines, notes};

#[derive(Debug, PartialEq, Identifiable, Queryable)]
#[diesel(table_name = lines, primary_key(order_id, number))]
struct Line {
    order_id: i64,
    number: i32,
    text: String,
}

#[derive(Debug, PartialEq, Identifiable, Queryable)]
#[diesel(table_name = notes)]
struct Note {
    id: String,
    text: Option<String>,
}

fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").expect("memory is a database");
    connection
        .batch_execute(
            "CREATE TABLE lines (order_id bigint, number int, text text, PRIMARY KEY (order_id, number));
             INSERT INTO lines VALUES (1, 1, 'other'), (1, 2, 'new'), (2, 2, 'other');
             CREATE TABLE notes (id text PRIMARY KEY, text text);
             INSERT INTO notes VALUES ('a', NULL), ('b', 'other');",
        )
        .expect("these are statements");
    connection
}

#[test]
fn a_record_is_read_again_by_its_whole_key() {
    let mut connection = database();
    let mut line = Line { order_id: 1, number: 2, text: "old".into() };
    line.reload(&mut connection).unwrap();
    assert_eq!(line, Line { order_id: 1, number: 2, text: "new".into() });
    let mut note = Note { id: "a".into(), text: Some("old".into()) };
    note.reload(&mut connection).unwrap();
    assert_eq!(note, Note { id: "a".into(), text: None });
}

#[test]
fn a_record_that_is_gone_or_cannot_be_read_stays_as_it_was() {
    let mut connection = database();
    let mut line = Line { order_id: 3, number: 2, text: "old".into() };
    let error = line.reload(&mut connection).unwrap_err();
    assert!(matches!(error, ReloadError::Gone), "{error:?}");
    connection.batch_execute("DROP TABLE lines").unwrap();
    let error = line.reload(&mut connection).unwrap_err();
    assert!(matches!(error, ReloadError::Database(_)), "{error:?}");
    assert_eq!(line.text, "old");
    let error = tenure_core::Error::from(error);
    assert!(error.is_unavailable() && error.is_settled(), "{error:?}");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains("read again"), "{source}");
}
