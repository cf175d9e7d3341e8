//! What is true of pools of the package `r2d2_redis` alone: they are somebody else's, and their
//! connections have no limits and no memory of what failed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use r2d2_redis::redis::{self, Commands, RedisResult, Value};
use r2d2_redis::{RedisConnectionManager, r2d2};
use tenure_core::{Lock, Settings, Status};
use tenure_redis::{Redis, Wake};
use tenure_servers::{self as servers, Outcome, Stop};

type Pool = r2d2::Pool<RedisConnectionManager>;

const LIMIT: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let tests = servers::tests![
        after_an_answer_that_did_not_come_nobody_gets_its_connection,
        an_answer_that_other_code_left_unread_is_not_taken_for_ours,
        connections_go_back_without_time_limits,
        a_server_that_is_down_is_unavailable_in_time,
        a_restarted_server_is_spoken_to_again_although_every_connection_is_dead,
        what_may_have_been_granted_is_in_doubt_when_no_connection_is_left,
        a_waiter_is_woken_through_a_connection_of_the_pool,
        a_pool_that_cannot_work_says_what_to_change,
        a_wrong_password_is_a_mistake_and_shows_nowhere,
        a_pool_is_fair_guarded_or_acknowledged_if_it_is_told_so,
    ];
    servers::run("redis", tests)
}

fn pool(server: &servers::Redis, size: u32) -> Outcome<Pool> {
    built(server, r2d2::Pool::builder().max_size(size).min_idle(Some(0)).test_on_check_out(false))
}

fn built(server: &servers::Redis, builder: r2d2::Builder<RedisConnectionManager>) -> Outcome<Pool> {
    let manager = RedisConnectionManager::new(server.url()).map_err(failed)?;
    builder.error_handler(Box::new(r2d2::NopErrorHandler)).build(manager).map_err(failed)
}

fn open(pool: &Pool) -> tenure_core::Result<Redis> {
    Redis::pool_builder(pool.clone()).connect_timeout(LIMIT).io_timeout(LIMIT).open()
}

fn failed(error: impl std::fmt::Debug) -> Stop {
    Stop::Failed(format!("{error:?}").into())
}

fn after_an_answer_that_did_not_come_nobody_gets_its_connection() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let pool = pool(&server, 2)?;
    let store = open(&pool)?;
    let held = Lock::new(&store, "a").acquire()?;
    server.command("SET theirs 1")?;
    server.process().stop()?;
    let began = Instant::now();
    for name in ["a", "b"] {
        let error = Lock::new(&store, name).try_acquire().expect_err("the server does not answer");
        assert!(error.is_unavailable() && began.elapsed() < LIMIT * 8, "{:?} {error:?}", began.elapsed());
    }
    server.process().go_on()?;
    // An answer to an attempt, read as one to this, is no number.
    for _ in 0..4 {
        let mut connections: Vec<_> = (0..2).map(|_| pool.get().map_err(failed)).collect::<Outcome<_>>()?;
        for connection in &mut connections {
            let theirs: i64 = connection.get("theirs").map_err(failed)?;
            assert_eq!(theirs, 1);
        }
    }
    held.renew()?;
    assert_eq!(held.status(), Status::Held);
    held.release()?;
    Ok(())
}

fn an_answer_that_other_code_left_unread_is_not_taken_for_ours() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let pool = pool(&server, 2)?;
    let store = open(&pool)?;
    let held = Lock::new(&store, "a").acquire()?;
    // What a granted lock looks like, a number that is no error, and an error.
    server.command("RPUSH grant 1 99")?;
    server.command("SET number 1")?;
    for command in ["LRANGE grant 0 -1", "GET number", "LRANGE number 0 -1"] {
        let mut theirs = pool.get().map_err(failed)?;
        theirs.set_read_timeout(Some(Duration::from_millis(50))).map_err(failed)?;
        server.process().stop()?;
        let words: Vec<_> = command.split(' ').collect();
        let late: RedisResult<Value> = redis::cmd(words[0]).arg(&words[1..]).query(&mut *theirs);
        assert!(late.is_err_and(|error| error.is_timeout()));
        server.process().go_on()?;
        drop(theirs);
        held.renew()?;
        for _ in 0..4 {
            let second = Lock::new(&store, "a").try_acquire();
            assert!(second.as_ref().is_err_and(|error| error.is_contended()), "{command}: {second:?}");
        }
    }
    held.release()?;
    Ok(())
}

