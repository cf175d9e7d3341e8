//! What fails, and how it looks: servers that are down, silent, restarted, full, emptied.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tenure_core::{Cause, Error, Lock, LockAll, Result, Status};
use tenure_redis::{Profile, Redis, Wake};
use tenure_servers::{self as servers, Outcome};

const LIMIT: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_is_down_is_unavailable_at_once,
        a_server_that_hangs_is_unavailable_in_time_and_recovers_by_itself,
        a_restarted_server_is_spoken_to_again_although_every_connection_is_dead,
        scripts_that_the_server_forgot_are_sent_again,
        an_emptied_server_loses_locks_and_no_fence_goes_back,
        a_holder_whose_fence_was_evicted_gets_no_smaller_one_when_it_asks_again,
        a_killed_connection_is_replaced_without_anybody_noticing,
        a_connection_that_was_made_for_a_request_is_not_replaced,
        what_was_granted_unheard_is_given_back_although_its_repetition_is_refused,
        a_lock_that_is_in_a_set_twice_is_found_out_whatever_kind_of_lock_it_is,
        a_full_server_refuses_with_a_remedy_and_still_releases,
        keys_of_other_types_are_taken_and_stay_as_they_are,
    ];
    servers::run("redis", tests)
}

fn open(server: &servers::Redis) -> Result<Redis> {
    Redis::builder(&server.url()).connect_timeout(LIMIT).io_timeout(LIMIT).connect()
}

/// An error that came within the time limits and is no contention.
fn unavailable<T: std::fmt::Debug>(what: impl FnOnce() -> Result<T>) -> Error {
    let began = Instant::now();
    let error = what().expect_err("the server does not answer");
    assert!(error.is_unavailable(), "{error:?}");
    assert!(began.elapsed() < LIMIT * 5, "it took {:?}: {error}", began.elapsed());
    error
}

fn a_server_that_is_down_is_unavailable_at_once() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    let lock = Lock::new(&store, "a");
    let held = lock.try_acquire()?;
    server.kill();
    let began = Instant::now();
    let error = unavailable(|| lock.try_acquire());
    assert!(error.backend().is_some_and(|label| label.starts_with("redis://127.0.0.1:")), "{error}");
    unavailable(|| held.renew());
    assert_eq!(held.status(), Status::Unknown);
    unavailable(|| Lock::new(&store, "b").acquire());
    unavailable(|| open(&server));
    assert!(began.elapsed() < LIMIT * 4, "refused connections took {:?}", began.elapsed());
    Ok(())
}

fn a_server_that_hangs_is_unavailable_in_time_and_recovers_by_itself() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    let lock = Lock::new(&store, "a");
    let held = lock.try_acquire()?;
    server.process().stop()?;
    unavailable(|| lock.try_acquire());
    unavailable(|| held.renew());
    server.process().go_on()?;
    held.renew()?;
    assert_eq!(held.status(), Status::Held);
    held.release()?;
    // What was asked of the hanging server may have been carried out since; it was taken back.
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = lock.try_acquire() {
        assert!(error.is_contended() && Instant::now() < until, "{error:?}");
    }
    Ok(())
}

fn a_restarted_server_is_spoken_to_again_although_every_connection_is_dead() -> Outcome {
    let mut server = servers::Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])?;
    let store = open(&server)?;
    let held: Vec<_> = (0..4).map(|n| Lock::new(&store, format!("{n}")).acquire()).collect::<Result<_>>()?;
    // As many connections as threads.
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

fn scripts_that_the_server_forgot_are_sent_again() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    let held = Lock::new(&store, "a").acquire()?;
    for _ in 0..3 {
        server.command("SCRIPT FLUSH")?;
        held.renew()?;
        server.command("SCRIPT FLUSH")?;
        Lock::new(&store, "b").try_acquire()?.release()?;
    }
    held.release()?;
    Ok(())
}

fn an_emptied_server_loses_locks_and_no_fence_goes_back() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    let held = Lock::new(&store, "a").acquire()?;
    server.command("FLUSHALL")?;
    let next = Lock::new(&store, "a").acquire()?;
    assert!(next.fence() > held.fence());
    assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    next.release()?;
    Ok(())
}

fn a_holder_whose_fence_was_evicted_gets_no_smaller_one_when_it_asks_again() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    let lock = Lock::new(&store, "a").release_on_drop(false);
    let held = lock.try_acquire()?;
    server.command("DEL ~f:{lock:a}")?;
    let again = lock.restore(held.owner())?;
    assert!(again.fence() > held.fence(), "{:?} after {:?}", again.fence(), held.fence());
    again.release()?;
    let next = lock.try_acquire()?;
    assert!(next.fence() > held.fence());

    let lock = Lock::new(&store, "b").shared().release_on_drop(false);
    let held = lock.try_acquire()?;
    server.command("DEL ~f:{lock:b} ~s:{lock:b}")?;
    let again = lock.restore(held.owner())?;
    assert!(again.fence() > held.fence(), "{:?} after {:?}", again.fence(), held.fence());
    Ok(())
}

fn a_killed_connection_is_replaced_without_anybody_noticing() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    let held = Lock::new(&store, "a").acquire()?;
    server.command("CLIENT KILL TYPE normal")?;
    held.renew()?;
    server.command("CLIENT KILL TYPE normal")?;
    held.release()?;
    Ok(())
}

