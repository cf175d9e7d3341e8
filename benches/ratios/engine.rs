//! Many leases kept alive by one engine.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tenure::{Files, Lock, Settings, Status};

use crate::counting::Counting;

/// A third of the default, so that ten seconds see three times the usual work.
const LEASE: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(10);

pub(crate) fn run() {
    let settings = Settings::default().with_lease(LEASE).unwrap();
    let counting = Counting::new(settings.clone());
    let held: Vec<_> =
        (0..100_000).map(|number| Lock::new(&counting, number.to_string()).acquire().unwrap()).collect();
    let before = counting.renewals();
    let share = cpu_share(|| std::thread::sleep(WATCHED));
    println!(
        "100000 leases of {LEASE:?} on a counting store: {} renewals in {WATCHED:?} in {} batches so far, \
         {share:.1} % of one cpu, longest lateness {:?}",
        counting.renewals() - before,
        counting.batches(),
        counting.longest_lateness(),
    );
    assert!(held.iter().all(|held| held.status() == Status::Held), "a lease was lost");
    drop(held);

    let folder = tempfile::tempdir().unwrap();
    let store = Files::builder(folder.path()).settings(settings).open().unwrap();
    let held: Vec<_> =
        (0..10_000).map(|number| Lock::new(&store, number.to_string()).acquire().unwrap()).collect();
    let deadlines = |held: &[Lock<Files, tenure::Held>]| held.iter().filter_map(Lock::remaining).min();
    let mut shortest = Duration::MAX;
    let share = cpu_share(|| {
        let until = Instant::now() + WATCHED;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(200));
            shortest = shortest.min(deadlines(&held).unwrap_or_default());
        }
    });
    // A lease is renewed when at least 2/3 of it less the jitter are left; what is missing is late.
    let on_time = (LEASE - (LEASE / 3).mul_f64(1.1)).mul_f64(0.99) - Duration::from_millis(2);
    println!(
        "10000 leases of {LEASE:?} on files: {share:.1} % of one cpu (with the looking on), shortest life seen \
         {shortest:?}, so a lateness of at most {:?}",
        on_time.saturating_sub(shortest)
    );
    assert!(held.iter().all(|held| held.status() == Status::Held), "a lease was lost");
}

/// The cpu time of the whole process while `work` runs, in percent of one cpu.
fn cpu_share(work: impl FnOnce()) -> f64 {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        (usage.user_time() + usage.system_time()).num_microseconds() as f64
    };
    let (before, began) = (used(), Instant::now());
    work();
    (used() - before) / began.elapsed().as_micros() as f64 * 100.0
}
