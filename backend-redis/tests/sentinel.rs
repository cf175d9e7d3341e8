//! What is true of a master that sentinels watch over: it is followed when it is another.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Backend, Cause, Error, Lock, Result, Status};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Outcome, Sentinels};

const LIMIT: Duration = Duration::from_millis(500);

/// How long sentinels may take to put the replica in the place of the master.
const FAIL_OVER: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let tests = servers::tests![
        a_killed_master_leaves_leases_unknown_until_its_replica_confirms_them,
        a_lease_that_the_replica_never_heard_of_is_lost,
        a_master_that_hangs_is_followed_and_never_used_again,
        a_master_that_was_demoted_is_left_at_its_first_refusal,
        waiters_hear_of_releases_at_the_new_master,
        one_sentinel_that_lives_is_enough,
        a_sentinel_that_knows_nothing_or_something_old_hides_no_master,
        a_master_that_the_sentinels_do_not_know_is_misconfigured,
        sentinels_get_a_password_only_if_they_ask_for_it,
    ];
    servers::run("redis-sentinel", tests)
}

const TTL: Duration = Duration::from_secs(60);

fn open(sentinels: &Sentinels) -> Result<Redis> {
    Redis::builder(&sentinels.url()).connect_timeout(LIMIT).io_timeout(LIMIT).connect()
}

fn eventually<T>(mut what: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match what() {
            Err(error) if error.is_unavailable() && began.elapsed() < FAIL_OVER => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// Waits until a server has this many keys.
fn has(sentinels: &mut Sentinels, place: usize, keys: usize) -> Outcome {
    until("the replica has what was written", || {
        sentinels.servers()[place].command("DBSIZE").is_ok_and(|answer| answer == format!(":{keys}\r\n"))
    })
}

fn until(what: &str, mut is: impl FnMut() -> bool) -> Outcome {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < FAIL_OVER, "it takes too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn unavailable_in_time(error: &Error, began: Instant) {
    assert!(error.is_unavailable(), "{error:?}");
    assert!(began.elapsed() < LIMIT * 4, "it took {:?}: {error}", began.elapsed());
}

fn a_killed_master_leaves_leases_unknown_until_its_replica_confirms_them() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let store = open(&sentinels)?;
    let held = Lock::new(&store, "a").ttl(TTL).try_acquire()?;
    let kept = Lock::new(&store, "b").ttl(TTL).try_acquire()?;
    let alive = Lock::new(&store, "alive").keep_alive().try_acquire()?;
    has(&mut sentinels, 1, 6)?;
    sentinels.servers()[0].kill();
    let began = Instant::now();
    unavailable_in_time(&held.renew().expect_err("the master is dead"), began);
    assert_eq!((held.status(), kept.status()), (Status::Unknown, Status::Held));
    unavailable_in_time(&Lock::new(&store, "c").try_acquire().expect_err("the master is dead"), began);
    let renewed = Lock::new(&store, "d").ttl(TTL);
    eventually(|| renewed.try_acquire())?.release()?;
    // Not asked since, but granted by a server that is gone.
    assert_eq!((held.status(), kept.status()), (Status::Unknown, Status::Unknown));
    until("what is kept alive is verified", || alive.status() == Status::Held)?;
    held.renew()?;
    assert_eq!(held.status(), Status::Held);
    assert_eq!(sentinels.master(), Some(sentinels.servers()[1].port()));
    kept.renew()?;
    assert_eq!(kept.status(), Status::Held);
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
    let fence = held.fence();
    held.release()?;
    assert!(Lock::new(&store, "a").try_acquire()?.fence() > fence);
    Ok(())
}

fn a_lease_that_the_replica_never_heard_of_is_lost() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let store = open(&sentinels)?;
    let _before = Lock::new(&store, "before").ttl(TTL).try_acquire()?;
    has(&mut sentinels, 1, 2)?;
    // The replica hears nothing of what is written from now on.
    sentinels.servers()[1].process().stop()?;
    sentinels.servers()[0].command("CLIENT KILL TYPE replica")?;
    let held = Lock::new(&store, "a").ttl(TTL).try_acquire()?;
    sentinels.servers()[0].kill();
    sentinels.servers()[1].process().go_on()?;
    let error = eventually(|| held.renew()).expect_err("nobody knows of it");
    assert_eq!(error.cause(), Some(Cause::Superseded), "{error:?}");
    assert_eq!(held.status(), Status::Lost(Cause::Superseded));
    let next = Lock::new(&store, "a").try_acquire()?;
    assert!(next.fence() > held.fence(), "only the fence tells who came later");
    Ok(())
}

