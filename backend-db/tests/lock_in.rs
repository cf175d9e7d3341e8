//! Locks that last as long as a transaction.

use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "postgres")]
use diesel::connection::SimpleConnection;
use tenure_core::{Error, Fence, Lock};
use tenure_db::{Borrowed, Db, ReloadError};
use tenure_servers::{Outcome, Stop};

fn main() -> ExitCode {
    let mut tests: Vec<(String, Box<dyn FnOnce() -> Outcome + Send>)> = Vec::new();
    #[cfg(feature = "sqlite")]
    tests.extend(sqlite::tests());
    #[cfg(feature = "postgres")]
    tests.extend(postgres::tests());
    #[cfg(feature = "mysql")]
    tests.extend(mariadb::tests());
    tenure_servers::run_all("databases", tests)
}

/// A database, and how an application connects to it.
struct Place<C> {
    url: String,
    connect: fn(&str) -> C,
    /// What the database ends with.
    _kept: Box<dyn std::any::Any + Sync>,
}

impl<C: Borrowed> Place<C> {
    fn store(&self) -> Outcome<Db> {
        // Whoever meets the row of an open transaction does not wait for it for long.
        Ok(Db::builder(&self.url).io_timeout(Duration::from_millis(300)).connect()?)
    }

    fn connection(&self) -> C {
        (self.connect)(&self.url)
    }

    /// What an application does, as one transaction.
    fn transaction<T>(&self, act: impl FnOnce(&mut C) -> Result<T, ReloadError>) -> Result<T, ReloadError> {
        self.connection().transaction(act)
    }
}

type Take = Result<Option<Fence>, ReloadError>;

fn take<C: Borrowed>(store: &Db, connection: &mut C, name: &str) -> Take {
    Ok(store.lock_in(connection, name)?.fence())
}

fn a_lock_lasts_until_its_transaction_ends<C: Borrowed>(place: &Place<C>) -> Outcome {
    let store = place.store()?;
    for ends_well in [true, false] {
        let mut fence = None;
        let ended = place.transaction(|connection| {
            fence = take(&store, connection, "a")?;
            let other = place.transaction(|other| take(&store, other, "a"));
            contended("another transaction", other)?;
            denied(Lock::new(&store, "a").try_acquire())?;
            // The end of a savepoint is none of the transaction.
            connection.transaction(|_| Ok::<_, ReloadError>(()))?;
            contended("a third transaction", place.transaction(|other| take(&store, other, "a")))?;
            if ends_well { Ok(()) } else { Err(diesel::result::Error::RollbackTransaction.into()) }
        });
        if ended.is_ok() != ends_well {
            return Err(failed(ended));
        }
        let Some(fence) = fence else { return Err(Stop::failed("a lock by rows has no fence")) };
        let held = Lock::new(&store, "a").try_acquire()?;
        if held.fence() <= fence {
            return Err(Stop::failed(format!("{:?} after {fence:?}", held.fence())));
        }
    }
    Ok(())
}

fn a_lease_keeps_a_transaction_out_and_leaves_it_whole<C: Borrowed>(place: &Place<C>) -> Outcome {
    let store = place.store()?;
    place.connection().batch_execute("CREATE TABLE work (n bigint)").map_err(failed)?;
    let held = Lock::new(&store, "b").try_acquire()?;
    let did = place.transaction(|connection| {
        connection.batch_execute("INSERT INTO work VALUES (1)")?;
        let began = Instant::now();
        match store.lock_in_for(connection, "b", Duration::from_millis(100)) {
            Err(error) if error.is_timed_out() && began.elapsed() >= Duration::from_millis(100) => {}
            other => return Err(odd("a wait for a lease", &other)),
        }
        contended("an attempt on a lease", take(&store, connection, "b").map(drop))?;
        connection.batch_execute("INSERT INTO work VALUES (2)")?;
        Ok(())
    });
    did.map_err(failed)?;
    // Both lines are there: this fails otherwise.
    place
        .connection()
        .batch_execute("CREATE UNIQUE INDEX one ON work (n); INSERT INTO work VALUES (0)")
        .map_err(failed)?;
    held.renew()?;
    held.release()?;
    let fence = place.transaction(|connection| take(&store, connection, "b")).map_err(failed)?;
    if fence.is_some() { Ok(()) } else { Err(Stop::failed("no fence")) }
}

