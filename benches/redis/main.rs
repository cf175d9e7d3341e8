//! `cargo bench --package tenure-bench-redis`; see the library's page.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures")]

mod handoff;
#[path = "../ratios/measure.rs"]
mod measure;
mod pairs;
mod raw;
mod renewals;

use tenure_servers::Redis;

fn main() {
    if handoff::play() {
        return;
    }
    let server = match tenure_servers::redis() {
        Ok(server) => server,
        Err(absent) => return println!("nothing measured: {absent}"),
    };
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    type Section = fn(&Redis);
    // Hand-offs first, while no thread is kept on one cpu: children inherit that.
    let sections: [(&str, Section); 3] =
        [("handoff", handoff::run), ("pairs", pairs::run), ("renewals", renewals::run)];
    println!("{}", measure::machine());
    for (name, section) in sections {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            println!("\n## {name}");
            section(&server);
        }
    }
}
