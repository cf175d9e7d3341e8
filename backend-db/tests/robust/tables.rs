//! The tables: made, named, dropped, of another version, and what is in them.

use std::time::Duration;

use tenure_core::{Lock, Settings};
use tenure_db::{Db, schema_sql};
use tenure_servers::{self as servers, Outcome, Stop, Test};

use crate::support::{Database, builder, eventually, open};

pub(crate) const TESTS: &[Test] = servers::tests![
    a_dropped_table_is_told_and_migrating_brings_it_back,
    newer_tables_are_refused,
    tables_made_by_hand_are_used_and_none_are_made_unasked,
    a_table_can_have_another_name,
    a_table_can_stand_in_a_schema,
    two_long_names_with_one_short_form_are_told_apart,
    unused_names_are_forgotten_and_their_fences_are_not,
    what_is_held_or_was_just_used_is_not_forgotten,
    one_lost_lock_among_many_is_found,
];

fn misconfigured(opened: tenure_core::Result<Db>, words: &str) -> Outcome {
    match opened {
        Err(error) if error.is_misconfigured() && error.to_string().contains(words) => Ok(()),
        other => Err(Stop::failed(format!("{other:?}"))),
    }
}

fn a_dropped_table_is_told_and_migrating_brings_it_back() -> Outcome {
    for database in Database::all()? {
        let store = open(&database.url())?;
        let held = Lock::new(&store, "job").try_acquire()?;
        database.sql("DROP TABLE tenure_lock")?;
        for error in
            [held.renew().err(), Lock::new(&store, "other").try_acquire().err(), held.release().err()]
        {
            let error = error.ok_or("no error without a table").map_err(Stop::failed)?;
            assert!(error.to_string().contains("migrate()") && !error.is_contended(), "{error:?}");
        }
        store.migrate()?;
        Lock::new(&store, "other").try_acquire()?.release()?;
    }
    Ok(())
}

fn newer_tables_are_refused() -> Outcome {
    for database in Database::all()? {
        let store = open(&database.url())?;
        database.sql("UPDATE tenure_lock_meta SET version = 9999")?;
        misconfigured(open(&database.url()), "version 9999")?;
        misconfigured(builder(&database.url()).migrate(false).connect(), "version 9999")?;
        assert!(store.migrate().is_err_and(|error| error.is_misconfigured()));
    }
    Ok(())
}

fn tables_made_by_hand_are_used_and_none_are_made_unasked() -> Outcome {
    for (database, kind) in Database::all()?.into_iter().zip(["sqlite", "postgres", "mysql"]) {
        misconfigured(builder(&database.url()).migrate(false).connect(), "is not there")?;
        misconfigured(open(&format!("{}?migrate=0", database.url())), "is not there")?;
        database.sql(&schema_sql(kind, "tenure_lock")?)?;
        // Twice does no harm.
        database.sql(&schema_sql(kind, "tenure_lock")?)?;
        let store = builder(&database.url()).migrate(false).connect()?;
        Lock::new(&store, "job").try_acquire()?.release()?;
    }
    Ok(())
}

fn a_table_can_have_another_name() -> Outcome {
    for database in Database::all()? {
        let (one, other) = (open(&database.url())?, builder(&database.url()).table("locks").connect()?);
        let same = open(&format!("{}?table=locks", database.url()))?;
        let held = Lock::new(&one, "job").try_acquire()?;
        let also = Lock::new(&other, "job").try_acquire()?;
        assert!(Lock::new(&same, "job").try_acquire().is_err_and(|error| error.is_contended()));
        held.release()?;
        also.release()?;
        misconfigured(builder(&database.url()).table("locks; DROP").connect(), "cannot be called")?;
    }
    Ok(())
}

fn a_table_can_stand_in_a_schema() -> Outcome {
    let server = servers::postgres()?;
    server.sql("CREATE SCHEMA app")?;
    let store = builder(&server.url()).table("app.locks").connect()?;
    let other = builder(&server.url()).table("app.locks").connect()?;
    let held = Lock::new(&store, "job").try_acquire()?;
    std::thread::scope(|scope| -> Outcome {
        let waiter = scope.spawn(|| Lock::new(&other, "job").acquire_for(Duration::from_secs(20)));
        held.release()?;
        waiter.join().expect("no thread panics")?.release()?;
        Ok(())
    })?;
    assert_eq!(server.sql("SELECT count(*) FROM app.locks")?.trim(), "1");
    Ok(())
}

fn two_long_names_with_one_short_form_are_told_apart() -> Outcome {
    for database in Database::all()? {
        let store = open(&database.url())?;
        let long = "x".repeat(1000);
        Lock::new(&store, &long).try_acquire()?.release()?;
        // As if another name had the same digest.
        database.sql("UPDATE tenure_lock SET whole = 'another name' WHERE whole IS NOT NULL")?;
        let error = Lock::new(&store, &long).try_acquire().err().ok_or("granted").map_err(Stop::failed)?;
        assert!(error.is_invalid_name(), "{error:?}");
    }
    Ok(())
}

fn unused_names_are_forgotten_and_their_fences_are_not() -> Outcome {
    for database in Database::all()? {
        let store = open(&database.url())?;
        for name in 0..20 {
            Lock::new(&store, format!("job {name}")).try_acquire()?.release()?;
        }
        let idle = Duration::from_secs(1);
        let mut forgotten = 0;
        eventually("all are forgotten", || {
            forgotten += store.forget_unused(idle).unwrap_or_default();
            forgotten == 20
        });
        // As if the clock had gone far back since.
        database.sql("UPDATE tenure_lock_meta SET last_fence = 8000000000000000")?;
        let held = Lock::new(&store, "job 1").try_acquire()?;
        assert!(held.fence().get() > 8_000_000_000_000_000, "{}", held.fence());
        assert!(store.forget_unused(Duration::from_millis(10)).is_err_and(|error| error.is_misconfigured()));
    }
    Ok(())
}

fn what_is_held_or_was_just_used_is_not_forgotten() -> Outcome {
    for database in Database::all()? {
        let store = open(&database.url())?;
        let held = Lock::new(&store, "held").ttl(Duration::from_secs(600)).try_acquire()?;
        Lock::new(&store, "used").try_acquire()?.release()?;
        assert_eq!(store.forget_unused(Duration::from_secs(3600))?, 0);
        std::thread::sleep(Duration::from_millis(1100));
        Lock::new(&store, "used").try_acquire()?.release()?;
        assert_eq!(store.forget_unused(Duration::from_secs(1))?, 0);
        held.renew()?;
        held.release()?;
    }
    Ok(())
}

fn one_lost_lock_among_many_is_found() -> Outcome {
    for database in Database::all()? {
        let settings = Settings::default().with_lease(Duration::from_secs(3))?;
        let store = builder(&database.url()).settings(settings).connect()?;
        let take = |number: u32| Lock::new(&store, format!("job {number}")).try_acquire();
        let all = (0..60).map(take).collect::<Result<Vec<_>, _>>()?;
        database.sql("UPDATE tenure_lock SET token = loser WHERE name LIKE '%job 17'")?;
        eventually("the lost one is found", || !all[17].is_held());
        let lost: Vec<_> =
            all.iter().filter(|held| !held.is_held()).map(|held| (held.name(), held.status())).collect();
        assert!(matches!(&lost[..], [("job 17", _)]), "{}: {lost:?}", database.url());
    }
    Ok(())
}
