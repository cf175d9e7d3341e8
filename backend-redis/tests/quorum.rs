//! What fails in a quorum of servers, and how little of it is noticed.

use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tenure_core::{Backend, Breaking, Cause, Error, Inspect, Lock, Name, Result, Settings, Status};
use tenure_redis::Quorum;
use tenure_servers::{self as servers, Outcome};

const LIMIT: Duration = Duration::from_millis(300);

/// By when what goes on in the background must be done.
const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let tests = servers::tests![
        any_one_of_three_is_killed_and_everything_goes_on,
        two_of_five_are_killed_and_everything_goes_on,
        with_two_of_three_killed_it_is_unavailable_quickly_and_recovers_by_itself,
        with_two_of_three_hanging_it_is_unavailable_in_time_and_nothing_stays_behind,
        a_server_that_is_down_or_hangs_costs_nothing_noticeable,
        what_a_minority_granted_is_taken_back,
        what_a_hanging_server_grants_late_is_taken_back,
        a_partial_acquisition_does_not_block_its_own_retry,
        votes_that_were_split_are_settled,
        fences_grow_over_any_majority,
        a_forced_fence_is_known_to_a_majority,
        servers_that_lose_their_data_one_by_one_lose_no_lock,
        a_lock_that_a_majority_has_forgotten_is_lost,
        an_answer_after_the_lease_is_none,
        a_waiter_is_told_by_any_server,
        scripts_that_the_servers_forgot_are_sent_again,
        a_forgotten_script_does_not_let_a_release_overtake_its_acquire,
        one_server_under_two_names_has_one_vote,
        passwords_show_nowhere,
    ];
    servers::run("redis", tests)
}

type Servers = Vec<servers::Redis>;

fn start(count: usize, options: &[&str]) -> Outcome<Servers> {
    (0..count).map(|_| Ok(servers::Redis::with(options)?)).collect()
}

fn open(servers: &Servers) -> Result<Quorum> {
    open_with(servers, Settings::default())
}

fn open_with(servers: &Servers, settings: Settings) -> Result<Quorum> {
    let urls = servers.iter().map(servers::Redis::url);
    Quorum::builder(urls).node_timeout(LIMIT).settings(settings).connect()
}

/// The servers in the order in which the store counts them.
fn in_order(servers: &Servers) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers.len()).collect();
    order.sort_by_key(|index| servers[*index].url());
    order
}

/// An error that came within the time limits and is no contention.
fn unavailable<T: std::fmt::Debug>(limit: Duration, what: impl FnOnce() -> Result<T>) -> Error {
    let began = Instant::now();
    let error = what().expect_err("no majority answers");
    assert!(error.is_unavailable(), "{error:?}");
    assert!(began.elapsed() < limit, "it took {:?}: {error}", began.elapsed());
    error
}

fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < SOON, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_taken(server: &servers::Redis, name: &str) -> std::io::Result<bool> {
    Ok(server.command(&format!("EXISTS lock:{name}"))? == ":1\r\n")
}

fn all_goes_on(store: &Quorum, held: Lock<Quorum, tenure_core::Held>) -> Outcome {
    held.renew()?;
    let name = Name::new("a")?;
    assert_eq!(store.inspect(&name)?.map(|holder| holder.fence()), Some(held.fence()));
    assert_eq!(store.list("a")?.len(), 1);
    assert!(Lock::new(store, "a").try_acquire().is_err_and(|error| error.is_contended()));
    let next = thread::scope(|scope| {
        let waiter = scope.spawn(|| Lock::new(store, "a").acquire_for(SOON));
        thread::sleep(Duration::from_millis(50));
        let (fence, released) = (held.fence(), Instant::now());
        held.release()?;
        let next = waiter.join().expect("the waiter did not panic")?;
        assert!(released.elapsed() < Duration::from_secs(1), "the waiter was not told");
        assert!(next.fence() > fence);
        Ok::<_, servers::Stop>(next)
    })?;
    next.release()?;
    for name in ["b", "c"] {
        let held = Lock::new(store, name).acquire()?;
        assert!(store.force_release(&Name::new(name)?, Breaking::Safe, "a test")?.is_some());
        assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Forced)));
        Lock::new(store, name).try_acquire()?.release()?;
    }
    Ok(())
}

