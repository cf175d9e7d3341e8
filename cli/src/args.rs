//! What can be asked, and the help for it.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args as Arguments, Parser, Subcommand};

use crate::status;

/// Locks for commands, on one host or many.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Run a command while holding a lock
    #[command(after_long_help = EXEC_HELP)]
    Exec(Exec),
    /// Show who holds a lock, or all locks that are held
    Status(Status),
    /// Take a lock away from its holder
    #[command(after_long_help = BREAK_HELP)]
    Break(Break),
}

#[derive(Debug, Arguments)]
pub(crate) struct Store {
    /// The store, such as file:///var/lib/locks; by default files in your own state folder
    #[arg(long, value_name = "URL", env = "TENURE_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) store: Store,

    /// Wait at most this long, such as 500ms, 10s or "1h 30m"; by default as long as it takes
    #[arg(short, long, value_name = "TIME", value_parser = duration, conflicts_with = "no_wait")]
    pub(crate) wait: Option<Duration>,

    /// Do not wait: if the lock is busy, end with the status of --busy-status
    #[arg(short, long, visible_alias = "nonblock")]
    pub(crate) no_wait: bool,

    /// The exit status when the lock is busy
    #[arg(short = 'E', long = "busy-status", visible_alias = "conflict-exit-code", value_name = "STATUS",
          default_value_t = status::BUSY)]
    pub(crate) busy: u8,

    /// Hold the lock on a lease of this length, renewed while the command runs; the command is ended
    /// before a lease that could not be renewed runs out
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,

    /// Keep the lock taken for at least this long, however soon the command ends
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) at_least: Option<Duration>,

    /// Release the lock when the command ends, even if it leaves processes running
    #[arg(short = 'o', long)]
    pub(crate) close: bool,

    /// The name of the lock: any text
    pub(crate) name: String,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) store: Store,

    /// Show only locks whose names begin with this
    #[arg(long, value_name = "TEXT", conflicts_with = "name")]
    pub(crate) prefix: Option<String>,

    /// Print one JSON object a lock
    #[arg(long)]
    pub(crate) json: bool,

    /// The lock to show; without it all that are held. Ends with status 1 if it is free
    pub(crate) name: Option<String>,
}

#[derive(Debug, Arguments)]
pub(crate) struct Break {
    #[command(flatten)]
    pub(crate) store: Store,

    /// Why, for those who look at the lock
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,

    /// Open the lock at once, although its holder may still be at work
    #[arg(long)]
    pub(crate) now: bool,

    /// The lock to break. Ends with status 1 if nobody holds it
    pub(crate) name: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" => Ok(Duration::ZERO),
        text => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write a time such as 500ms, 10s or \"1h 30m\"")),
    }
}

const EXEC_HELP: &str = "\
The command runs in a process group of its own, with the terminal if there is one, and gets the signals
that tenure gets. It finds the lock's name in TENURE_LOCK and the number of the grant, which is larger than
that of every earlier one, in TENURE_FENCE; give that number to whatever the lock protects.

Without --ttl, a lock in files is held as flock(1) holds it: for as long as the command or anything that it
started lives, and has not closed the inherited descriptor. If tenure is killed, the command is killed with
it, and the lock is free as soon as nothing of it lives. A command that hangs keeps the lock.

With --ttl, and on stores that cannot tell whether a holder lives, the lock is a lease that tenure renews.
If it cannot be renewed, the command's process group gets SIGTERM a third of the lease (5 s at most) before
the lease is over, and SIGKILL a sixth of it (500 ms at most) before, so that nothing runs on without the
lock. A stopped tenure can neither renew nor end the command. Anything that the command moves to a process
group of its own is not ended.

If the lock is taken away with `tenure break`, the command gets SIGTERM, and SIGKILL a third of the lease
(5 s at most) later; the lock is free once it is gone.

Exit status:
  the command's own, or 128 + n if signal n ended it
   64  the arguments make no sense
   69  the store did not answer
   75  the lock is busy (-E sets another)
   76  the lock was lost while the command ran
   78  a setting, a URL or a name cannot work
  126  the command cannot be executed
  127  the command was not found

Environment:
  TENURE_STORE             the store, if --store is not given
  TENURE_PREFIX, TENURE_LEASE, TENURE_RECHECK, ..   settings of the store

Examples:
  tenure exec nightly-report -- ./report.sh
  tenure exec --no-wait nightly-report -- ./report.sh || echo busy
  tenure exec --at-least 1m --no-wait nightly-report -- ./report.sh   # from six crontabs
  tenure exec --ttl 30s --store file:///srv/locks deploy -- make deploy";

const BREAK_HELP: &str = "\
The holder learns that its lock is lost when it looks at the store next, a third of its lease later at the
latest. Until it has let go, or its lease has run out, nobody else gets the lock: never two at once. With
--now the lock opens at once, and only fences keep the old holder and the next one apart.

Examples:
  tenure break deploy --reason 'host db3 is gone'";
