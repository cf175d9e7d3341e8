//! Two processes edit one record, again and again, and no edit is lost: `cargo run -p tenure-example-editors`.
//!
//! Each reads the record and lets time pass, as with a person before a screen. Then it takes the record's
//! lock, reads the record again, changes it, and writes it through a gate.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, thread, time::Duration};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tenure::prelude::*;
use tenure_db::{Db, Durable, Gate, Reload};

diesel::table! {
    /// Articles, whose last column is the highest fence that was ever written to the row.
    articles {
        /// The primary key.
        id -> BigInt,
        /// What editors write.
        text -> Text,
        /// How often they did.
        edits -> BigInt,
        /// See `tenure_db::Gate`.
        fence -> BigInt,
    }
}

/// The lock of an article is called `articles:pk:ID`: the derive reads what diesel is told.
#[derive(Debug, Identifiable, Queryable, Lockable)]
#[diesel(table_name = articles)]
struct Article {
    id: i64,
    text: String,
    edits: i64,
    fence: i64,
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How often each of the two edits.
const EDITS: i64 = 20;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [file, letter] => edit(Path::new(file), letter),
        _ => {
            let article = two_editors()?;
            println!("{} edits, fence {}: {}", article.edits, article.fence, article.text);
            Ok(())
        }
    }
}

/// Starts two processes of this program, and reads what has become of the record.
fn two_editors() -> Outcome<Article> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("app.db");
    let mut connection = open(&file)?;
    connection.batch_execute(
        "CREATE TABLE articles (
             id bigint NOT NULL PRIMARY KEY, text text NOT NULL, edits bigint NOT NULL, fence bigint NOT NULL
         );
         INSERT INTO articles VALUES (1, '', 0, 0);",
    )?;
    // The tables of locks are made before both of them want to.
    locks(&file)?;
    let editor = |letter: &str| Command::new(env::current_exe()?).arg(&file).arg(letter).spawn();
    for mut editor in [editor("a")?, editor("b")?] {
        if !editor.wait()?.success() {
            return Err("an editor failed".into());
        }
    }
    Ok(articles::table.find(1).first(&mut connection)?)
}

/// Adds a letter to the article, again and again.
fn edit(file: &Path, letter: &str) -> Outcome {
    let (mut connection, store) = (open(file)?, locks(file)?);
    for _ in 0..EDITS {
        let mut article: Article = articles::table.find(1).first(&mut connection)?;
        // A person thinks; meanwhile the other one edits.
        thread::sleep(Duration::from_millis(2));
        let held = lock_model!(article, on = &store, refresh = article.reload(&mut connection))?;
        article.text.push_str(letter);
        article.edits += 1;
        // If this process had been stopped since, for longer than the lease, the row would refuse this.
        Gate::of(&held).update(
            articles::table.find(article.id),
            articles::fence,
            (articles::text.eq(&article.text), articles::edits.eq(article.edits)),
            &mut connection,
        )?;
        held.release()?;
    }
    Ok(())
}

fn open(file: &Path) -> Outcome<SqliteConnection> {
    let mut connection = SqliteConnection::establish(&file.to_string_lossy())?;
    connection.batch_execute("PRAGMA busy_timeout = 5000")?;
    Ok(connection)
}

/// Locks in the application's own database, whose fences are on disk before they are granted.
fn locks(file: &Path) -> tenure::Result<Durable> {
    Db::connect(&format!("sqlite:{}", file.display()))?.durable()
}
