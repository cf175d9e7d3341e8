//! What is true of locks that belong to connections, beyond the contract.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tenure_core::{Lock, Result};
use tenure_db::Sessions;
use tenure_servers::{Outcome, Stop};

fn main() -> ExitCode {
    tenure_servers::run_all(
        "sessions",
        [
            #[cfg(feature = "postgres")]
            postgres::TESTS,
            #[cfg(feature = "mysql")]
            mariadb::TESTS,
        ]
        .into_iter()
        .flatten()
        .copied(),
    )
}

#[cfg(feature = "postgres")]
mod postgres {
    use tenure_servers::{PgBouncer, Test, postgres};

    use super::*;

    pub(super) const TESTS: &[Test] = tenure_servers::tests![
        a_pooler_that_changes_servers_is_refused,
        a_name_whose_number_is_anothers_is_refused_unless_hashes_are_enough,
        a_session_that_the_server_ends_is_lost_and_its_connection_is_not_used_again,
        a_session_holds_longer_than_any_timeout_and_an_idle_connection_is_used_again,
        fences_grow_over_the_loss_of_all_data,
        a_server_that_does_not_answer_is_unavailable_in_time,
    ];

    fn a_pooler_that_changes_servers_is_refused() -> Outcome {
        let server = postgres()?;
        let pooler = PgBouncer::before(&server, 2)?;
        match Sessions::connect(&pooler.url()) {
            Err(error) if error.is_misconfigured() && error.to_string().contains("pooler") => Ok(()),
            other => Err(Stop::failed(format!("behind a pooler: {other:?}"))),
        }
    }

    fn a_name_whose_number_is_anothers_is_refused_unless_hashes_are_enough() -> Outcome {
        let server = postgres()?;
        let sessions = Sessions::connect(&server.url())?;
        Lock::new(&sessions, "a").try_acquire()?.release()?;
        // Nobody has two such names.
        server.sql("UPDATE tenure_session_name SET name = 'another'")?;
        Lock::new(&sessions, "b").try_acquire()?.release()?;
        match Lock::new(&sessions, "a").try_acquire() {
            Err(error) if error.is_invalid_name() => {}
            other => return Err(Stop::failed(format!("a number of another name: {other:?}"))),
        }
        let hashed = Sessions::builder(&server.url()).hashed().connect()?;
        Ok(Lock::new(&hashed, "a").try_acquire()?.release()?)
    }

    fn a_session_that_the_server_ends_is_lost_and_its_connection_is_not_used_again() -> Outcome {
        let server = postgres()?;
        let sessions = Sessions::connect(&server.url())?;
        let lock = Lock::new(&sessions, "a").session();
        let held = lock.try_acquire()?;
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")?;
        let next = granted_within(|| lock.try_acquire(), Duration::from_secs(10))?;
        if next.fence() <= held.fence() {
            return Err(Stop::failed("the fence does not grow"));
        }
        lost(held.renew())?;
        lost(held.release())?;
        next.renew()?;
        Ok(next.release()?)
    }

