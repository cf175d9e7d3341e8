//! Tasks of those who work on tenure: `cargo xtask TASK`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its user")]

mod features;
mod fuzz;
mod interop;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

/// What the tests need beyond cargo, as Debian packages: `flock(1)` and `setpriv`, `ps`, `script`, servers,
/// and the clients of databases as libraries.
const PACKAGES: &[&str] = &[
    "util-linux",
    "procps",
    "bsdutils",
    "openssl",
    "redis-server",
    "memcached",
    "postgresql",
    "pgbouncer",
    "libpq-dev",
    "mariadb-server",
    "libmariadb-dev",
];

const USAGE: &str = "\
cargo xtask test [ARGS..]    install what the tests need (Debian), then run them all
cargo xtask install          install only that
cargo xtask outside          build and run a crate that uses tenure from outside of the workspace
cargo xtask models [MODEL]   try out how threads and time get in each other's way, for two seconds a model;
                             --seconds N or --iterations N for more, --schedule S to repeat a failure
cargo xtask bench [ARGS..]   print ratios against raw primitives, measured in one run
cargo xtask matrix [NAME..]  judge mutants, and keep conformance/MUTANTS.md: new faults and new cases, or
                             those that are named, or `all`, which takes half an hour
cargo xtask faults [CELL]    let every kind of store fail in every way, for half a minute a cell; --seconds N for
                             more, --seed N to repeat a cell as far as chance goes
cargo xtask deny             check licences and sources (needs cargo-deny)
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match task {
        // What is asked for comes last, so that this ends with its summary.
        "test" => install(PACKAGES)
            .and_then(|()| interop::prepare())
            .and_then(|()| outside())
            .and_then(|()| if rest.is_empty() { models(&[]) } else { Ok(()) })
            .and_then(|()| smoke(rest))
            .and_then(|()| test(rest)),
        "install" => install(PACKAGES),
        "outside" => outside(),
        "models" => models(rest),
        "bench" => run(cargo().args(["bench", "--package", "tenure"]).args(rest)),
        "matrix" => run(cargo()
            .args(["run", "--package", "tenure-conformance", "--example", "matrix", "--"])
            .args(rest)),
        "features" => features::features().map(|features| println!("{features}")),
        "fuzz" => fuzz::fuzz(rest),
        "interop" => interop::interop(rest),
        "faults" => faults(rest),
        "deny" => run(cargo().args(["deny", "check", "bans", "licenses", "sources"])),
        "help" | "--help" | "-h" => {
            println!("{USAGE}{}{}{}", features::USAGE, fuzz::USAGE, interop::USAGE);
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
    tests.args(["test", "--workspace", "--locked", "--features", &features::features()?]).args(args);
    // Here nothing may be skipped for want of a server.
    tests.env("CONFORMANCE_REQUIRE", env::var("CONFORMANCE_REQUIRE").unwrap_or_else(|_| "all".into()));
    run(&mut tests)
}

/// A quarter of a minute of cases that no run before had; not if only some tests were asked for.
fn smoke(args: &[String]) -> Result<(), String> {
    if args.is_empty() { fuzz::fuzz(&["--seconds".into(), "15".into()]) } else { Ok(()) }
}

/// Stays in each cell of the tables of faults for longer than a test does.
fn faults(args: &[String]) -> Result<(), String> {
    let mut tests = cargo();
    tests.args(["test", "--package", "tenure-redis", "--package", "tenure-memcached", "--all-features"]);
    tests.args(["--test", "table", "--locked", "--"]);
    tests.env("TENURE_FAULTS_SECONDS", "30");
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix("--") {
            Some(option @ ("seconds" | "seed")) => {
                let value = args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"))?;
                tests.env(format!("TENURE_FAULTS_{}", option.to_uppercase()), value);
            }
            _ => drop(tests.arg(arg)),
        }
    }
    run(&mut tests)
}

/// Runs the models, which need a build of their own.
fn models(args: &[String]) -> Result<(), String> {
    let root = root()?;
    let mut models = cargo();
    models.args([
        "test",
        "--profile",
        "models",
        "--package",
        "tenure-models",
        "--test",
        "models",
        "--locked",
        "--",
    ]);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix("--") {
            Some(option @ ("seconds" | "iterations" | "schedule")) => {
                let value = args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"))?;
                models.env(format!("TENURE_MODELS_{}", option.to_uppercase()), value);
            }
            _ => drop(models.arg(arg)),
        }
    }
    let flags = env::var("RUSTFLAGS").unwrap_or_default() + " --cfg tenure_shuttle";
    run(models.env("RUSTFLAGS", flags.trim()).env("CARGO_TARGET_DIR", root.join("target/models")))
}

/// Builds a crate as a user has it: outside of the workspace, with default features.
fn outside() -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the outside crate cannot be written: {error}");
    let root = root()?;
    let folder = env::temp_dir().join(format!("tenure-outside-{}", std::process::id()));
    fs::create_dir_all(folder.join("src")).map_err(failed)?;
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         tenure = {{ path = {:?} }}\n\n[workspace]\n",
        root.display().to_string()
    );
    fs::write(folder.join("Cargo.toml"), manifest).map_err(failed)?;
    fs::write(folder.join("src/main.rs"), OUTSIDE).map_err(failed)?;
    // The same versions as here, so that nothing is looked up.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).map_err(failed)?;
    let target = root.join("target/outside");
    let ran = run(cargo().args(["run", "--quiet"]).env("CARGO_TARGET_DIR", target).current_dir(&folder));
    let _ = fs::remove_dir_all(&folder);
    ran
}

const OUTSIDE: &str = r##"#![deny(warnings)]

use tenure::prelude::*;
use tenure::{Files, LocMem, Result};

#[derive(Lockable)]
#[lockable(model = "outside.record", key = id)]
struct Record {
    id: u32,
}

impl Record {
    #[tenure::lock_model(blocking = false)]
    fn touch(&self) -> Result<u32> {
        Ok(self.id)
    }
}

#[tenure::lock("outside:{id}", on = store, held = held)]
fn named(store: &LocMem, id: u32) -> Result<()> {
    assert_eq!(held.name(), format!("outside:{id}"));
    Ok(())
}

fn main() -> Result<()> {
    let store = LocMem::for_this_process_only();
    let held = Lock::new(&store, "global").try_acquire()?;
    held.release()?;
    let folder = std::env::temp_dir().join(format!("tenure-outside-locks-{}", std::process::id()));
    let store = Files::open(&folder)?;
    let held = Lock::new(&store, "global").try_acquire()?;
    held.release()?;
    let _ = std::fs::remove_dir_all(folder);
    let store = LocMem::for_this_process_only();
    named(&store, 7)?;
    tenure::install(store)?;
    Record { id: 7 }.touch()?;
    lock_model!(Record { id: 7 })?.release()
}
"##;

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

/// The folder of the workspace.
fn root() -> Result<&'static Path, String> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace around xtask")?)
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
