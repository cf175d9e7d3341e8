//! The command on a memcached.

use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use tenure_servers::{self as servers, Memcached, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_command_runs_under_a_lock_that_others_see_and_cannot_take,
        a_lock_is_broken_and_its_command_ended,
        what_is_risky_is_told_with_the_status,
        a_server_that_was_just_started_is_no_busy_lock,
        a_server_that_is_down_is_no_busy_lock,
    ];
    servers::run("memcached", tests)
}

fn tenure(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["--store", url]).args(arguments).env_remove("TENURE_STORE");
    command
}

/// A server that was just started, and has nothing to wait out for whoever names it so.
fn server() -> Outcome<(Memcached, String)> {
    let server = servers::memcached()?;
    let url = format!("{}?quarantine=off", server.url());
    Ok((server, url))
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

fn a_command_runs_under_a_lock_that_others_see_and_cannot_take() -> Outcome {
    let (_server, url) = server()?;
    let mut holder = tenure(&url, &["exec", "job", "--", "sleep", "60"]).spawn()?;
    held(&url, "job")?;
    let busy = tenure(&url, &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert_eq!(busy.status.code(), Some(75), "{}", out(&busy));
    let status = tenure(&url, &["status", "--json"]).output()?;
    assert!(out(&status).contains("\"name\":\"job\""), "{}", out(&status));
    holder.kill()?;
    holder.wait()?;
    let fence = tenure(&url, &["exec", "other", "--", "sh", "-c", "echo $TENURE_FENCE"]).output()?;
    assert!(out(&fence).trim().parse::<u64>().is_ok(), "{}", out(&fence));
    Ok(())
}

fn a_lock_is_broken_and_its_command_ended() -> Outcome {
    let (_server, url) = server()?;
    let mut holder = tenure(&url, &["exec", "job", "--", "sleep", "60"]).env("TENURE_LEASE", "3s").spawn()?;
    held(&url, "job")?;
    let broken = tenure(&url, &["break", "job", "--reason", "a test"]).output()?;
    assert!(broken.status.success(), "{}", out(&broken));
    let ended = holder.wait()?;
    assert!(!ended.success(), "{ended}");
    let next = tenure(&url, &["exec", "job", "--", "true"]).output()?;
    assert!(next.status.success(), "{}", out(&next));
    Ok(())
}

fn what_is_risky_is_told_with_the_status() -> Outcome {
    let (_server, url) = server()?;
    let status = tenure(&url, &["status"]).output()?;
    assert!(out(&status).contains("-M") && out(&status).contains("forgets"), "{}", out(&status));
    Ok(())
}

fn a_server_that_was_just_started_is_no_busy_lock() -> Outcome {
    let server = servers::memcached()?;
    let closed = tenure(&server.url(), &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert!(!closed.status.success() && closed.status.code() != Some(75), "{}", out(&closed));
    assert!(
        out(&closed).contains("forgotten") && out(&closed).contains("quarantine=off"),
        "{}",
        out(&closed)
    );
    Ok(())
}

fn a_server_that_is_down_is_no_busy_lock() -> Outcome {
    let (mut server, url) = server()?;
    server.kill();
    let down = tenure(&url, &["exec", "--no-wait", "job", "--", "true"]).output()?;
    assert!(!down.status.success() && down.status.code() != Some(75), "{}", out(&down));
    assert!(out(&down).contains("no connection"), "{}", out(&down));
    Ok(())
}
