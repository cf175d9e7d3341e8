//! What is true of stores for tasks on a server: which runtime they need, and in which order they ask.

use std::process::ExitCode;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use tenure_core::aio::{self, block_on};
use tenure_core::{Lock, Moment};
use tenure_db::{AsyncDb, Db};
use tenure_servers::{Outcome, PgBouncer, Stop, mariadb, postgres, run, tests};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    run(
        "db",
        tests![
            outside_of_a_runtime_it_is_said_that_one_is_needed,
            any_executor_will_do_until_the_runtime_ends_and_that_is_told,
            what_undoes_an_acquire_comes_after_it,
            behind_a_pooler_threads_work_for_tasks,
            an_acquire_and_a_denied_one_are_a_statement_each,
        ],
    )
}

fn outside_of_a_runtime_it_is_said_that_one_is_needed() -> Outcome {
    let error = block_on(AsyncDb::connect("postgres://postgres@127.0.0.1:1/none"));
    let error = error.err().ok_or_else(|| Stop::failed("a store was opened outside of any runtime"))?;
    check(error.is_misconfigured() && error.to_string().contains("tokio"), || format!("saw {error}"))
}

fn any_executor_will_do_until_the_runtime_ends_and_that_is_told() -> Outcome {
    let (server, runtime) = (postgres()?, runtime()?);
    let store = runtime.block_on(AsyncDb::connect(&server.url()))?;
    let lock = aio::Lock::new(&store, "x").ttl(Duration::from_secs(30));
    let threads = Lock::new(&Db::connect(&server.url())?, "x");
    let held = block_on(lock.acquire())?;
    let denied = threads.try_acquire().err().ok_or_else(|| Stop::failed("a thread got a task's lock"))?;
    check(denied.is_contended(), || format!("saw {denied}"))?;
    block_on(held.release())?;
    threads.try_acquire()?.release()?;
    drop(runtime);
    let error = block_on(lock.try_acquire());
    let error = error.err().ok_or_else(|| Stop::failed("a lock was got after the end of the runtime"))?;
    let text = format!("{error:?}");
    check(error.is_unavailable() && text.contains("runtime"), || format!("saw {text}"))
}

fn what_undoes_an_acquire_comes_after_it() -> Outcome {
    let (server, runtime) = (postgres()?, runtime()?);
    // So long may the row be somebody else's.
    let store = Db::builder(&server.url()).io_timeout(Duration::from_secs(20));
    let store = runtime.block_on(store.connect_async())?;
    let lock = aio::Lock::new(&store, "x").ttl(Duration::from_secs(30));
    runtime.block_on(async { lock.acquire().await?.release().await })?;
    // Somebody has the row, so that the server keeps the acquire waiting, and would not a release.
    let mut other =
        PgConnection::establish(&server.url()).map_err(|error| Stop::failed(error.to_string()))?;
    let mut say = |text| other.batch_execute(text).map_err(|error| Stop::failed(format!("{text}: {error}")));
    say("BEGIN; SELECT 1 FROM tenure_lock FOR UPDATE")?;
    let dropped =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(300), lock.acquire()).await });
    check(dropped.is_err(), || "the acquire was not kept waiting".into())?;
    std::thread::sleep(Duration::from_secs(1));
    say("COMMIT")?;
    let until = Moment::now() + Duration::from_secs(10);
    loop {
        match runtime.block_on(lock.try_acquire()) {
            Ok(held) => return Ok(runtime.block_on(held.release())?),
            Err(error) if error.is_contended() && Moment::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(Stop::failed(format!("the lock of a dropped acquire stays: {error}"))),
        }
    }
}

fn an_acquire_and_a_denied_one_are_a_statement_each() -> Outcome {
    let (server, runtime) = (mariadb()?, runtime()?);
    let store = runtime.block_on(AsyncDb::connect(&server.url()))?;
    let lock = aio::Lock::new(&store, "x").ttl(Duration::from_secs(600));
    let executed = || -> Outcome<u32> {
        let told = server.sql("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'")?;
        let count = told.split_whitespace().last().and_then(|count| count.parse().ok());
        count.ok_or_else(|| Stop::failed(format!("no count in {told:?}")))
    };
    let before = executed()?;
    let held = runtime.block_on(lock.try_acquire())?;
    let granted = executed()? - before;
    check(granted == 1, || format!("{granted} statements for a grant"))?;
    let denied = runtime.block_on(lock.try_acquire()).is_err_and(|error| error.is_contended());
    let statements = executed()? - before - granted;
    check(denied && statements == 1, || format!("{statements} statements for a denial"))?;
    Ok(runtime.block_on(held.release())?)
}

fn behind_a_pooler_threads_work_for_tasks() -> Outcome {
    let (server, runtime) = (postgres()?, runtime()?);
    let pooler = PgBouncer::before(&server, 3)?;
    let store = runtime.block_on(AsyncDb::connect(&pooler.url()))?;
    let lock = aio::Lock::new(&store, "x").ttl(Duration::from_secs(30));
    for _ in 0..3 {
        let held = runtime.block_on(lock.acquire())?;
        let threads = Lock::new(&Db::connect(&server.url())?, "x");
        check(threads.try_acquire().is_err(), || "a thread got a task's lock".into())?;
        runtime.block_on(held.release())?;
    }
    Ok(())
}

fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Stop::failed(what())) }
}