fn any_one_of_three_is_killed_and_everything_goes_on() -> Outcome {
    for down in 0..3 {
        let mut servers = start(3, &[])?;
        let store = open(&servers)?;
        let held = Lock::new(&store, "a").acquire()?;
        assert!(store.diagnose().iter().all(|advice| !advice.risk().contains("does not answer")));
        servers[down].kill();
        all_goes_on(&store, held)?;
        assert!(store.diagnose().iter().any(|advice| advice.risk().contains("does not answer")));
        // It can be opened without it, too.
        let other = open(&servers)?;
        let held = Lock::new(&other, "a").acquire()?;
        servers[down].restart()?;
        all_goes_on(&other, held)?;
    }
    Ok(())
}

fn two_of_five_are_killed_and_everything_goes_on() -> Outcome {
    let mut servers = start(5, &[])?;
    let store = open(&servers)?;
    let held = Lock::new(&store, "a").acquire()?;
    servers[1].kill();
    servers[3].kill();
    all_goes_on(&store, held)?;
    servers[0].kill();
    unavailable(LIMIT * 5, || Lock::new(&store, "a").try_acquire());
    Ok(())
}

fn with_two_of_three_killed_it_is_unavailable_quickly_and_recovers_by_itself() -> Outcome {
    let mut servers = start(3, &["--appendonly", "yes", "--appendfsync", "always"])?;
    let store = open(&servers)?;
    let lock = Lock::new(&store, "a");
    let held = Lock::new(&store, "held").acquire()?;
    servers[0].kill();
    servers[2].kill();
    let began = Instant::now();
    let error = unavailable(LIMIT * 2, || lock.try_acquire());
    assert!(error.to_string().contains("1 of 3 servers answered; 2 are needed"), "{error}");
    assert!(error.backend().is_some_and(|label| label.starts_with("redis+quorum://127.0.0.1:")), "{error}");
    unavailable(LIMIT * 2, || held.renew());
    assert_eq!(held.status(), Status::Unknown);
    unavailable(LIMIT * 2, || lock.acquire());
    unavailable(LIMIT * 2, || store.inspect(&Name::new("held").expect("it is a name")));
    unavailable(LIMIT * 2, || store.list(""));
    unavailable(LIMIT * 4, || open(&servers));
    assert!(began.elapsed() < LIMIT * 8, "refused connections took {:?}", began.elapsed());
    // Somebody else's, who must be denied when they are back.
    servers[0].restart()?;
    servers[2].restart()?;
    eventually("a renewal by servers that are back", || held.renew().is_ok());
    assert_eq!(held.status(), Status::Held);
    assert!(Lock::new(&store, "held").try_acquire().is_err_and(|error| error.is_contended()));
    lock.acquire_for(SOON)?.release()?;
    held.release()?;
    Ok(())
}

fn with_two_of_three_hanging_it_is_unavailable_in_time_and_nothing_stays_behind() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    let (lock, held) = (Lock::new(&store, "a"), Lock::new(&store, "held").acquire()?);
    servers[1].process().stop()?;
    servers[2].process().stop()?;
    unavailable(LIMIT * 5, || lock.try_acquire());
    let began = Instant::now();
    unavailable(LIMIT * 5, || held.renew());
    // From the second time on it is known.
    assert!(began.elapsed() < LIMIT * 3, "it took {:?}", began.elapsed());
    servers[1].process().go_on()?;
    servers[2].process().go_on()?;
    eventually("a renewal by servers that go on", || held.renew().is_ok());
    assert_eq!(held.status(), Status::Held);
    for server in &servers {
        eventually("what was asked of a hanging server to be taken back", || {
            is_taken(server, "a").is_ok_and(|taken| !taken)
        });
    }
    lock.try_acquire()?.release()?;
    held.release()?;
    Ok(())
}