fn a_master_that_hangs_is_followed_and_never_used_again() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let store = open(&sentinels)?;
    let held = Lock::new(&store, "a").ttl(TTL).try_acquire()?;
    // Several connections, all of which are to be left.
    let others: Vec<_> =
        (0..4).map(|n| Lock::new(&store, format!("o{n}")).ttl(TTL).try_acquire()).collect::<Result<_>>()?;
    thread::scope(|scope| {
        for held in &others {
            scope.spawn(|| (0..50).for_each(|_| held.renew().expect("the master is up")));
        }
    });
    has(&mut sentinels, 1, 10)?;
    sentinels.servers()[0].process().stop()?;
    let new = sentinels.servers()[1].port();
    until("the sentinels name the other", || sentinels.master() == Some(new))?;
    let began = Instant::now();
    unavailable_in_time(&held.renew().expect_err("the master hangs"), began);
    // One connection was found silent: the others are not tried. The renewal that finds the new master was
    // begun before the lease was in doubt, and may have to be repeated.
    let began = Instant::now();
    eventually(|| held.renew())?;
    for other in &others {
        other.renew()?;
    }
    assert!(began.elapsed() < LIMIT, "it took {:?}", began.elapsed());
    sentinels.servers()[0].process().go_on()?;
    until("the old master is a replica", || {
        sentinels.servers()[0].command("ROLE").is_ok_and(|role| role.contains("slave"))
    })?;
    for other in others {
        other.release()?;
    }
    held.release()?;
    Ok(())
}

fn a_master_that_was_demoted_is_left_at_its_first_refusal() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let store = open(&sentinels)?;
    let held = Lock::new(&store, "a").ttl(TTL).try_acquire()?;
    has(&mut sentinels, 1, 2)?;
    // As an operator would: both live, and exchange their roles.
    let (old, new) = (sentinels.servers()[0].port(), sentinels.servers()[1].port());
    sentinels.fail_over()?;
    until("the sentinels name the other", || sentinels.master() == Some(new))?;
    until("the old master is a replica", || {
        sentinels.servers()[0].command("ROLE").is_ok_and(|role| role.contains("slave"))
    })?;
    eventually(|| held.renew())?;
    held.release()?;
    // By hand and without the sentinels: the refusal says so, and the connection is not used again.
    sentinels.servers()[1].command(&format!("REPLICAOF 127.0.0.1 {old}"))?;
    let error = Lock::new(&store, "b").try_acquire().expect_err("it is a replica now");
    assert!(error.is_unavailable(), "{error:?}");
    // Whom the sentinels name is asked whether it is a master.
    let error = open(&sentinels).expect_err("there is no master");
    assert!(error.is_unavailable() && error.to_string().contains("no master"), "{error:?}");
    eventually(|| Lock::new(&store, "b").try_acquire())?.release()?;
    Ok(())
}

fn waiters_hear_of_releases_at_the_new_master() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let (store, other) = (open(&sentinels)?, open(&sentinels)?);
    let wait = |store: &Redis| {
        let lock = Lock::new(store, "a").ttl(TTL);
        let waiter = thread::spawn(move || lock.acquire().map(|held| (held, Instant::now())));
        while store.site().waiting("lock:a") == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        // Time to listen and to look once more.
        thread::sleep(Duration::from_millis(1500));
        waiter
    };
    let mut held = Lock::new(&store, "a").ttl(TTL).try_acquire()?;
    for round in 0..2 {
        let waiter = wait(&other);
        let released = Instant::now();
        held.release()?;
        let (next, got) = waiter.join().expect("it does not panic")?;
        let took = got.saturating_duration_since(released);
        assert!(took < Duration::from_secs(1), "{round}: it took {took:?}");
        next.release()?;
        if round == 0 {
            sentinels.fail_over()?;
            let new = sentinels.servers()[1].port();
            until("the sentinels name the other", || sentinels.master() == Some(new))?;
        }
        held = eventually(|| Lock::new(&store, "a").ttl(TTL).try_acquire())?;
    }
    held.release()?;
    Ok(())
}

