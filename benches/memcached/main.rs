//! `cargo bench --package tenure-bench-memcached`; see the library's page.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures")]

mod handoff;
#[path = "../ratios/measure.rs"]
mod measure;
mod pairs;
mod waiting;

use tenure_memcached::Memcached as Store;
use tenure_servers::Memcached;

fn main() {
    if handoff::play() {
        return;
    }
    let server = match Memcached::with(&["-M"]) {
        Ok(server) => server,
        Err(absent) => return println!("nothing measured: {absent}"),
    };
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    type Section = fn(&Memcached);
    // Pairs last: they keep their thread on one cpu, and children inherit that.
    let sections: [(&str, Section); 3] =
        [("handoff", handoff::run), ("waiting", waiting::run), ("pairs", pairs::run)];
    println!("{}", measure::machine());
    for (name, section) in sections {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            println!("\n## {name}");
            section(&server);
        }
    }
}

/// The server is new, and would be closed for a while.
fn open(url: &str) -> Store {
    Store::builder(url).without_quarantine().connect().unwrap()
}

/// How many commands the server has been asked, but for those about itself.
fn commands(server: &Memcached) -> u64 {
    let stats = server.command("stats").unwrap();
    let count = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    count("cmd_get") + count("cmd_set")
}