/// The median time of an acquire with its release.
fn median_pair(store: &Quorum) -> Result<Duration> {
    let mut times = Vec::new();
    for n in 0..300 {
        let began = Instant::now();
        Lock::new(store, format!("{}", n % 7)).try_acquire()?.release()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    // Nearly all of them, so that those which wait for a server that is down would show.
    assert!(
        times[times.len() * 95 / 100] < LIMIT / 3,
        "one in twenty takes {:?}",
        times[times.len() * 95 / 100]
    );
    Ok(times[times.len() / 2])
}

fn a_server_that_is_down_or_hangs_costs_nothing_noticeable() -> Outcome {
    let mut servers = start(3, &[])?;
    let store = open(&servers)?;
    median_pair(&store)?;
    let before = median_pair(&store)?;
    let limit = before * 3 + Duration::from_millis(1);
    servers[0].kill();
    let killed = median_pair(&store)?;
    assert!(killed < limit, "a pair took {before:?} with three servers, {killed:?} with one killed");
    servers[0].restart()?;
    eventually("the third server to be back", || {
        let held = Lock::new(&store, "a").try_acquire();
        let back = is_taken(&servers[0], "a").is_ok_and(|taken| taken);
        held.is_ok_and(|held| held.release().is_ok()) && back
    });
    servers[1].process().stop()?;
    let began = Instant::now();
    Lock::new(&store, "a").try_acquire()?.release()?;
    assert!(began.elapsed() < LIMIT / 2, "the first pair with one hanging took {:?}", began.elapsed());
    let hanging = median_pair(&store)?;
    servers[1].process().go_on()?;
    assert!(hanging < limit, "a pair took {before:?} with three servers, {hanging:?} with one hanging");
    Ok(())
}

/// Somebody who speaks to the servers one by one.
fn take(servers: &[&servers::Redis], name: &str) -> Outcome {
    for server in servers {
        assert_eq!(server.command(&format!("SET lock:{name} another NX PX 60000"))?, "+OK\r\n");
    }
    Ok(())
}

fn what_a_minority_granted_is_taken_back() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    for free in 0..3 {
        let name = format!("{free}");
        let others: Vec<_> = servers.iter().enumerate().filter(|(index, _)| *index != free).collect();
        take(&others.iter().map(|(_, server)| *server).collect::<Vec<_>>(), &name)?;
        let error = Lock::new(&store, name.as_str()).try_acquire().expect_err("two of three are taken");
        assert!(error.is_contended() && error.retry_after().is_some(), "{error:?}");
        eventually("the third to be given back", || {
            is_taken(&servers[free], &name).is_ok_and(|taken| !taken)
        });
        for (_, server) in others {
            assert!(is_taken(server, &name)?, "somebody else's lock was released");
        }
        // So the third is free for whoever has the others.
        take(&[&servers[free]], &name)?;
    }
    Ok(())
}

fn what_a_hanging_server_grants_late_is_taken_back() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    Lock::new(&store, "warm").try_acquire()?.release()?;
    take(&[&servers[0], &servers[1]], "a")?;
    servers[2].process().stop()?;
    let error = Lock::new(&store, "a").try_acquire().expect_err("two of three are taken");
    assert!(error.is_contended(), "{error:?}");
    servers[2].process().go_on()?;
    // The request is with the server and may be carried out, so it is not enough that the name is free now.
    thread::sleep(LIMIT);
    eventually("a late grant to be taken back", || is_taken(&servers[2], "a").is_ok_and(|taken| !taken));
    Ok(())
}

fn a_partial_acquisition_does_not_block_its_own_retry() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    let order = in_order(&servers);
    for free in 0..3 {
        let name = format!("{free}");
        let taken: Vec<_> =
            (0..3).filter(|index| *index != free).map(|index| &servers[order[index]]).collect();
        take(&taken, &name)?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::new(&store, name.as_str()).acquire_for(SOON));
            thread::sleep(Duration::from_millis(100));
            let released = Instant::now();
            // Together with the one that it has, this is a majority.
            taken[1].command(&format!("DEL lock:{name}"))?;
            waiter.join().expect("the waiter did not panic")?.release()?;
            assert!(released.elapsed() < Duration::from_secs(1), "it took {:?}", released.elapsed());
            Ok::<_, servers::Stop>(())
        })?;
    }
    Ok(())
}

