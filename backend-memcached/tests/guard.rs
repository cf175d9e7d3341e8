//! The guard: a server that may have forgotten locks grants none, and fences never go back.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tenure_core::{Backend, Claim, Held, Lock, Moment, Release, Renewal, Result, Settings};
use tenure_memcached::{Builder, Grant, Memcached};
use tenure_servers::{self as servers, Outcome};

/// The longest lease, which is waited out.
const LONGEST: Duration = Duration::from_millis(1500);

/// The server's clock counts seconds, from any part of one, at both ends, and may be behind.
const GRAIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_was_started_anew_grants_nothing_until_the_longest_lease_is_over,
        a_server_that_was_flushed_does_so_too,
        a_guard_that_was_evicted_closes_the_server_and_no_lock_is_lost,
        a_guard_that_somebody_deleted_is_made_anew,
        a_server_that_has_run_for_long_opens_at_once,
        a_value_of_another_program_under_the_guards_key_is_a_mistake,
        a_guard_of_an_earlier_life_of_the_server_is_none,
        fences_grow_without_a_quarantine_too,
        a_number_from_before_a_restart_touches_nobodys_lock,
        a_fence_is_above_what_the_caller_saw,
    ];
    servers::run_at_once(
        "memcached",
        tests.len(),
        tests.iter().map(|(name, test)| {
            let test: Box<dyn FnOnce() -> Outcome + Send> = Box::new(*test);
            ((*name).to_owned(), test)
        }),
    )
}

fn builder(server: &servers::Memcached) -> Result<Builder> {
    let settings = Settings::default().with_lease(Duration::from_secs(1))?.with_max_ttl(LONGEST)?;
    Ok(Memcached::builder(&server.url()).settings(settings))
}

/// A store on a server that was started long ago.
fn settled(server: &servers::Memcached) -> Result<Memcached> {
    let store = builder(server)?.connect()?;
    let began = Moment::now();
    let error = Lock::new(&store, "first").try_acquire().expect_err("the server is new");
    let left = error.retry_after().unwrap_or_default();
    assert!(error.is_quarantined() && left <= LONGEST + GRAIN, "{error:?}");
    Lock::new(&store, "first").acquire()?.release()?;
    let waited = Moment::now().since(began);
    assert!(
        waited >= LONGEST && waited < LONGEST + GRAIN * 2,
        "it waited {waited:?}, and {left:?} were told"
    );
    Ok(store)
}

/// Sees that nobody gets a lock that was forgotten while its holder believes in it.
fn is_closed(server: &servers::Memcached, store: &Memcached, held: &Lock<Memcached, Held>) -> Outcome {
    let deadline = held.deadline().expect("it has a lease");
    let other = builder(server)?.connect()?;
    for lock in [Lock::new(&other, "a"), Lock::new(store, "a"), Lock::new(store, "b")] {
        let error = lock.try_acquire().expect_err("leases from before may be believed in");
        assert!(error.is_quarantined() && error.retry_after().is_some(), "{error:?}");
    }
    let next = Lock::new(&other, "a").acquire()?;
    assert!(Moment::now() >= deadline, "it was granted while its holder believed in it");
    assert!(next.fence() > held.fence(), "{} after {}", next.fence(), held.fence());
    next.release()?;
    Ok(())
}

fn a_server_that_was_started_anew_grants_nothing_until_the_longest_lease_is_over() -> Outcome {
    let mut server = servers::memcached()?;
    let store = settled(&server)?;
    let held = Lock::new(&store, "a").ttl(LONGEST).try_acquire()?;
    server.restart()?;
    is_closed(&server, &store, &held)?;
    assert!(held.renew().is_err_and(|error| error.is_lost()), "the server forgot it");
    Ok(())
}

fn a_server_that_was_flushed_does_so_too() -> Outcome {
    let server = servers::memcached()?;
    let store = settled(&server)?;
    let held = Lock::new(&store, "a").ttl(LONGEST).try_acquire()?;
    assert_eq!(server.command("flush_all")?, "OK\r\n");
    is_closed(&server, &store, &held)?;
    assert!(held.renew().is_err_and(|error| error.is_lost()), "the server forgot it");
    Ok(())
}

fn a_guard_that_was_evicted_closes_the_server_and_no_lock_is_lost() -> Outcome {
    // Locks with long labels lie in another class of values than the guard, whose like fill the server.
    let server = servers::Memcached::with(&["-m", "2", "-o", "slab_chunk_max=16384"])?;
    let store = settled(&server)?;
    let label = "l".repeat(600);
    let held = Lock::new(&store, "a").label(label.as_str()).ttl(LONGEST).try_acquire()?;
    let guard = server.command("mg ~tenure v")?.lines().nth(1).expect("it is there").to_owned();
    for round in 0.. {
        // A guard that is read is kept longer; so it is looked for once in a while.
        let more =
            |key: u32| format!("set f{:06} 0 0 {} noreply\r\n{guard}", round * 30_000 + key, guard.len());
        server.command(&(0..30_000).map(more).collect::<Vec<_>>().join("\r\n"))?;
        if server.command("mg ~tenure")?.starts_with("EN") {
            break;
        }
        assert!(round < 20, "the guard was not evicted");
    }
    let error = Lock::new(&store, "b").try_acquire().expect_err("the guard is gone");
    assert!(error.is_quarantined(), "{error:?}");
    assert!(Lock::new(&store, "b").acquire()?.fence() > held.fence());
    Ok(())
}

