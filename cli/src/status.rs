//! `tenure status`: who holds what.

use serde_json::{Value, json};
use tenure::{Holder, Mode, Name};

use crate::args::StatusOf;
use crate::failure::{Failure, warn};
use crate::show::{plain, print, rough};
use crate::store::Store;

/// The status of `tenure status NAME` for a lock that nobody holds.
const FREE: u8 = 1;

pub(crate) fn run(of: &StatusOf, store: Option<&str>) -> Result<u8, Failure> {
    let name = of.name.as_deref().map(Name::new).transpose()?;
    let store = Store::open(store)?;
    for advice in store.diagnose() {
        warn(&advice.to_string());
    }
    let inspect = store.inspect()?;
    let holders = match &name {
        Some(name) => inspect.inspect(name)?.into_iter().collect(),
        None => inspect.list(of.prefix.as_deref().unwrap_or_default())?,
    };
    match name.filter(|_| holders.is_empty()) {
        Some(free) if of.json => print(&format!("{}\n", json!({ "name": free.as_str(), "held": false })))?,
        Some(free) => print(&format!("{} is free\n", plain(free.as_str())))?,
        None if of.json => {
            print(&holders.iter().map(|holder| format!("{}\n", object(holder))).collect::<String>())?;
        }
        None => print(&table(&holders))?,
    }
    Ok(if of.name.is_some() && holders.is_empty() { FREE } else { 0 })
}

fn table(holders: &[Holder]) -> String {
    let head = ["NAME", "HOLDER", "SINCE", "LEFT", "FENCE", ""].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(holders.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", [cells.join("  "), row[5].clone()].join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(holder: &Holder) -> [String; 6] {
    let none = || "-".to_owned();
    [
        plain(holder.name().as_str()),
        Some(plain(holder.label())).filter(|label| !label.is_empty()).unwrap_or_else(none),
        since(holder).unwrap_or_else(none),
        holder.remaining().map_or_else(none, rough),
        holder.fence().get().to_string(),
        holder.breaking().map(|reason| format!("broken: {}", plain(reason))).unwrap_or_default(),
    ]
}

/// When it was granted, by the store's clock.
pub(crate) fn since(holder: &Holder) -> Option<String> {
    holder.since().map(|since| humantime::format_rfc3339_seconds(since).to_string())
}

fn object(holder: &Holder) -> Value {
    json!({
        "name": holder.name().as_str(),
        "held": true,
        "holder": holder.label(),
        "since": since(holder),
        "remaining_seconds": holder.remaining().map(|left| left.as_secs_f64()),
        "fence": holder.fence().get(),
        "mode": match holder.mode() {
            Mode::Exclusive => "exclusive",
            Mode::Shared => "shared",
            _ => "permit",
        },
        "broken": holder.breaking(),
    })
}