fn transactions_that_wait_come_one_after_another<C: Borrowed>(place: &Place<C>) -> Outcome {
    let (store, inside) = (place.store()?, AtomicI64::new(0));
    let work = || {
        for _ in 0..15 {
            place.transaction(|connection| {
                let _lock = store.lock_in_for(connection, "c", Duration::from_secs(20))?;
                let others = inside.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
                inside.fetch_sub(1, Ordering::SeqCst);
                if others == 0 { Ok(()) } else { Err(odd("the lock was held by others", &others)) }
            })?;
        }
        Ok::<_, ReloadError>(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(failed)?.map_err(failed))
    })
}

fn it_wants_a_transaction<C: Borrowed>(place: &Place<C>) -> Outcome {
    let (store, mut connection) = (place.store()?, place.connection());
    match store.lock_in(&mut connection, "d") {
        Err(error) if error.is_misconfigured() && error.to_string().contains("transaction(") => Ok(()),
        other => Err(Stop::failed(format!("without a transaction: {other:?}"))),
    }
}

/// What the last holder wrote cannot be seen in there, so the lock would protect nothing.
#[cfg(feature = "postgres")]
fn a_transaction_that_sees_the_past_is_refused_and_goes_on(place: &Place<diesel::PgConnection>) -> Outcome {
    let store = place.store()?;
    place.connection().batch_execute("CREATE TABLE work (n bigint)").map_err(failed)?;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        // The row is there before, so that it is an older one that is seen.
        place.transaction(|connection| take(&store, connection, "e")).map_err(failed)?;
        let did = place.transaction(|connection| {
            connection
                .batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}; SELECT 1 FROM work"))?;
            place.transaction(|other| take(&store, other, "e"))?;
            contended(level, take(&store, connection, "e"))?;
            connection.batch_execute("INSERT INTO work VALUES (1)")?;
            Ok(())
        });
        did.map_err(failed)?;
    }
    Ok(())
}

#[cfg(feature = "postgres")]
fn an_advisory_lock_lasts_until_its_transaction_ends(place: &Place<diesel::PgConnection>) -> Outcome {
    use tenure_db::LockIn;
    let taken = |name: &'static str| {
        place.transaction(|other| Ok(LockIn::advisory(other, name).map(|lock| lock.fence())?))
    };
    let did = place.transaction(|connection| {
        let mut lock = LockIn::advisory(connection, "f")?;
        contended("another transaction", taken("f"))?;
        taken("F")?;
        lock.batch_execute("SELECT 1")?;
        drop(lock);
        let limit = Duration::from_millis(50);
        let waited = place.transaction(|other| Ok(LockIn::advisory_for(other, "f", limit).map(drop)?));
        match waited {
            Err(ReloadError::Lock(error)) if error.is_timed_out() => Ok(()),
            other => Err(odd("a wait", &other)),
        }
    });
    did.map_err(failed)?;
    let mut connection = place.connection();
    match LockIn::advisory(&mut connection, "f") {
        Err(error) if error.is_misconfigured() => {}
        other => return Err(Stop::failed(format!("without a transaction: {other:?}"))),
    }
    match taken("f").map_err(failed)? {
        None => Ok(()),
        Some(fence) => Err(Stop::failed(format!("an advisory lock has the fence {fence}"))),
    }
}

