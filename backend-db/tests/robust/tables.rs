//! The tables: made, named, dropped, of another version, and what is in them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Lock, Settings};
use tenure_db::{Db, schema_sql};
use tenure_servers::{self as servers, Outcome, Stop, Test};

use crate::support::{Database, builder, eventually, open};

pub(crate) const TESTS: &[Test] = servers::tests![
    a_dropped_table_is_told_and_migrating_brings_it_back,
    newer_tables_are_refused,
    tables_made_by_hand_are_used_and_none_are_made_unasked,
    the_migrations_of_diesel_make_the_same_tables_and_take_them_away,
    a_table_can_have_another_name,
    a_table_can_stand_in_a_schema,
    two_long_names_with_one_short_form_are_told_apart,
    unused_names_are_forgotten_and_their_fences_are_not,
    what_is_held_or_was_just_used_is_not_forgotten,
    a_name_is_not_forgotten_while_it_is_taken_for_the_first_time,
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

fn the_migrations_of_diesel_make_the_same_tables_and_take_them_away() -> Outcome {
    use diesel::backend::Backend;
    use diesel::{Connection, MysqlConnection, PgConnection, SqliteConnection};
    use diesel_migrations::{FileBasedMigrations, MigrationHarness};

    fn failed(error: impl std::fmt::Debug) -> Stop {
        Stop::failed(format!("{error:?}"))
    }
    fn there_and_back<DB: Backend, C: MigrationHarness<DB>>(
        mut link: C,
        kind: &str,
        database: &Database,
    ) -> Outcome {
        let migrations = || {
            let folder = format!("{}/migrations/{kind}", env!("CARGO_MANIFEST_DIR"));
            FileBasedMigrations::from_path(folder).map_err(failed)
        };
        link.run_pending_migrations(migrations()?).map_err(failed)?;
        let store = builder(&database.url()).migrate(false).connect()?;
        Lock::new(&store, "job").try_acquire()?.release()?;
        link.revert_all_migrations(migrations()?).map_err(failed)?;
        misconfigured(builder(&database.url()).migrate(false).connect(), "is not there")
    }
    for database in Database::all()? {
        let url = database.url();
        match &database {
            Database::Sqlite(_) => {
                let link = SqliteConnection::establish(url.trim_start_matches("sqlite:"));
                there_and_back(link.map_err(failed)?, "sqlite", &database)?;
            }
            Database::Postgres(_) => {
                there_and_back(PgConnection::establish(&url).map_err(failed)?, "postgres", &database)?;
            }
            Database::MariaDb(_) => {
                there_and_back(MysqlConnection::establish(&url).map_err(failed)?, "mysql", &database)?;
            }
        }
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

/// Some databases make the row first and take it then.
fn a_name_is_not_forgotten_while_it_is_taken_for_the_first_time() -> Outcome {
    for database in Database::all()? {
        let mut stores = vec![open(&database.url())?];
        if let Database::MariaDb(_) = database {
            stores.push(builder(&database.url()).plain_mysql().connect()?);
        }
        for store in stores {
            let (done, names) = (AtomicBool::new(false), AtomicUsize::new(0));
            let take = || -> tenure_core::Result<()> {
                while names.fetch_add(1, Ordering::Relaxed) < 600 {
                    let name = format!("new/{:x}", rand::random::<u128>());
                    Lock::new(&store, name).try_acquire()?.release()?;
                }
                Ok(())
            };
            thread::scope(|scope| -> Outcome {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = store.forget_unused(Duration::from_secs(1));
                    }
                });
                let takers: Vec<_> = (0..3).map(|_| scope.spawn(take)).collect();
                let taken: Vec<_> = takers.into_iter().map(thread::ScopedJoinHandle::join).collect();
                done.store(true, Ordering::Relaxed);
                taken.into_iter().try_for_each(|taken| Ok(taken.map_err(|_| Stop::failed("a thread"))??))
            })?;
        }
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
