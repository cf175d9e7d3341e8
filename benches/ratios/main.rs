//! `cargo bench`: what a lock costs, as ratios against raw primitives measured in the same run.
//!
//! Absolute times depend on the machine and its load and mean nothing alone; they stand in brackets
//! only so that a strange ratio can be understood. Sections can be chosen: `cargo bench -- pairs`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints what it measures")]

mod counting;
mod crowd;
mod engine;
mod fairness;
mod handoff;
mod measure;
mod pairs;

fn main() {
    if crowd::play() {
        return;
    }
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sections: [(&str, fn()); 4] = [
        ("pairs", pairs::run),
        ("handoff", handoff::run),
        ("fairness", fairness::run),
        ("engine", engine::run),
    ];
    println!("{}", measure::machine());
    for (name, section) in sections {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            println!("\n## {name}");
            section();
        }
    }
}