fn a_connection_that_was_made_for_a_request_is_not_replaced() -> Outcome {
    use servers::Trouble::{DropReply, ResetBefore};

    let server = servers::Redis::with(&[])?;
    let proxy = servers::Proxy::to(server.port())?;
    let builder = Redis::builder(&proxy.url()).connect_timeout(LIMIT).io_timeout(LIMIT);
    let renews = |renew: &dyn Fn() -> Result<()>| -> Outcome {
        renew()?;
        // After an answer that did not come there is no connection from before.
        proxy.plan(servers::Plan::next(&[DropReply, ResetBefore]));
        for _ in 0..2 {
            let error = renew().expect_err("no answer came");
            assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
        }
        renew()?;
        // One from before is replaced once.
        proxy.plan(servers::Plan::next(&[ResetBefore]));
        renew()?;
        proxy.plan(servers::Plan::next(&[ResetBefore, ResetBefore]));
        assert!(renew().is_err_and(|error| error.is_unavailable()));
        Ok(())
    };
    let store = builder.clone().connect()?;
    let held = Lock::new(&store, "a").ttl(Duration::from_secs(60)).try_acquire()?;
    renews(&|| held.renew())?;
    #[cfg(feature = "async")]
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let store = runtime.block_on(builder.connect_async())?;
        let lock = tenure_core::aio::Lock::new(&store, "b").ttl(Duration::from_secs(60));
        let held = runtime.block_on(lock.try_acquire())?;
        renews(&|| runtime.block_on(held.renew()))?;
    }
    Ok(())
}

fn what_was_granted_unheard_is_given_back_although_its_repetition_is_refused() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let proxy = servers::Proxy::to(server.port())?;
    let lost = |attempt: &(dyn Fn() -> Result<()> + Sync)| -> Outcome {
        attempt()?;
        proxy.plan(servers::Plan::next(&[servers::Trouble::DropReply]));
        let error = std::thread::scope(|scope| -> Outcome<Error> {
            let asking = scope.spawn(attempt);
            eventually("the grant", || server.command("EXISTS lock:a").is_ok_and(|keys| keys == ":1\r\n"));
            server.command("CONFIG SET maxmemory 1")?;
            proxy.sever();
            Ok(asking.join().expect("the thread ends").expect_err("the server is full"))
        })?;
        assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
        eventually("a lock given back", || {
            server.command("EXISTS lock:a").is_ok_and(|keys| keys == ":0\r\n")
        });
        server.command("CONFIG SET maxmemory 0")?;
        Ok(())
    };
    let builder = Redis::builder(&proxy.url());
    let store = builder.clone().connect()?;
    lost(&|| Lock::new(&store, "a").ttl(Duration::from_secs(60)).try_acquire()?.release())?;
    #[cfg(feature = "async")]
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let store = runtime.block_on(builder.connect_async())?;
        let lock = tenure_core::aio::Lock::new(&store, "a").ttl(Duration::from_secs(60));
        lost(&|| runtime.block_on(async { lock.try_acquire().await?.release().await }))?;
    }
    Ok(())
}

/// Waits for something that must come about, and fails if it does not.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < until, "expected {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn a_lock_that_is_in_a_set_twice_is_found_out_whatever_kind_of_lock_it_is() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let builder = || Redis::builder(&server.url());
    for (way, builder) in [
        ("tracking", builder()),
        ("a channel", builder().wake(Wake::Channel)),
        ("a queue", builder().fair()),
        ("numbers", builder().profile(Profile::django("", 1))),
    ] {
        let open = || builder.clone().connect();
        let (one, two) = (open()?, open()?);
        let twice = |error: Error| {
            assert!(error.is_misconfigured() && error.to_string().contains("twice"), "{way}: {error:?}");
        };
        let pair = |name: &str| (Lock::new(&one, name), Lock::new(&two, name));
        twice(LockAll::of(pair("a")).try_acquire().expect_err("it is one lock"));
        twice(LockAll::of(pair("a")).acquire().expect_err("it is one lock"));
        let (here, there) = pair("p");
        let permits = LockAll::of((here.permit(1), there.permit(1)));
        twice(permits.acquire().expect_err("it is one permit"));
        let (here, there) = pair("s");
        LockAll::of((here.shared(), there.shared())).try_acquire()?.release()?;
    }
    Ok(())
}

fn a_full_server_refuses_with_a_remedy_and_still_releases() -> Outcome {
    let server = servers::Redis::with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"])?;
    let store = open(&server)?;
    let held = Lock::new(&store, "a").acquire()?;
    for n in 0..100 {
        let _ = server.command(&format!("SETRANGE filler{n} 200000 x"));
    }
    let error = Lock::new(&store, "b").try_acquire().expect_err("there is no memory left");
    assert!(error.is_unavailable() && error.to_string().contains("maxmemory"), "{error:?}");
    held.release()?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_unavailable()));
    Ok(())
}

fn keys_of_other_types_are_taken_and_stay_as_they_are() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server)?;
    for (name, make) in [
        ("h", "HSET lock:h f v"),
        ("l", "RPUSH lock:l v"),
        ("s", "SET lock:s v"),
        ("z", "ZADD lock:z 9999999999999 m"),
    ] {
        server.command(make)?;
        assert!(Lock::new(&store, name).try_acquire().is_err_and(|error| error.is_contended()), "{name}");
        assert!(
            Lock::new(&store, name).shared().try_acquire().is_err_and(|error| error.is_contended()),
            "{name}"
        );
        assert_eq!(server.command(&format!("EXISTS lock:{name}"))?, ":1\r\n");
    }
    Ok(())
}