    fn a_session_holds_longer_than_any_timeout_and_an_idle_connection_is_used_again() -> Outcome {
        let server = postgres()?;
        let sessions = Sessions::connect(&server.url())?;
        let lock = Lock::new(&sessions, "a");
        lock.clone().ttl(Duration::from_millis(200)).try_acquire()?.release()?;
        let session = lock.clone().session().try_acquire()?;
        std::thread::sleep(Duration::from_millis(600));
        match lock.try_acquire() {
            Err(error) if error.is_contended() => {}
            other => return Err(Stop::failed(format!("beside a session: {other:?}"))),
        }
        session.release()?;
        let mut pids: Vec<String> = Vec::new();
        for _ in 0..6 {
            let held = lock.try_acquire()?;
            pids.push(server.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")?);
            held.release()?;
        }
        pids.sort();
        pids.dedup();
        if pids.len() <= 2 { Ok(()) } else { Err(Stop::failed(format!("connections {pids:?}"))) }
    }

    fn a_server_that_does_not_answer_is_unavailable_in_time() -> Outcome {
        let server = postgres()?;
        let sessions = Sessions::builder(&server.url()).io_timeout(Duration::from_millis(400)).connect()?;
        let (held, lock) = (Lock::new(&sessions, "a").session().try_acquire()?, Lock::new(&sessions, "b"));
        server.stop()?;
        let began = Instant::now();
        let asked = lock.try_acquire().map(drop);
        let renewed = held.renew();
        let took = began.elapsed();
        server.go_on()?;
        // The connection is hung up on, and the lock is lost with it.
        lost(renewed)?;
        match asked {
            Err(error) if error.is_unavailable() && took < Duration::from_secs(8) => Ok(()),
            other => Err(Stop::failed(format!("a server that is stopped: {other:?} after {took:?}"))),
        }
    }

    fn fences_grow_over_the_loss_of_all_data() -> Outcome {
        let mut server = postgres()?;
        let first = fence(&Sessions::connect(&server.url())?)?;
        let second = fence(&Sessions::connect(&server.url())?)?;
        server.restart_empty()?;
        let third = fence(&Sessions::connect(&server.url())?)?;
        if first < second && second < third { Ok(()) } else { Err(Stop::failed("fences do not grow")) }
    }
}

#[cfg(feature = "mysql")]
mod mariadb {
    use tenure_servers::{Test, mariadb};

    use super::*;

    pub(super) const TESTS: &[Test] = tenure_servers::tests![
        what_mysql_is_told_excludes_waits_and_has_fences_that_grow,
        databases_of_a_server_have_locks_of_their_own,
    ];

    fn what_mysql_is_told_excludes_waits_and_has_fences_that_grow() -> Outcome {
        let mut server = mariadb()?;
        let open = |url: &str| Sessions::builder(url).plain_mysql().connect();
        let (one, other) = (open(&server.url())?, open(&server.url())?);
        let (lock, others) = (Lock::new(&one, "a"), Lock::new(&other, "a"));
        let held = lock.try_acquire()?;
        match others.try_acquire() {
            Err(error) if error.is_contended() => {}
            other => return Err(Stop::failed(format!("a second holder: {other:?}"))),
        }
        let first = held.fence();
        let second = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let held = others.acquire_for(Duration::from_secs(10))?;
                Ok::<_, tenure_core::Error>((held.fence(), Instant::now()))
            });
            std::thread::sleep(Duration::from_millis(100));
            let released = Instant::now();
            held.release()?;
            let (fence, got) = waiter.join().map_err(|_| Stop::failed("a waiter"))??;
            if got < released { Err(Stop::failed("it was got before it was released")) } else { Ok(fence) }
        })?;
        server.restart_empty()?;
        let third = fence(&open(&server.url())?)?;
        if first < second && second < third { Ok(()) } else { Err(Stop::failed("fences do not grow")) }
    }

    /// Names of locks are the server's.
    fn databases_of_a_server_have_locks_of_their_own() -> Outcome {
        let server = mariadb()?;
        let one = Sessions::connect(&server.url())?;
        let other = Sessions::connect(&server.database("other")?)?;
        let held = Lock::new(&one, "a").try_acquire()?;
        Lock::new(&other, "a").try_acquire()?.release()?;
        Ok(held.release()?)
    }
}

fn fence(sessions: &Sessions) -> Result<tenure_core::Fence> {
    let held = Lock::new(sessions, "fence").try_acquire()?;
    let fence = held.fence();
    held.release().map(|()| fence)
}

#[cfg(feature = "postgres")]
fn granted_within<T>(mut ask: impl FnMut() -> Result<T>, limit: Duration) -> Outcome<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(granted) => return Ok(granted),
            Err(error) if error.is_contended() && began.elapsed() < limit => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(feature = "postgres")]
fn lost(answer: Result<()>) -> Outcome {
    match answer {
        Err(error) if error.is_lost() => Ok(()),
        other => Err(Stop::failed(format!("expected a loss, saw {other:?}"))),
    }
}
