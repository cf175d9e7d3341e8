//! Servers and connections that fail.

use std::time::Duration;

use tenure_core::{Backend, Lock};
use tenure_servers::{self as servers, Outcome, Test};

use crate::support::{Database, eventually, open, unavailable};

pub(crate) const TESTS: &[Test] = servers::tests![
    a_server_that_is_down_is_unavailable_and_recovers_by_itself,
    a_server_that_hangs_is_unavailable_in_time_and_recovers_by_itself,
    connections_that_were_ended_are_replaced_without_anybody_noticing,
    a_waiter_whose_listener_was_cut_off_is_served_all_the_same,
    a_replica_takes_no_locks_and_says_so,
    passwords_show_nowhere,
];

fn a_server_that_is_down_is_unavailable_and_recovers_by_itself() -> Outcome {
    let (mut postgres, mut mariadb) = (servers::postgres()?, servers::mariadb()?);
    let (in_postgres, in_mariadb) = (open(&postgres.url())?, open(&mariadb.url())?);
    postgres.kill();
    mariadb.kill();
    for store in [&in_postgres, &in_mariadb] {
        unavailable(|| Lock::new(store, "job").try_acquire());
        let error = unavailable(|| Lock::new(store, "job").try_acquire());
        assert!(error.to_string().contains("no connection"), "{error:?}");
    }
    postgres.start()?;
    mariadb.start()?;
    for store in [in_postgres, in_mariadb] {
        eventually("the server is back", || Lock::new(&store, "job").try_acquire().is_ok());
    }
    Ok(())
}

fn a_server_that_hangs_is_unavailable_in_time_and_recovers_by_itself() -> Outcome {
    let (postgres, mariadb) = (servers::postgres()?, servers::mariadb()?);
    let (in_postgres, in_mariadb) = (open(&postgres.url())?, open(&mariadb.url())?);
    let held =
        [Lock::new(&in_postgres, "held").try_acquire()?, Lock::new(&in_mariadb, "held").try_acquire()?];
    postgres.stop()?;
    mariadb.process().stop()?;
    for store in [&in_postgres, &in_mariadb] {
        let error = unavailable(|| Lock::new(store, "job").try_acquire());
        assert!(error.to_string().contains("in time"), "{error:?}");
    }
    postgres.go_on()?;
    mariadb.process().go_on()?;
    for (store, held) in [in_postgres, in_mariadb].iter().zip(held) {
        eventually("the server answers again", || Lock::new(store, "job").try_acquire().is_ok());
        held.renew()?;
        held.release()?;
    }
    Ok(())
}

fn connections_that_were_ended_are_replaced_without_anybody_noticing() -> Outcome {
    let postgres = Database::Postgres(servers::postgres()?);
    let mariadb = Database::MariaDb(servers::mariadb()?);
    for (database, end) in [
        (
            postgres,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
                    AND backend_type = 'client backend'",
        ),
        (
            mariadb,
            "DELIMITER $$\nBEGIN NOT ATOMIC FOR s IN (SELECT ID FROM information_schema.PROCESSLIST \
                   WHERE ID <> CONNECTION_ID() AND USER = 'root') DO EXECUTE IMMEDIATE CONCAT('KILL ', s.ID); \
                   END FOR; END $$",
        ),
    ] {
        let store = open(&database.url())?;
        let held = Lock::new(&store, "held").try_acquire()?;
        for _ in 0..3 {
            database.sql(end)?;
            Lock::new(&store, "job").try_acquire()?.release()?;
            database.sql(end)?;
            held.renew()?;
        }
        database.sql(end)?;
        held.release()?;
    }
    Ok(())
}

fn a_waiter_whose_listener_was_cut_off_is_served_all_the_same() -> Outcome {
    let server = servers::postgres()?;
    let (store, other) = (open(&server.url())?, open(&server.url())?);
    let held = Lock::new(&store, "job").try_acquire()?;
    let listening = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    std::thread::scope(|scope| -> Outcome {
        let waiter = scope.spawn(|| Lock::new(&other, "job").acquire_for(Duration::from_secs(30)));
        eventually("somebody listens", || server.sql(listening).is_ok_and(|found| !found.trim().is_empty()));
        server.sql(&format!("SELECT pg_terminate_backend(pid) FROM ({listening}) AS l"))?;
        eventually("somebody listens again", || {
            server.sql(listening).is_ok_and(|found| !found.trim().is_empty())
        });
        held.release()?;
        waiter.join().expect("no thread panics")?.release()?;
        Ok(())
    })
}

fn a_replica_takes_no_locks_and_says_so() -> Outcome {
    let server = servers::postgres()?;
    Lock::new(&open(&server.url())?, "job").try_acquire()?.release()?;
    let replica = server.replica()?;
    eventually("the replica follows", || {
        replica.sql("SELECT 1 FROM tenure_lock").is_ok_and(|found| !found.trim().is_empty())
    });
    let store = open(&replica.url())?;
    let error = unavailable(|| Lock::new(&store, "job").try_acquire());
    assert!(error.to_string().contains("read-only"), "{error:?}");
    assert!(store.diagnose().iter().any(|advice| advice.risk().contains("replica")));
    Ok(())
}

fn passwords_show_nowhere() -> Outcome {
    for url in [
        "postgres://me:hunter2@127.0.0.1:1/x",
        "postgres://me:hunter2@127.0.0.1:1/x?hunter2=hunter2",
        "mysql://me:hunter2@127.0.0.1:1/x",
        "mysql://me:hunter2@127.0.0.1:1/x/y",
        "sqlite://hunter2/x",
    ] {
        let error = open(url).err().ok_or("it names nothing").map_err(servers::Stop::failed)?;
        assert!(
            !format!("{error} {error:?} {:?}", crate::support::builder(url)).contains("hunter2"),
            "{error:?}"
        );
    }
    Ok(())
}