fn connections_go_back_without_time_limits() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let pool = pool(&server, 2)?;
    let store = open(&pool)?;
    Lock::new(&store, "a").acquire()?.release()?;
    let mut theirs = pool.get().map_err(failed)?;
    let slow: RedisResult<Option<Vec<String>>> = theirs.blpop("nothing", 1);
    assert!(slow.is_ok(), "{slow:?}");
    Ok(())
}

fn a_server_that_is_down_is_unavailable_in_time() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let pool = pool(&server, 4)?;
    let store = open(&pool)?;
    let held = Lock::new(&store, "a").acquire()?;
    server.kill();
    let began = Instant::now();
    assert!(Lock::new(&store, "b").try_acquire().is_err_and(|error| error.is_unavailable()));
    assert!(held.renew().is_err_and(|error| error.is_unavailable()));
    assert!(began.elapsed() < LIMIT * 5, "it took {:?}", began.elapsed());
    assert_eq!(held.status(), Status::Unknown);
    Ok(())
}

fn a_restarted_server_is_spoken_to_again_although_every_connection_is_dead() -> Outcome {
    let mut server = servers::Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])?;
    let pool = pool(&server, 4)?;
    let store = Redis::from_pool(pool)?;
    let held: Vec<_> =
        (0..3).map(|n| Lock::new(&store, format!("{n}")).acquire()).collect::<tenure_core::Result<_>>()?;
    std::thread::scope(|scope| {
        for held in &held {
            scope.spawn(|| (0..50).for_each(|_| held.renew().expect("the server is up")));
        }
    });
    server.restart()?;
    for held in held {
        held.renew()?;
        held.release()?;
    }
    Ok(())
}

fn what_may_have_been_granted_is_in_doubt_when_no_connection_is_left() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let proxy = servers::Proxy::to(server.port())?;
    // Whoever connects chooses a database, and finds out that nobody is there.
    let manager = RedisConnectionManager::new(format!("{}1", proxy.url())).map_err(failed)?;
    let quiet = r2d2::Pool::builder().error_handler(Box::new(r2d2::NopErrorHandler));
    let pool = quiet.min_idle(Some(0)).test_on_check_out(false).build(manager).map_err(failed)?;
    let store = Redis::pool_builder(pool).connect_timeout(LIMIT).io_timeout(LIMIT * 10).open()?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    proxy.plan(servers::Plan::next(&[servers::Trouble::DropReply]));
    let waiting = std::thread::spawn(move || Lock::new(&store, "a").try_acquire().map(drop));
    let until = Instant::now() + Duration::from_secs(10);
    while !server.command("SELECT 1\r\nEXISTS lock:a")?.contains(":1") {
        assert!(Instant::now() < until, "it is not carried out");
    }
    proxy.lead_to(1);
    let error = waiting.join().expect("the thread ends").expect_err("its answer was lost");
    assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
    Ok(())
}

