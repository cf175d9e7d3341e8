//! The guard that keeps locks closed after the server forgot them.

use std::process::ExitCode;
use std::time::Duration;

use tenure_core::{Breaking, Inspect, Lock, Moment, Name, Owner, Result, Settings, wall_micros};
use tenure_redis::{Builder, Redis};
use tenure_servers::{self as servers, Outcome};

/// The longest lease, which is waited out.
const LONGEST: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_forgot_everything_grants_nothing_until_the_longest_lease_is_over,
        a_server_that_forgot_the_latest_only_does_so_too,
        a_guard_closes_fair_locks_and_shared_locks_alike,
        nothing_is_handed_on_while_the_guard_is_closed,
        locks_of_another_prefix_or_database_are_closed_as_well,
        a_user_who_may_not_ask_which_run_it_is_is_granted_nothing,
        forgotten_scripts_close_nothing,
    ];
    servers::run("redis", tests)
}

fn builder(server: &servers::Redis) -> Result<Builder> {
    let settings = Settings::default().with_lease(Duration::from_secs(1))?.with_max_ttl(LONGEST)?;
    Ok(Redis::builder(&server.url()).settings(settings).restart_guard())
}

/// A store on a server that was started long ago.
fn settled(builder: &Builder) -> Result<Redis> {
    let store = builder.clone().connect()?;
    let began = Moment::now();
    let error = Lock::new(&store, "first").try_acquire().expect_err("the server is new");
    let left = error.retry_after().unwrap_or_default();
    assert!(error.is_quarantined() && left <= LONGEST + Duration::from_millis(2), "{error:?}");
    Lock::new(&store, "first").acquire()?.release()?;
    let waited = Moment::now().since(began);
    assert!(waited >= left && waited < LONGEST * 2, "it waited {waited:?} of {left:?}");
    Ok(store)
}

/// Restarts the server under a lock, and sees that nobody gets it while its holder believes in it.
fn restart_under(server: &mut servers::Redis, builder: &Builder, store: &Redis) -> Outcome {
    let held = Lock::new(store, "a").ttl(LONGEST).acquire()?;
    let deadline = held.deadline().expect("it has a lease");
    server.restart()?;
    for lock in [Lock::new(&builder.clone().connect()?, "a"), Lock::new(store, "a"), Lock::new(store, "b")] {
        let error = lock.try_acquire().expect_err("leases from before may be believed in");
        assert!(error.is_quarantined() && error.retry_after().is_some(), "{error:?}");
    }
    assert!(held.renew().is_err_and(|error| error.is_lost()), "the server forgot it");
    let next = Lock::new(&builder.clone().connect()?, "a").acquire()?;
    assert!(Moment::now() >= deadline, "it was granted while its holder believed in it");
    assert!(next.fence() > held.fence());
    next.release()?;
    Ok(())
}

fn a_server_that_forgot_everything_grants_nothing_until_the_longest_lease_is_over() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let builder = builder(&server)?;
    let store = settled(&builder)?;
    restart_under(&mut server, &builder, &store)?;
    let held = Lock::new(&store, "a").acquire()?;
    server.command("FLUSHALL")?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_quarantined()));
    drop(held);
    Ok(())
}

fn a_server_that_forgot_the_latest_only_does_so_too() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let builder = builder(&server)?;
    let store = settled(&builder)?;
    // The guard is saved, and what comes after it is not.
    server.command("SAVE")?;
    restart_under(&mut server, &builder, &store)?;
    assert!(server.command("EXISTS ~r:lock:")?.starts_with(":1"));
    Ok(())
}

fn a_guard_closes_fair_locks_and_shared_locks_alike() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let builder = builder(&server)?;
    let fair = builder.clone().fair();
    let store = settled(&fair)?;
    restart_under(&mut server, &fair, &store)?;
    server.restart()?;
    let plain = builder.connect()?;
    assert!(Lock::new(&plain, "s").shared().try_acquire().is_err_and(|error| error.is_quarantined()));
    Lock::new(&plain, "s").shared().acquire()?.release()?;
    Ok(())
}

/// Whether the waiter of [`a_waiter`] was handed a permit.
fn was_served(server: &servers::Redis, name: &str, waiter: Owner) -> Outcome<bool> {
    let waits = server.command(&format!("ZSCORE ~q:{{lock:{name}}} {waiter}"))?;
    let holds = server.command(&format!("ZSCORE lock:{name} p{waiter}"))?;
    assert_eq!(waits.starts_with("$-1"), !holds.starts_with("$-1"), "{name}: {waits} {holds}");
    Ok(waits.starts_with("$-1"))
}

