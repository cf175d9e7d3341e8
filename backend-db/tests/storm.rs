//! Many processes on few names and on many, under every isolation level that a server can default to: no two hold
//! a name at once, no fence goes back, and no error reaches anybody.

use std::io::Write;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tenure_core::{Lock, Moment};
use tenure_db::Db;
use tenure_servers::{self as servers, MariaDb, Outcome, Postgres, Stop};

/// What a process is told: URL, how many names, its number, and whether it speaks MySQL's own statements.
const VARIABLE: &str = "TENURE_STORM";

const PROCESSES: u32 = 8;

/// How long a storm lasts.
const TIME: Duration = Duration::from_millis(900);

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

fn main() -> ExitCode {
    if let Ok(told) = std::env::var(VARIABLE) {
        return match compete(&told) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error:?}");
                ExitCode::FAILURE
            }
        };
    }
    servers::run("storm", servers::tests![sqlite, postgres, mariadb, mysql])
}

/// Takes names at random, and prints when it had which under what fence.
fn compete(told: &str) -> tenure_core::Result<()> {
    let parts: Vec<&str> = told.split(' ').collect();
    let [url, names, number, plain] = parts[..] else { return Ok(()) };
    let names: u32 = names.parse().unwrap_or(1);
    // Errors are to be seen, and nobody is to be impatient on a busy machine.
    let builder =
        Db::builder(url).connect_timeout(Duration::from_secs(20)).io_timeout(Duration::from_secs(20));
    let store = if plain == "plain" { builder.plain_mysql() } else { builder }.connect()?;
    let mut seed: u32 = number.parse().unwrap_or(0) + 1;
    let until = Moment::now() + TIME;
    let mut held_times = String::new();
    while Moment::now() < until {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let name = (seed >> 8) % names;
        match Lock::new(&store, format!("storm {name}")).acquire_for(Duration::from_millis(300)) {
            Ok(held) => {
                let since = Moment::now().as_nanos();
                let fence = held.fence();
                std::thread::sleep(Duration::from_micros(u64::from(seed >> 24)));
                let last = Moment::now().as_nanos();
                held.release()?;
                held_times += &format!("{name} {fence} {since} {last}\n");
            }
            Err(error) if error.is_timed_out() => {}
            Err(error) => return Err(error),
        }
    }
    let _ = std::io::stdout().write_all(held_times.as_bytes());
    Ok(())
}

fn start(url: &str, names: u32, number: u32, plain: bool) -> Outcome<Child> {
    let plain = if plain { "plain" } else { "own" };
    let mut process = Command::new(std::env::current_exe()?);
    process.env(VARIABLE, format!("{url} {names} {number} {plain}"));
    Ok(process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// A grant: name, fence, and from when to when it was believed in.
type Grant = (u32, u64, u64, u64);

fn storm(url: &str, names: u32, plain: bool) -> Outcome {
    let processes =
        (0..PROCESSES).map(|number| start(url, names, number, plain)).collect::<Outcome<Vec<_>>>()?;
    let mut grants: Vec<Grant> = Vec::new();
    for process in processes {
        let output = process.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(Stop::failed(format!("an error reached a process: {said}")));
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
            let [name, fence, since, last] = numbers[..] else { continue };
            grants.push((u32::try_from(name).unwrap_or_default(), fence, since, last));
        }
    }
    judge(grants).map_err(Stop::failed)
}

fn judge(mut grants: Vec<Grant>) -> Result<(), String> {
    // Each process gets something; how much depends on the machine.
    if grants.len() < 20 {
        return Err(format!("only {} grants", grants.len()));
    }
    grants.sort_unstable();
    for pair in grants.windows(2) {
        let [(name, fence, _, last), (next_name, next_fence, since, _)] = [pair[0], pair[1]];
        if name == next_name && fence == next_fence {
            return Err(format!("fence {fence} of {name} was given twice"));
        }
        // In the order of their fences, each begins after the one before has ended.
        if name == next_name && since < last {
            return Err(format!("{name} was held twice, under fences {fence} and {next_fence}"));
        }
    }
    Ok(())
}

fn on_each(url: &str, plain: bool) -> Outcome {
    [1, 20].into_iter().try_for_each(|names| storm(url, names, plain))
}

fn sqlite() -> Outcome {
    let folder = tempfile::tempdir()?;
    on_each(&format!("sqlite:{}", folder.path().join("app.db").display()), false)
}

fn postgres() -> Outcome {
    LEVELS.into_iter().try_for_each(|level| {
        let setting = format!("default_transaction_isolation={level}");
        on_each(&Postgres::with(&[&setting])?.url(), false)
    })
}

fn on_mariadb(plain: bool) -> Outcome {
    LEVELS.into_iter().try_for_each(|level| {
        let option = format!("--transaction-isolation={}", level.to_uppercase().replace(' ', "-"));
        on_each(&MariaDb::with(&[&option])?.url(), plain)
    })
}

fn mariadb() -> Outcome {
    on_mariadb(false)
}

fn mysql() -> Outcome {
    on_mariadb(true)
}
