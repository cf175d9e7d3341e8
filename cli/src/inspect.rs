//! `tenure status` and `tenure break`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tenure::{AnyBackend, Backend, Breaking, Error, Holder, Inspect, Name, Result};

use crate::store::Store;
use crate::{args, plain, status};

pub(crate) fn show(args: &args::Status) -> Result<ExitCode> {
    let store = Store::open(&args.store)?.into_any();
    for advice in store.diagnose() {
        eprintln!("tenure: {}: {}", plain(store.site().label()), plain(&advice.to_string()));
    }
    let inspect = inspector(&store)?;
    let holders = match &args.name {
        Some(name) => inspect.inspect(&Name::new(name.as_str())?)?.into_iter().collect(),
        None => inspect.list(args.prefix.as_deref().unwrap_or(""))?,
    };
    if args.json {
        holders.iter().for_each(|holder| println!("{}", object(holder)));
    } else if holders.is_empty() {
        println!("{}", if args.name.is_some() { "free" } else { "nothing is locked" });
    } else {
        table(&holders);
    }
    Ok(ExitCode::from(if args.name.is_some() && holders.is_empty() { status::FREE } else { 0 }))
}

pub(crate) fn force(args: &args::Break) -> Result<ExitCode> {
    let store = Store::open(&args.store)?.into_any();
    let breaking = if args.now { Breaking::Now } else { Breaking::Safe };
    let name = Name::new(args.name.as_str())?;
    let Some(holder) = inspector(&store)?.force_release(&name, breaking, &args.reason)? else {
        eprintln!("tenure: {}: nobody holds it", plain(&args.name));
        return Ok(ExitCode::from(status::FREE));
    };
    let whose = plain(holder.label());
    match (breaking, holder.remaining()) {
        (Breaking::Now, _) => {
            println!(
                "taken from {whose} and open now; {whose} may still be at work, only fences tell them apart"
            );
        }
        (Breaking::Safe, Some(left)) => {
            println!("taken from {whose}; open when it has let go, in {} at the latest", human(left));
        }
        (Breaking::Safe, None) => println!("taken from {whose}; open when it has let go or ended"),
    }
    Ok(ExitCode::SUCCESS)
}

fn inspector(store: &AnyBackend) -> Result<&dyn Inspect> {
    store.inspect().ok_or_else(|| Error::misconfigured("this store cannot tell who holds its locks"))
}

fn table(holders: &[Holder]) {
    let header = ["NAME", "HOLDER", "SINCE", "LEFT", "FENCE", ""].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(holders.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn row(holder: &Holder) -> [String; 6] {
    let since = holder.since().and_then(|since| SystemTime::now().duration_since(since).ok());
    [
        plain(holder.name().as_str()),
        plain(holder.label()),
        since.map_or_else(String::new, |since| format!("{} ago", human(since))),
        holder.remaining().map_or_else(|| "-".into(), human),
        holder.fence().to_string(),
        holder.breaking().map_or_else(String::new, |reason| format!("broken: {}", plain(reason))),
    ]
}

fn object(holder: &Holder) -> serde_json::Value {
    let micros =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_micros());
    json!({
        "name": holder.name().as_str(),
        "holder": holder.label(),
        "since_unix_us": holder.since().map(|since| u64::try_from(micros(since)).unwrap_or(u64::MAX)),
        "remaining_ms": holder.remaining().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        "fence": holder.fence().get(),
        "broken": holder.breaking(),
    })
}

/// A time to the tenth of a second, or to the second if it is long.
fn human(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}
