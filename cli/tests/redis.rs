//! The command on a Redis server.

use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use tenure_servers::{self as servers, Outcome, Redis};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_command_runs_under_a_lock_that_others_see_and_cannot_take,
        a_lock_is_broken_and_its_command_ended,
        what_is_risky_is_told_with_the_status,
        a_server_that_is_down_is_no_busy_lock,
    ];
    servers::run("redis", tests)
}

fn tenure(server: &Redis, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["--store", &server.url()]).args(arguments).env_remove("TENURE_STORE");
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Waits until the command's status says that a name is held.
fn held(server: &Redis, name: &str) -> Outcome {
    let until = Instant::now() + Duration::from_secs(20);
    while !tenure(server, &["status", name]).output()?.status.success() {
        assert!(Instant::now() < until, "{name} is not held");
    }
    Ok(())
}

fn a_command_runs_under_a_lock_that_others_see_and_cannot_take() -> Outcome {
    let server = servers::redis()?;
    let mut holder = tenure(&server, &["exec", "job", "--", "sleep", "60"]).spawn()?;
    held(&server, "job")?;
    let busy = tenure(&server, &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert_eq!(busy.status.code(), Some(75), "{}", out(&busy));
    let status = tenure(&server, &["status", "--json"]).output()?;
    assert!(out(&status).contains("\"name\":\"job\""), "{}", out(&status));
    holder.kill()?;
    holder.wait()?;
    let fence = tenure(&server, &["exec", "other", "--", "sh", "-c", "echo $TENURE_FENCE"]).output()?;
    assert!(out(&fence).trim().parse::<u64>().is_ok(), "{}", out(&fence));
    Ok(())
}

fn a_lock_is_broken_and_its_command_ended() -> Outcome {
    let server = servers::redis()?;
    let mut holder =
        tenure(&server, &["exec", "job", "--", "sleep", "60"]).env("TENURE_LEASE", "3s").spawn()?;
    held(&server, "job")?;
    let broken = tenure(&server, &["break", "job", "--reason", "a test"]).output()?;
    assert!(broken.status.success(), "{}", out(&broken));
    let ended = holder.wait()?;
    assert!(!ended.success(), "{ended}");
    let next = tenure(&server, &["exec", "job", "--", "true"]).output()?;
    assert!(next.status.success(), "{}", out(&next));
    Ok(())
}

fn what_is_risky_is_told_with_the_status() -> Outcome {
    let server = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"])?;
    let status = tenure(&server, &["status"]).output()?;
    assert!(out(&status).contains("noeviction") && out(&status).contains("appendonly"), "{}", out(&status));
    Ok(())
}

fn a_server_that_is_down_is_no_busy_lock() -> Outcome {
    let mut server = servers::redis()?;
    server.kill();
    let down = tenure(&server, &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert!(!down.status.success() && down.status.code() != Some(75), "{}", out(&down));
    assert!(out(&down).contains("no connection"), "{}", out(&down));
    Ok(())
}