/// The tests of a kind of database, all of which share a server that ends with the last of them.
macro_rules! tests {
    ($kind:literal, $server:ty: $($test:ident),* $(,)?) => {
        pub(super) fn tests() -> Vec<(String, Box<dyn FnOnce() -> Outcome + Send>)> {
            let server: std::sync::Arc<std::sync::Mutex<Option<$server>>> = std::sync::Arc::default();
            vec![$({
                let server = server.clone();
                let test = move || {
                    let place = place(&mut server.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
                    super::$test(&place)
                };
                (format!("{}::{}", $kind, stringify!($test)), Box::new(test) as Box<dyn FnOnce() -> Outcome + Send>)
            }),*]
        }
    };
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use diesel::connection::SimpleConnection;
    use diesel::prelude::*;

    use super::{Outcome, Place};

    tests! { "sqlite", ():
        a_lock_lasts_until_its_transaction_ends,
        a_lease_keeps_a_transaction_out_and_leaves_it_whole,
        transactions_that_wait_come_one_after_another,
        it_wants_a_transaction,
    }

    fn place(_: &mut Option<()>) -> Outcome<Place<SqliteConnection>> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("app.db").display());
        Ok(Place { url, connect, _kept: Box::new(folder) })
    }

    fn connect(url: &str) -> SqliteConnection {
        let file = url.trim_start_matches("sqlite:");
        let mut connection = SqliteConnection::establish(file).expect("the file can be opened");
        connection.batch_execute("PRAGMA busy_timeout = 20").expect("this is a statement");
        connection
    }
}

#[cfg(feature = "mysql")]
mod mariadb {
    use diesel::prelude::*;
    use tenure_servers::{MariaDb, mariadb};

    use super::{Outcome, Place, database};

    tests! { "mariadb", MariaDb:
        a_lock_lasts_until_its_transaction_ends,
        a_lease_keeps_a_transaction_out_and_leaves_it_whole,
        transactions_that_wait_come_one_after_another,
        it_wants_a_transaction,
    }

    fn place(server: &mut Option<MariaDb>) -> Outcome<Place<MysqlConnection>> {
        if server.is_none() {
            *server = Some(mariadb()?);
        }
        let name = database();
        let url = server.as_ref().map(|server| server.database(&name)).transpose()?.unwrap_or_default();
        Ok(Place { url, connect, _kept: Box::new(()) })
    }

    fn connect(url: &str) -> MysqlConnection {
        MysqlConnection::establish(url).expect("the server answers")
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::prelude::*;
    use tenure_servers::{Postgres, postgres};

    use super::{Outcome, Place, database};

    tests! { "postgres", Postgres:
        a_lock_lasts_until_its_transaction_ends,
        a_lease_keeps_a_transaction_out_and_leaves_it_whole,
        transactions_that_wait_come_one_after_another,
        it_wants_a_transaction,
        a_transaction_that_sees_the_past_is_refused_and_goes_on,
        an_advisory_lock_lasts_until_its_transaction_ends,
    }

    fn place(server: &mut Option<Postgres>) -> Outcome<Place<PgConnection>> {
        if server.is_none() {
            *server = Some(postgres()?);
        }
        let name = database();
        let url = server.as_ref().map(|server| server.database(&name)).transpose()?.unwrap_or_default();
        Ok(Place { url, connect, _kept: Box::new(()) })
    }

    fn connect(url: &str) -> PgConnection {
        PgConnection::establish(url).expect("the server answers")
    }
}

/// A name for the database of one test.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn database() -> String {
    static MADE: AtomicI64 = AtomicI64::new(0);
    format!("app{}", MADE.fetch_add(1, Ordering::SeqCst))
}

fn contended<T: std::fmt::Debug>(what: &str, answer: Result<T, ReloadError>) -> Result<(), ReloadError> {
    match answer {
        Err(ReloadError::Lock(error)) if error.is_contended() => Ok(()),
        other => Err(odd(what, &other)),
    }
}

/// A row of an open transaction is not seen into: whoever asks waits for it, for some time.
fn denied<T>(answer: Result<T, Error>) -> Result<(), ReloadError> {
    match answer {
        Err(error) if error.is_unavailable() || error.is_contended() => Ok(()),
        Err(error) => Err(odd("a lock beside a transaction", &error)),
        Ok(_) => Err(odd("a lock beside a transaction", &"it was granted")),
    }
}

fn odd(what: &str, saw: &dyn std::fmt::Debug) -> ReloadError {
    Error::misconfigured(format!("{what}: {saw:?}")).into()
}

fn failed(error: impl std::fmt::Debug) -> Stop {
    Stop::failed(format!("{error:?}"))
}
