//! Telling those who wait, and nobody if nobody does.

use std::thread;
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, NoTls};
use tenure_core::{Lock, Settings};
use tenure_servers::{self as servers, Outcome, Stop, Test};

use crate::support::{Database, SOON, builder, eventually, open};

pub(crate) const TESTS: &[Test] = servers::tests![
    who_releases_in_postgres_notifies_only_if_somebody_waits,
    who_releases_in_sqlite_writes_beside_it_only_if_somebody_waits,
    waiters_are_told_although_they_would_not_look_for_an_hour,
    those_who_wait_in_a_room_come_in_turn_and_leave_nothing_behind,
    waiters_of_a_file_that_was_removed_are_served_all_the_same,
];

/// Waiters who are not told wait for an hour.
fn patient() -> Outcome<Settings> {
    Ok(Settings::default().with_recheck(Duration::from_secs(3600))?.with_sleep(Duration::from_secs(60))?)
}

fn who_releases_in_postgres_notifies_only_if_somebody_waits() -> Outcome {
    let server = servers::postgres()?;
    let failed = |error: postgres::Error| Stop::failed(error.to_string());
    let mut ear = Client::connect(&server.url(), NoTls).map_err(failed)?;
    ear.batch_execute("LISTEN tenure_lock").map_err(failed)?;
    let mut heard =
        |time| ear.notifications().timeout_iter(time).next().map(|heard| heard.is_some()).map_err(failed);
    let (store, other) = (open(&server.url())?, open(&server.url())?);
    for _ in 0..20 {
        Lock::new(&store, "job").try_acquire()?.release()?;
    }
    let held = Lock::new(&store, "job").try_acquire()?;
    assert!(Lock::new(&other, "job").try_acquire().is_err());
    held.release()?;
    assert!(!heard(Duration::from_millis(200))?, "nobody waited");
    let held = Lock::new(&store, "job").try_acquire()?;
    thread::scope(|scope| -> Outcome {
        let waiter = scope.spawn(|| Lock::new(&other, "job").acquire_for(SOON));
        let awaited = "SELECT 1 FROM tenure_lock WHERE awaited > 0";
        eventually("somebody waits", || server.sql(awaited).is_ok_and(|found| !found.trim().is_empty()));
        held.release()?;
        waiter.join().expect("no thread panics")?.release()?;
        Ok(())
    })?;
    assert!(heard(SOON)?, "somebody waited");
    Ok(())
}

fn who_releases_in_sqlite_writes_beside_it_only_if_somebody_waits() -> Outcome {
    let database = Database::sqlite()?;
    let beside = format!("{}-wake", database.url().trim_start_matches("sqlite:"));
    let (store, other) = (open(&database.url())?, open(&database.url())?);
    for _ in 0..20 {
        Lock::new(&store, "job").try_acquire()?.release()?;
    }
    assert!(std::fs::metadata(&beside).is_err(), "nobody waited");
    let held = Lock::new(&store, "job").try_acquire()?;
    thread::scope(|scope| -> Outcome {
        let waiter = scope.spawn(|| Lock::new(&other, "job").acquire_for(SOON));
        eventually("somebody waits", || std::fs::metadata(&beside).is_ok());
        held.release()?;
        waiter.join().expect("no thread panics")?.release()?;
        Ok(())
    })
}

fn waiters_are_told_although_they_would_not_look_for_an_hour() -> Outcome {
    for database in Database::all()? {
        let store = builder(&database.url()).settings(patient()?).connect()?;
        let other = builder(&database.url()).settings(patient()?).connect()?;
        for round in 0..5 {
            let held = Lock::new(&store, "job").ttl(Duration::from_secs(600)).try_acquire()?;
            thread::scope(|scope| -> Outcome {
                let waiters: Vec<_> = (0..2)
                    .map(|_| scope.spawn(|| Lock::new(&other, "job").acquire_for(SOON)?.release()))
                    .collect();
                thread::sleep(Duration::from_millis(20 * round));
                held.release()?;
                waiters.into_iter().try_for_each(|waiter| Ok(waiter.join().expect("no thread panics")?))
            })?;
        }
    }
    Ok(())
}

fn those_who_wait_in_a_room_come_in_turn_and_leave_nothing_behind() -> Outcome {
    let server = servers::mariadb()?;
    let stores = (0..4).map(|_| open(&server.url())).collect::<Result<Vec<_>, _>>()?;
    thread::scope(|scope| -> Outcome {
        let compete = |store| -> Outcome {
            for _ in 0..10 {
                let held = Lock::new(store, "job").acquire_for(SOON)?;
                thread::sleep(Duration::from_millis(1));
                held.release()?;
            }
            Ok(())
        };
        let threads: Vec<_> = stores.iter().map(|store| scope.spawn(move || compete(store))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    drop(stores);
    let sessions =
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = 'test' AND ID <> CONNECTION_ID()";
    eventually("their sessions end", || server.sql(sessions).is_ok_and(|count| count.trim() == "0"));
    Ok(())
}

fn waiters_of_a_file_that_was_removed_are_served_all_the_same() -> Outcome {
    let database = Database::sqlite()?;
    let beside = format!("{}-wake", database.url().trim_start_matches("sqlite:"));
    let settings = Settings::default().with_recheck(Duration::from_millis(300))?;
    let (store, other) = (open(&database.url())?, builder(&database.url()).settings(settings).connect()?);
    let held = Lock::new(&store, "job").try_acquire()?;
    thread::scope(|scope| -> Outcome {
        let waiter = scope.spawn(|| Lock::new(&other, "job").acquire_for(SOON));
        eventually("somebody waits", || std::fs::remove_file(&beside).is_ok());
        held.release()?;
        waiter.join().expect("no thread panics")?.release()?;
        Ok(())
    })
}