fn one_sentinel_that_lives_is_enough() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let store = Redis::builder(&sentinels.url()).connect()?;
    for (place, sentinel) in sentinels.sentinels().enumerate() {
        match place {
            0 => sentinel.kill(),
            1 => sentinel.stop()?,
            _ => {}
        }
    }
    let url = sentinels.url();
    Lock::new(&Redis::connect(&url)?, "a").try_acquire()?.release()?;
    sentinels.servers()[0].command("CLIENT KILL TYPE normal")?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    for sentinel in sentinels.sentinels() {
        sentinel.kill();
    }
    // What is connected stays so.
    Lock::new(&store, "a").try_acquire()?.release()?;
    let began = Instant::now();
    let error = open(&sentinels).expect_err("nobody says who is master");
    unavailable_in_time(&error, began);
    assert!(error.to_string().contains("sentinel"), "{error:?}");
    Ok(())
}

fn a_sentinel_that_knows_nothing_or_something_old_hides_no_master() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let works = |url: &str, what: &str| -> Outcome {
        let builder = Redis::builder(url).connect_timeout(LIMIT).io_timeout(LIMIT);
        // Whoever answered last is asked first.
        for _ in 0..2 {
            let store = builder.clone().connect().map_err(|error| error.on(what))?;
            Lock::new(store, "a").try_acquire()?.release()?;
        }
        #[cfg(feature = "async")]
        {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(async {
                let store = builder.connect_async().await.map_err(|error| error.on(what))?;
                tenure_core::aio::Lock::new(&store, "a").try_acquire().await?.release().await
            })?;
        }
        Ok(())
    };
    let url = sentinels.url();
    assert!(sentinels.ask(0, "SENTINEL REMOVE mymaster")?.starts_with("+OK"));
    works(&url, "it knows nothing")?;
    // One that was cut off, and names what was the master long ago.
    let replica = sentinels.servers()[1].port();
    for (gone, what) in [(1, "it names a server that is gone"), (replica, "it names a replica")] {
        let answer = sentinels.ask(0, &format!("SENTINEL MONITOR mymaster 127.0.0.1 {gone} 9"))?;
        assert!(answer.starts_with("+OK"), "{answer}");
        works(&url, what)?;
        sentinels.ask(0, "SENTINEL REMOVE mymaster")?;
    }
    // Whether the others know it cannot be told.
    for sentinel in sentinels.sentinels().skip(1) {
        sentinel.kill();
    }
    let error = open(&sentinels).expect_err("nobody knows");
    assert!(error.is_unavailable(), "{error:?}");
    Ok(())
}

fn a_master_that_the_sentinels_do_not_know_is_misconfigured() -> Outcome {
    let sentinels = servers::sentinels()?;
    let error = Redis::connect(&sentinels.url().replace("mymaster", "nobody")).expect_err("there is none");
    assert!(error.is_misconfigured() && error.to_string().contains("\"nobody\""), "{error:?}");
    Ok(())
}

fn sentinels_get_a_password_only_if_they_ask_for_it() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    for server in sentinels.servers() {
        server.command("CONFIG SET masterauth secret")?;
        server.command("CONFIG SET requirepass secret")?;
    }
    let url = sentinels.url().replace("://", "://:secret@");
    let store = Redis::connect(&url)?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    assert!(!format!("{store:?}").contains("secret"));
    sentinels.each("ACL SETUSER default resetpass >secret")?;
    Lock::new(&Redis::connect(&url)?, "a").try_acquire()?.release()?;
    for wrong in [sentinels.url(), url.replace("secret", "wrong")] {
        let error = Redis::connect(&wrong).expect_err("nobody lets it in");
        assert!(!format!("{error:?}").contains(":wrong@"), "{error:?}");
    }
    Ok(())
}