fn a_waiter_is_woken_through_a_connection_of_the_pool() -> Outcome {
    let server = servers::Redis::with(&[])?;
    for wake in [Wake::Auto, Wake::Channel] {
        let store = Redis::pool_builder(pool(&server, 2)?).wake(wake).open()?;
        let other = Redis::builder(&server.url()).wake(wake).connect()?;
        let held = Lock::new(&other, "a").acquire()?;
        let waiting = std::thread::spawn(move || {
            let held = Lock::new(&store, "a").acquire().expect("the server is up");
            (Instant::now(), held)
        });
        let patience = Instant::now() + Duration::from_secs(10);
        while !server.command("CLIENT LIST TYPE pubsub")?.contains("sub=") {
            assert!(Instant::now() < patience, "nobody listens");
        }
        // Long enough that it has asked, and waits.
        std::thread::sleep(Duration::from_millis(300));
        let released = Instant::now();
        held.release()?;
        let (got, _held) = waiting.join().expect("the thread ends");
        let took = got.duration_since(released);
        assert!(took < Duration::from_secs(1), "{wake:?}: woken after {took:?}, at the next look");
    }
    Ok(())
}

fn a_wrong_password_is_a_mistake_and_shows_nowhere() -> Outcome {
    let server = servers::Redis::with(&["--requirepass", "right"])?;
    let manager = |who: &str| {
        let url = format!("redis://{who}127.0.0.1:{}/", server.port());
        RedisConnectionManager::new(url).map_err(failed)
    };
    let builder = || {
        let quiet = r2d2::Pool::builder().error_handler(Box::new(r2d2::NopErrorHandler));
        quiet.min_idle(Some(0)).test_on_check_out(false)
    };
    for who in ["", ":hunter2@", "nobody:hunter2@"] {
        let pool = builder().build(manager(who)?).map_err(failed)?;
        let opening = Redis::pool_builder(pool);
        assert!(!format!("{opening:?}").contains("hunter2"), "{opening:?}");
        let error = opening.open().expect_err("the password is wrong");
        assert!(error.is_misconfigured(), "{who}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let store = Redis::from_pool(builder().build(manager(":right@")?).map_err(failed)?)?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    Ok(())
}

fn a_pool_that_cannot_work_says_what_to_change() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let builder = || r2d2::Pool::builder().min_idle(Some(0));
    for (builder, word) in
        [(builder(), "test_on_check_out"), (builder().test_on_check_out(false).max_size(1), "max_size")]
    {
        let error = Redis::from_pool(built(&server, builder)?).expect_err("it cannot work");
        assert!(error.is_misconfigured() && error.to_string().contains(word), "{error}");
    }
    Ok(())
}

fn a_pool_is_fair_guarded_or_acknowledged_if_it_is_told_so() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let pool = pool(&server, 4)?;
    let told = || Redis::pool_builder(pool.clone()).connect_timeout(LIMIT).io_timeout(LIMIT);
    // Longer than anybody here waits.
    let settings = Settings::default().with_recheck(Duration::from_secs(60))?;
    let fair = || told().settings(settings.clone()).fair().open();
    let (store, other) = (fair()?, fair()?);
    let held = Lock::new(&store, "a").acquire()?;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Lock::new(&other, "a").acquire_for(Duration::from_secs(20)));
        let until = Instant::now() + Duration::from_secs(10);
        while server.command("ZCARD ~q:{lock:a}")? != ":1\r\n" {
            assert!(Instant::now() < until, "nobody stands in the queue");
        }
        held.release()?;
        waiting.join().expect("the waiter did not panic")?.release()?;
        Ok::<_, Stop>(())
    })?;
    let error = Lock::new(&told().restart_guard().open()?, "a").try_acquire().expect_err("the server is new");
    assert!(error.is_quarantined(), "{error:?}");
    let acknowledged = told().replicas(1, Duration::from_millis(50)).open()?;
    let error = Lock::new(&acknowledged, "a").try_acquire().expect_err("there is no replica");
    assert!(error.is_unavailable() && error.to_string().contains("replicas"), "{error:?}");
    assert_eq!(server.command("EXISTS lock:a")?, ":0\r\n");
    let both = told().fair().replicas(1, Duration::from_millis(50)).open();
    assert!(both.is_err_and(|error| error.is_misconfigured()));
    Ok(())
}
