//! `cargo bench --package tenure-bench-sql`; see the library's page.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures")]

mod database;
mod handoff;
#[path = "../ratios/measure.rs"]
mod measure;
mod pairs;
mod raw;
mod record;
mod renewals;

use database::Database;

fn main() {
    if handoff::play() {
        return;
    }
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_chosen = |name: &str, all: &[&str]| {
        let mut about = chosen.iter().filter(|chosen| all.contains(&&***chosen)).peekable();
        about.peek().is_none() || about.any(|chosen| chosen == name)
    };
    type Section = fn(&Database);
    // Hand-offs first, while no thread is kept on one cpu: children inherit that.
    let sections: [(&str, Section); 3] =
        [("handoff", handoff::run), ("pairs", pairs::run), ("renewals", renewals::run)];
    let names = sections.map(|(name, _)| name);
    println!("{}", measure::machine());
    let wanted = database::KINDS.into_iter().filter(|(name, _)| is_chosen(name, &database::NAMES));
    let mut databases = Vec::new();
    for (name, start) in wanted {
        match start() {
            Ok(database) => databases.push(database),
            Err(absent) => println!("nothing measured on {name}: {absent}"),
        }
    }
    for (name, section) in sections {
        if is_chosen(name, &names) {
            for database in &databases {
                println!("\n## {name}, {}", database.about());
                section(database);
            }
        }
    }
}
