//! The arguments, and what the help says of them.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::store::Patience;

/// Locks for scripts: run a command while holding a lock, see who holds one, take one away.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, max_term_width = 100, after_help = ENVIRONMENT, subcommand_required = true)]
pub(crate) struct Args {
    /// The store of the locks, by default lock files in a folder of your own
    ///
    /// "file:" is $XDG_STATE_HOME/tenure/locks, or else ~/.local/state/tenure/locks;
    /// "file:///var/lib/locks" and "file:locks" are those folders, made if need be. Used instead of
    /// TENURE_STORE.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Exec(Exec),
    Status(StatusOf),
    Break(Break),
}

/// Run a command while holding a lock
///
/// Waits for the lock NAME, runs CMD while holding it, and ends with CMD's status. Signals are passed
/// on to CMD, which has a process group of its own. If tenure is killed, CMD is killed with it (on
/// Linux; unless CMD changes its credentials, as sudo does).
///
/// On files, without --ttl, the lock has no lease: it is held for as long as tenure, CMD or anything
/// that CMD started and left behind is alive, even if it hangs (as with flock(1); see --close). With
/// --ttl, or on a store that cannot see its holders, the lock is a lease that is renewed until CMD
/// ends; what CMD leaves behind does not keep it.
///
/// If the lock is lost, or a lease is not renewed in time, CMD's process group is told to end
/// (SIGTERM), at the latest 5 s or a third of the lease before it ends, and killed (SIGKILL) half a
/// second or a sixth of the lease before that. A tenure that is itself stopped (SIGSTOP) cannot do so:
/// have whatever CMD writes to compare TENURE_FENCE.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "tenure exec [OPTIONS] NAME [--] CMD...\n       tenure exec [OPTIONS] NAME -c COMMAND",
    after_help = "See --help for the exit statuses and for examples.",
    after_long_help = EXEC_HELP
)]
pub(crate) struct Exec {
    /// Wait at most this long ("10s", "500ms", "0") and end with the status for busy then; waits for
    /// ever by default
    #[arg(short, long, value_name = "D", value_parser = duration, conflicts_with = "no_wait")]
    wait: Option<Duration>,
    /// Do not wait: end with the status for busy if somebody holds the lock
    #[arg(short, long)]
    no_wait: bool,
    /// The exit status if somebody holds the lock, 0 to 255; 75 by default
    #[arg(short = 'E', long = "busy-status", visible_alias = "conflict-exit-code", value_name = "N")]
    pub(crate) busy_status: Option<u8>,
    /// Say nothing if somebody holds the lock
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Hold the lock on a lease of this length that is renewed all the time, so that a tenure that hangs
    /// loses it; 10ms to TENURE_MAX_TTL
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// Keep the name taken until this long after the grant, even if CMD ends sooner; implies --close
    ///
    /// For a job that is due on several hosts at about the same time, and must run once. Not kept if
    /// tenure is killed.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) at_least: Option<Duration>,
    /// Do not let CMD and what it starts inherit the lock: it is released when CMD ends
    #[arg(short = 'o', long)]
    pub(crate) close: bool,
    /// What `tenure status` shows as the holder; host name and process id by default
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Run this text in $SHELL, or else in /bin/sh
    #[arg(short, long, value_name = "COMMAND", conflicts_with = "words")]
    command: Option<OsString>,
    /// The lock
    pub(crate) name: String,
    /// The command and its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, required_unless_present = "command")]
    words: Vec<OsString>,
}

impl Exec {
    pub(crate) fn patience(&self) -> Patience {
        match self.wait {
            _ if self.no_wait => Patience::No,
            Some(Duration::ZERO) => Patience::No,
            Some(limit) => Patience::AtMost(limit),
            None => Patience::Forever,
        }
    }

    /// The command and its arguments.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let Some(text) = &self.command else { return self.words.clone() };
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        vec![shell.unwrap_or_else(|| "/bin/sh".into()), "-c".into(), text.clone()]
    }
}

/// Show who holds locks
///
/// Shows the lock NAME, or all locks that are held, with their holders, since when and for how long
/// (- without a lease), and their fences. Risks of the store are told on the standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  0   the lock is held; without NAME, always
  1   the lock is free
  69  the store does not answer
  64, 78  wrong arguments or settings")]
pub(crate) struct StatusOf {
    /// One JSON object per line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Only locks whose names start with this
    #[arg(long, value_name = "TEXT", conflicts_with = "name")]
    pub(crate) prefix: Option<String>,
    /// The lock
    pub(crate) name: Option<String>,
}

/// Take a lock away from its holder
///
/// The holder learns of it within seconds (TENURE_RECHECK, or a third of its lease), and `tenure exec`
/// then ends its command. The name stays closed until the holder has let go, has ended, or its lease has
/// run out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  0   the lock was broken
  1   nobody held it
  69  the store does not answer
  64, 78  wrong arguments or settings")]
pub(crate) struct Break {
    /// Why, for whoever looks at the lock
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Open the name at once, although the holder may still be at work; only the comparison of fences
    /// then keeps the two apart
    #[arg(long)]
    pub(crate) now: bool,
    /// The lock
    pub(crate) name: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, such as 500ms, 10s or \"1h 30m\""))
}

const ENVIRONMENT: &str = "\
Environment:
  TENURE_STORE    the store, if --store does not name it
  TENURE_PREFIX   what stands before every name in the store, \"lock:\" by default
  TENURE_LEASE    the lease on stores that need one, 30s by default
  TENURE_MAX_TTL  the longest --ttl, 1h by default; the same for all who share a store
  TENURE_RECHECK  how often to look at what should have been told, 5s by default";

const EXEC_HELP: &str = "\
Exit status:
  that of CMD, or 128 + N if signal N ended it; otherwise
  64   wrong arguments
  69   the store does not answer, or grants nothing for now
  71   the system refused to start something
  75   somebody holds the lock (another status with -E)
  76   the lock was lost: CMD was ended for that reason, or ran while somebody else may have held it
  78   a setting, a URL or a folder that cannot work
  126  CMD cannot be run
  127  CMD was not found

Environment:
  TENURE_FENCE  (set for CMD) a number that grows with every grant of the lock: store it with what
                CMD writes, and refuse a smaller one
  TENURE_LOCK   (set for CMD) NAME
  TENURE_STORE  the store, if --store does not name it; see `tenure --help` for more

Examples:
  tenure exec backup -- rsync -a /home /mnt       waits for its turn
  tenure exec -n backup -- ./backup.sh            status 75 if it is running already
  tenure exec -w 10s -E 0 backup -- ./backup.sh   gives up after 10 s, and calls that success
  tenure exec --at-least 1m -n nightly -- ./job   once, although the hosts' clocks differ
  tenure exec deploy -c './build && ./push'       a line for the shell";
