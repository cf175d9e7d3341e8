//! The `tenure` command.

#![forbid(unsafe_code)]

mod args;
mod breaking;
mod exec;
mod failure;
mod job;
mod shim;
mod show;
mod signals;
mod status;
mod stop;
mod store;
mod supervise;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|first| first == shim::NAME) {
        return shim::run(words).print();
    }
    let outcome = match Args::try_parse() {
        Ok(Args { store, command }) => match command {
            Command::Exec(exec) => exec::run(&exec, store.as_deref()),
            Command::Status(status) => status::run(&status, store.as_deref()),
            Command::Break(breaking) => breaking::run(&breaking, store.as_deref()),
        },
        Err(told) => refuse(&told),
    };
    outcome.map_or_else(|failure| failure.print(), ExitCode::from)
}

/// Prints help to the standard output, and what is wrong with the arguments in our own form.
fn refuse(told: &clap::Error) -> Result<u8, Failure> {
    match told.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // To a reader that has gone there is nothing to say.
            let _ = told.print();
            Ok(0)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = told.print();
            Ok(failure::USAGE)
        }
        _ => {
            let text = told.render().to_string();
            Err(Failure::new(failure::USAGE, text.trim_start_matches("error: ").trim_end()))
        }
    }
}