/// Five servers and five who ask at once: nearly always nobody gets three of them at first.
fn votes_that_were_split_are_settled() -> Outcome {
    const RACES: usize = 100;
    let servers = start(5, &[])?;
    let stores = (0..5).map(|_| open(&servers)).collect::<Result<Vec<_>>>()?;
    let (start, over) = (Barrier::new(5), Barrier::new(5));
    let race = |store: &Quorum| -> Result<Vec<usize>> {
        let mut won = Vec::new();
        let mut failed = None;
        for race in 0..RACES {
            let lock = Lock::new(store, format!("{race}"));
            start.wait();
            let held = lock.try_acquire();
            over.wait();
            match held {
                Ok(_held) => won.push(race),
                Err(error) if error.is_contended() => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(won), Err)
    };
    let mut won = thread::scope(|scope| {
        let racing: Vec<_> = stores.iter().map(|store| scope.spawn(|| race(store))).collect();
        let won = racing.into_iter().map(|racing| racing.join().expect("no racer panicked"));
        won.collect::<Result<Vec<_>>>()
    })?
    .concat();
    won.sort_unstable();
    let all: Vec<usize> = (0..RACES).collect();
    assert_eq!(won, all, "each race has one winner");
    Ok(())
}

/// Puts the last fence of a name on one server ahead of all clocks.
fn put_ahead(server: &servers::Redis, name: &str) -> Outcome<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let ahead = u64::try_from(now).unwrap_or_default() + 3_600_000_000;
    server.command(&format!("SET ~f:{{lock:{name}}} \"{ahead} 0 test\""))?;
    Ok(ahead)
}

fn fences_grow_over_any_majority() -> Outcome {
    for ahead in 0..3 {
        let mut servers = start(3, &[])?;
        let fence = put_ahead(&servers[ahead], "a")?;
        // What it granted is known to two of three, so any two of three know it.
        let store = open(&servers)?;
        let held = Lock::new(&store, "a").acquire()?;
        assert!(held.fence().get() > fence, "the server that is ahead was asked");
        let first = held.fence();
        held.release()?;
        servers[ahead].kill();
        // A process that has seen no fence.
        let store = open(&servers)?;
        let held = Lock::new(&store, "a").acquire()?;
        assert!(held.fence() > first, "{} after {first}", held.fence());
        held.release()?;
    }
    Ok(())
}

fn a_forced_fence_is_known_to_a_majority() -> Outcome {
    let mut servers = start(3, &[])?;
    let store = open(&servers)?;
    let held = Lock::new(&store, "a").acquire()?;
    put_ahead(&servers[0], "a")?;
    store.force_release(&Name::new("a")?, Breaking::Safe, "a test")?;
    let shown = store.inspect(&Name::new("a")?)?.map(|holder| holder.fence());
    assert!(shown > Some(held.fence()));
    drop(held);
    servers[0].kill();
    let store = open(&servers)?;
    let next = Lock::new(&store, "a").acquire()?;
    assert!(Some(next.fence()) > shown, "{} after {shown:?}", next.fence());
    next.release()?;
    Ok(())
}

fn servers_that_lose_their_data_one_by_one_lose_no_lock() -> Outcome {
    let mut servers = start(3, &[])?;
    let store = open(&servers)?;
    let held = Lock::new(&store, "a").acquire()?;
    for server in &mut servers {
        server.restart()?;
        assert!(!is_taken(server, "a")?, "it has kept its data");
        eventually("a renewal to take the lock there again", || {
            held.renew().is_ok() && is_taken(server, "a").is_ok_and(|taken| taken)
        });
    }
    assert_eq!(held.status(), Status::Held);
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
    held.release()?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    Ok(())
}