fn a_guard_that_somebody_deleted_is_made_anew() -> Outcome {
    let server = servers::memcached()?;
    let store = settled(&server)?;
    let held = Lock::new(&store, "a").ttl(LONGEST).try_acquire()?;
    assert_eq!(server.command("delete ~tenure")?, "DELETED\r\n");
    let other = Lock::new(&store, "b").acquire()?;
    assert!(other.fence() > held.fence(), "{} after {}", other.fence(), held.fence());
    assert!(
        Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()),
        "nothing was forgotten"
    );
    held.renew()?;
    held.release()?;
    Ok(())
}

fn a_server_that_has_run_for_long_opens_at_once() -> Outcome {
    let server = servers::memcached()?;
    thread::sleep(LONGEST + GRAIN + Duration::from_secs(1));
    Lock::new(builder(&server)?.connect()?, "a").try_acquire()?.release()?;
    Ok(())
}

fn a_value_of_another_program_under_the_guards_key_is_a_mistake() -> Outcome {
    let server = servers::memcached()?;
    server.command("set ~tenure 0 0 5\r\nhello")?;
    let error = Lock::new(builder(&server)?.connect()?, "a").try_acquire().expect_err("it is no guard");
    assert!(error.is_misconfigured() && error.to_string().contains("~tenure"), "{error}");
    Ok(())
}

fn a_guard_of_an_earlier_life_of_the_server_is_none() -> Outcome {
    let server = servers::memcached()?;
    // As one is that was made with what the server said just before it was restarted.
    server.command("set ~tenure 0 0 11\r\ng1 1000 0 7")?;
    let error = Lock::new(builder(&server)?.connect()?, "a").try_acquire().expect_err("the server is new");
    assert!(error.is_quarantined(), "{error:?}");
    Ok(())
}

fn fences_grow_without_a_quarantine_too() -> Outcome {
    let mut server = servers::memcached()?;
    let open = |server: &servers::Memcached| -> Result<Memcached> {
        builder(server)?.without_quarantine().connect()
    };
    let mut last = tenure_core::Fence::ZERO;
    for round in 0..6 {
        // Each by a process of its own, which has seen nothing of the ones before.
        let store = open(&server)?;
        for _ in 0..50 {
            let held = Lock::new(&store, "a").try_acquire()?;
            assert!(held.fence() > last, "round {round}: {} after {last}", held.fence());
            last = held.fence();
            held.release()?;
        }
        match round % 2 {
            0 => server.restart()?,
            _ => drop(server.command("flush_all")?),
        }
    }
    Ok(())
}

/// What a holder from before may still ask for.
type Late = fn(&Memcached, &Claim, &Grant) -> Result<()>;

fn a_number_from_before_a_restart_touches_nobodys_lock() -> Outcome {
    const WHILE: Duration = Duration::from_millis(500);
    let late: [Late; 3] = [
        |store, claim, grant| store.renew(Renewal::new(claim, grant, WHILE)),
        |store, claim, grant| store.release(Release::new(claim, grant, None)),
        |store, claim, grant| store.release(Release::new(claim, grant, Some(WHILE))),
    ];
    for late in late {
        let mut server = servers::memcached()?;
        let open = || -> Result<Memcached> { builder(&server)?.without_quarantine().connect() };
        let (store, watcher, next) = (open()?, open()?, open()?);
        let lock = Lock::new(&store, "a").ttl(LONGEST).release_on_drop(false);
        let held = lock.try_acquire()?;
        let claim = lock.claim_as(held.owner())?;
        let number = |server: &servers::Memcached| server.command("mg lock:a c");
        let before = number(&server)?;
        let began = Moment::now();
        assert!(Lock::new(&watcher, "a").try_acquire().is_err_and(|error| error.is_contended()));
        server.restart()?;
        let other = Lock::new(&next, "a").ttl(LONGEST).try_acquire()?;
        assert_eq!(number(&server)?, before, "the server counts from the beginning");
        // On a connection that is new too, whatever the one from before is worth.
        let _ = late(&store, &claim, held.grant());
        let _ = late(&store, &claim, held.grant());
        other.renew()?;
        // Nor is it taken over by who saw the number for long enough.
        while Moment::now() < began + LONGEST + Duration::from_millis(100) {
            thread::sleep(Duration::from_millis(20));
            other.renew()?;
            assert!(Lock::new(&watcher, "a").try_acquire().is_err_and(|error| error.is_contended()));
        }
        other.release()?;
    }
    Ok(())
}

fn a_fence_is_above_what_the_caller_saw() -> Outcome {
    let server = servers::memcached()?;
    let store = builder(&server)?.without_quarantine().connect()?;
    let lock = Lock::new(&store, "a");
    let first = lock.try_acquire()?;
    let seen = first.fence();
    first.release()?;
    // The guard of a server whose clock went back.
    let stats = server.command("stats")?;
    let number = |name: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.and_then(|number| number.trim().parse().ok()).expect("the server says so")
    };
    let guard = format!("g1 1000000 0 {}", number("time") + 2 - number("uptime"));
    server.command(&format!("set ~tenure 0 0 {}\r\n{guard}", guard.len()))?;
    let next = lock.try_acquire()?;
    assert!(next.fence() > seen, "{} after {seen}", next.fence());
    let after = next.fence();
    next.release()?;
    // And for those who saw nothing.
    let other = Lock::new(builder(&server)?.without_quarantine().connect()?, "a").try_acquire()?;
    assert!(other.fence() > after, "{} after {after}", other.fence());
    Ok(())
}
