//! Tasks of those who work on tenure: `cargo xtask TASK`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

use std::env;
use std::process::{Command, ExitCode};

/// What the tests need beyond cargo, as Debian packages: `flock(1)` and `setpriv`, `ps`, `script`.
const PACKAGES: &[&str] = &["util-linux", "procps", "bsdutils"];

const USAGE: &str = "\
cargo xtask test [ARGS..]    install what the tests need (Debian), then run them all
cargo xtask bench [ARGS..]   print ratios against raw primitives, measured in one run
cargo xtask deny             check licences and sources (needs cargo-deny)
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match task {
        "test" => install(PACKAGES).and_then(|()| test(rest)),
        "bench" => run(cargo().args(["bench", "--package", "tenure"]).args(rest)),
        "deny" => run(cargo().args(["deny", "check", "bans", "licenses", "sources"])),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(format!("there is no task {other:?}\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test(args: &[String]) -> Result<(), String> {
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--all-features", "--locked"]).args(args);
    // Here nothing may be skipped for want of a server.
    tests.env("CONFORMANCE_REQUIRE", env::var("CONFORMANCE_REQUIRE").unwrap_or_else(|_| "all".into()));
    run(&mut tests)
}

/// Installs the packages that are missing; a machine that has them all needs neither root nor a network.
fn install(packages: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = packages.iter().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(&mut as_root(&["apt-get", "update", "-qq"]))?;
    let mut install = as_root(&["apt-get", "install", "-y", "-qq", "--no-install-recommends"]);
    run(install.args(missing))
}

fn is_installed(package: &str) -> bool {
    let status = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).output();
    status.is_ok_and(|status| status.stdout.starts_with(b"install ok installed"))
}

fn as_root(command: &[&str]) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
    let words: Vec<_> = if root { command.to_vec() } else { [&["sudo"], command].concat() };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} could not be started: {error}")),
    }
}