fn a_lock_that_a_majority_has_forgotten_is_lost() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    let held = Lock::new(&store, "a").acquire()?;
    servers[0].command("FLUSHALL")?;
    held.renew()?;
    servers[0].command("FLUSHALL")?;
    servers[1].command("FLUSHALL")?;
    assert!(held.renew().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    assert!(held.release().is_err_and(|error| error.is_lost()));
    let next = Lock::new(&store, "a").acquire_for(SOON)?;
    servers[0].command("FLUSHALL")?;
    servers[1].command("FLUSHALL")?;
    assert!(next.release().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    Ok(())
}

fn an_answer_after_the_lease_is_none() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    let lock = Lock::new(&store, "a").ttl(Duration::from_millis(60));
    lock.try_acquire()?.release()?;
    servers.iter().try_for_each(|server| server.process().stop())?;
    thread::scope(|scope| {
        let late = scope.spawn(|| lock.try_acquire());
        thread::sleep(Duration::from_millis(120));
        servers.iter().try_for_each(|server| server.process().go_on())?;
        let late = late.join().expect("the attempt did not panic");
        let error = late.expect_err("a lease that was over when it came");
        assert!(
            error.is_unavailable() && error.to_string().contains("the servers answered after"),
            "{error}"
        );
        Ok::<_, servers::Stop>(())
    })?;
    lock.try_acquire()?.release()?;
    Ok(())
}

fn a_waiter_is_told_by_any_server() -> Outcome {
    let mut servers = start(3, &[])?;
    let settings = Settings::default().with_recheck(Duration::from_secs(30))?.with_sleep(SOON)?;
    let store = open_with(&servers, settings.clone())?;
    let other = open_with(&servers, settings)?;
    for round in 0..3 {
        let held = Lock::new(&store, "a").acquire()?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::new(&other, "a").acquire_for(SOON));
            thread::sleep(Duration::from_millis(150));
            if round == 2 {
                servers[0].kill();
                thread::sleep(Duration::from_millis(50));
            }
            let released = Instant::now();
            held.release()?;
            waiter.join().expect("the waiter did not panic")?.release()?;
            assert!(released.elapsed() < Duration::from_secs(1), "it took {:?}", released.elapsed());
            Ok::<_, servers::Stop>(())
        })?;
    }
    Ok(())
}

fn scripts_that_the_servers_forgot_are_sent_again() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    for _ in 0..20 {
        let held = Lock::new(&store, "a").try_acquire()?;
        for server in &servers {
            server.command("SCRIPT FLUSH")?;
        }
        held.renew()?;
        for server in &servers {
            server.command("SCRIPT FLUSH")?;
        }
        held.release()?;
    }
    Ok(())
}

fn a_forgotten_script_does_not_let_a_release_overtake_its_acquire() -> Outcome {
    let servers = start(3, &[])?;
    let store = open(&servers)?;
    let held = Lock::new(&store, "b").try_acquire()?;
    // Of all scripts it knows that of a release alone.
    servers[2].command("SCRIPT FLUSH")?;
    held.release()?;
    servers[2].process().stop()?;
    thread::scope(|scope| {
        let busy = scope.spawn(|| store.inspect(&Name::new("z")?));
        thread::sleep(Duration::from_millis(30));
        // What is asked of it meanwhile goes out together.
        Lock::new(&store, "a").try_acquire()?.release()?;
        servers[2].process().go_on()?;
        busy.join().expect("the look did not panic")?;
        Ok::<_, servers::Stop>(())
    })?;
    thread::sleep(Duration::from_millis(200));
    assert!(!is_taken(&servers[2], "a")?, "released before it was acquired");
    Ok(())
}

fn one_server_under_two_names_has_one_vote() -> Outcome {
    let servers = start(2, &[])?;
    let alias = format!("redis://localhost:{}/", servers[0].port());
    let error = Quorum::builder([servers[0].url(), servers[1].url(), alias]).connect();
    assert!(error.is_err_and(|error| error.is_misconfigured()));
    Ok(())
}

fn passwords_show_nowhere() -> Outcome {
    let servers = start(3, &["--requirepass", "secret"])?;
    let url = |password: &str| {
        let [a, b, c] = [0, 1, 2].map(|index| servers[index].port());
        format!("redis+quorum://:{password}@127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}/1")
    };
    let store = Quorum::connect(&url("secret"))?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    assert!(!format!("{store:?} {}", Backend::site(&store).label()).contains("secret"));
    let error = Quorum::connect(&url("wrong")).expect_err("the password is wrong");
    assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
    Ok(())
}