/// Puts somebody who wants one of two permits into the queue, who does not ask by itself for a while.
fn a_waiter(server: &servers::Redis, name: &str) -> Outcome<Owner> {
    let (token, now) = (Owner::random(), wall_micros() / 1000);
    server.command(&format!("ZADD ~q:{{lock:{name}}} 1 {token}"))?;
    let place = format!("{} {now} {} 500 p 2 0 ~g:nobody dead", now + 60_000, now + 60_000);
    server.command(&format!("HSET ~p:{{lock:{name}}} {token} \"{place}\""))?;
    Ok(token)
}

fn nothing_is_handed_on_while_the_guard_is_closed() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let fair = builder(&server)?.fair();
    let store = settled(&fair)?;
    let names = ["renewed", "released", "broken", "abandoned"];
    let mut held = Vec::new();
    let mut waiters = Vec::new();
    for name in names {
        held.push(Lock::new(&store, name).ttl(LONGEST).permit(2).try_acquire()?);
        waiters.push(a_waiter(&server, name)?);
    }
    // The second permit was taken after this was saved, and its holder believes in it.
    server.command("SAVE")?;
    server.restart()?;
    let mut held = held.into_iter();
    held.next().expect("there are four").renew_for(Duration::from_secs(1))?;
    held.next().expect("there are four").release()?;
    store.force_release(&Name::new("broken")?, Breaking::Now, "its owner is dead")?;
    assert!(Lock::new(&store, "abandoned").permit(2).acquire_for(Duration::ZERO).is_err());
    for (name, waiter) in names.into_iter().zip(&waiters) {
        assert!(!was_served(&server, name, *waiter)?, "the waiter for what was {name} was served");
    }
    Lock::new(&store, "first").acquire()?.release()?;
    for (name, waiter) in names.into_iter().zip(&waiters) {
        let late = Lock::new(&store, name).permit(2).try_acquire()?;
        late.release()?;
        assert!(was_served(&server, name, *waiter)?, "the waiter for what was {name} was forgotten");
    }
    drop(held);
    Ok(())
}

fn locks_of_another_prefix_or_database_are_closed_as_well() -> Outcome {
    let mut server = servers::Redis::with(&[])?;
    let settings = |prefix: &str| {
        let settings = Settings::default().with_lease(Duration::from_secs(1))?.with_max_ttl(LONGEST)?;
        settings.with_prefix(prefix)
    };
    let open = |database: &str, prefix: &str| {
        let url = format!("{}{database}", server.url());
        Redis::builder(&url).settings(settings(prefix)?).restart_guard().connect()
    };
    let stores = [open("", "lock:")?, open("", "other:")?, open("3", "lock:")?];
    for store in &stores {
        assert!(Lock::new(store, "a").try_acquire().is_err_and(|error| error.is_quarantined()));
    }
    for store in &stores {
        Lock::new(store, "a").acquire()?.release()?;
    }
    server.command("SAVE")?;
    server.restart()?;
    // The first to ask makes the scripts known again, to all of them.
    for store in &stores {
        let error = Lock::new(store, "a").try_acquire().expect_err("leases from before may be believed in");
        assert!(error.is_quarantined(), "{store:?}: {error:?}");
    }
    Ok(())
}

fn a_user_who_may_not_ask_which_run_it_is_is_granted_nothing() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let fair = builder(&server)?.fair().connect()?;
    let store = settled(&builder(&server)?)?;
    for store in [&store, &fair] {
        let held = Lock::new(store, "held").try_acquire()?;
        server.command("ACL SETUSER default -info")?;
        let error = Lock::new(store, "a").try_acquire().expect_err("the guard cannot know");
        assert!(error.is_misconfigured() && error.to_string().contains("ACL SETUSER"), "{error:?}");
        held.renew()?;
        held.release()?;
        server.command("ACL SETUSER default +info")?;
        Lock::new(store, "a").try_acquire()?.release()?;
    }
    Ok(())
}

fn forgotten_scripts_close_nothing() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = settled(&builder(&server)?)?;
    server.command("SCRIPT FLUSH")?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    Ok(())
}
