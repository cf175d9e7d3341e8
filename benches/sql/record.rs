//! What a store says to its database, word for word.

use std::sync::Mutex;

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use tenure::Db;

use crate::database::Database;
use crate::raw::{Raw, Value};

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn recorder() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            SAID.lock().unwrap().push(query.to_string());
        }
    }))
}

/// The statements that `act` makes a store say, in order. The store is one of its own, since whatever listens
/// costs time; `prepare` makes what `act` needs, which is not listened to, and returned as well.
pub(crate) fn statements_of<T>(
    database: &Database,
    prepare: impl FnOnce(&Db) -> T,
    act: impl FnOnce(&Db, &T),
) -> (Vec<Raw>, T) {
    set_default_instrumentation(recorder).unwrap();
    let store = database.store();
    let prepared = prepare(&store);
    SAID.lock().unwrap().clear();
    act(&store, &prepared);
    let said = std::mem::take(&mut *SAID.lock().unwrap());
    set_default_instrumentation(|| None).unwrap();
    (said.iter().map(|said| read(said)).collect(), prepared)
}

/// Reads what diesel prints: the text, and the values that go into it.
fn read(said: &str) -> Raw {
    let (sql, values) = said.rsplit_once(" -- binds: ").unwrap_or((said, "[]"));
    let mut rest = values.strip_prefix('[').unwrap();
    let mut values = Vec::new();
    while !rest.starts_with(']') {
        rest = rest.trim_start_matches(", ");
        let (value, after) = value(rest);
        values.push(value);
        rest = after;
    }
    Raw::new(sql, values)
}

/// The value that a text begins with, and what is after it.
fn value(text: &str) -> (Value, &str) {
    if let Some(after) = text.strip_prefix("None") {
        return (Value::Absent, after);
    }
    if let Some(after) = text.strip_prefix('[') {
        let (bytes, after) = after.split_once(']').unwrap();
        let bytes = bytes.split(", ").filter(|byte| !byte.is_empty()).map(|byte| byte.parse().unwrap());
        return (Value::Bytes(bytes.collect()), after);
    }
    if let Some(after) = text.strip_prefix('"') {
        let (word, after) = after.split_once('"').unwrap();
        return (Value::Text(word.into()), after);
    }
    let (number, after) = text.split_at(text.find([',', ']']).unwrap());
    (Value::Number(number.parse().unwrap()), after)
}
