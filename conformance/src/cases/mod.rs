//! The cases, by theme.

mod cancelled;
mod contention;
mod exclusion;
mod expiry;
mod fence;
mod force;
mod fork;
mod inspect;
mod keep;
mod keeping;
mod loss;
mod names;
mod outage;
mod processes;
mod release;
mod renew;
mod restore;
mod session;
mod settings;
mod stopped;
mod threads;
mod tokens;
mod waiting;

use crate::case::Case;

const THEMES: &[&[Case]] = &[
    exclusion::CASES,
    contention::CASES,
    release::CASES,
    expiry::CASES,
    renew::CASES,
    keeping::CASES,
    keep::CASES,
    fence::CASES,
    waiting::CASES,
    loss::CASES,
    names::CASES,
    settings::CASES,
    threads::CASES,
    inspect::CASES,
    force::CASES,
    tokens::CASES,
    restore::CASES,
    session::CASES,
    processes::CASES,
    stopped::CASES,
    fork::CASES,
    outage::CASES,
    cancelled::CASES,
];

/// All cases, in the order in which they are listed.
pub fn all() -> impl Iterator<Item = &'static Case> {
    THEMES.iter().copied().flatten()
}
