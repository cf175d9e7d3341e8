//! The command on databases.

use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_command_runs_under_a_lock_in_sqlite,
        a_command_runs_under_a_lock_in_postgres,
        a_command_runs_under_a_lock_in_mariadb,
        a_database_that_is_down_is_no_busy_lock,
    ];
    servers::run("db", tests)
}

fn tenure(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["--store", url]).args(arguments).env_remove("TENURE_STORE");
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Waits until the command's status says that a name is held.
fn held(url: &str, name: &str) -> Outcome {
    let until = Instant::now() + Duration::from_secs(20);
    while !tenure(url, &["status", name]).output()?.status.success() {
        assert!(Instant::now() < until, "{name} is not held");
    }
    Ok(())
}

/// Runs a command, is denied, sees who has the lock, and takes it away.
fn runs_is_seen_and_is_broken(url: &str) -> Outcome {
    let lease = "3s";
    let mut holder = tenure(url, &["exec", "job", "--", "sleep", "60"]).env("TENURE_LEASE", lease).spawn()?;
    held(url, "job")?;
    let busy = tenure(url, &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert_eq!(busy.status.code(), Some(75), "{}", out(&busy));
    let status = tenure(url, &["status", "--json"]).output()?;
    assert!(out(&status).contains("\"name\":\"job\""), "{}", out(&status));
    let broken = tenure(url, &["break", "job", "--reason", "a test"]).output()?;
    assert!(broken.status.success(), "{}", out(&broken));
    let ended = holder.wait()?;
    assert!(!ended.success(), "{ended}");
    let next = tenure(url, &["exec", "job", "--", "sh", "-c", "echo $TENURE_FENCE"]).output()?;
    assert!(out(&next).trim().parse::<u64>().is_ok(), "{}", out(&next));
    Ok(())
}

fn a_command_runs_under_a_lock_in_sqlite() -> Outcome {
    let folder = tempfile::tempdir()?;
    runs_is_seen_and_is_broken(&format!("sqlite:{}", folder.path().join("locks.db").display()))
}

fn a_command_runs_under_a_lock_in_postgres() -> Outcome {
    runs_is_seen_and_is_broken(&servers::postgres()?.url())
}

fn a_command_runs_under_a_lock_in_mariadb() -> Outcome {
    runs_is_seen_and_is_broken(&servers::mariadb()?.url())
}

fn a_database_that_is_down_is_no_busy_lock() -> Outcome {
    let mut server = servers::postgres()?;
    server.kill();
    let down = tenure(&server.url(), &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert!(!down.status.success() && down.status.code() != Some(75), "{}", out(&down));
    assert!(out(&down).contains("no connection"), "{}", out(&down));
    Ok(())
}
