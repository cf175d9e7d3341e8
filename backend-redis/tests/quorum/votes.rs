//! Whose vote counts, and what becomes of votes that lead to nothing.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Backend, Inspect, Lock, Name, Result, Settings};
use tenure_redis::Quorum;
use tenure_servers::{self as servers, Outcome};

use crate::support::{LIMIT, SOON, eventually, in_order, is_taken, open, open_with, start, take};

pub(crate) fn what_a_minority_granted_is_taken_back() -> Outcome {
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

pub(crate) fn what_a_hanging_server_grants_late_is_taken_back() -> Outcome {
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

pub(crate) fn a_partial_acquisition_does_not_block_its_own_retry() -> Outcome {
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
pub(crate) fn votes_that_were_split_are_settled() -> Outcome {
    const RACES: usize = 100;
    let servers = start(5, &[])?;
    let stores = (0..5).map(|_| open(&servers)).collect::<Result<Vec<_>>>()?;
    // The races are about votes, not about who is connected first.
    stores
        .iter()
        .enumerate()
        .try_for_each(|(one, store)| Lock::new(store, format!("of {one}")).try_acquire()?.release())?;
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

pub(crate) fn an_answer_after_the_lease_is_none() -> Outcome {
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

pub(crate) fn a_waiter_is_told_by_any_server() -> Outcome {
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

pub(crate) fn scripts_that_the_servers_forgot_are_sent_again() -> Outcome {
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

pub(crate) fn a_forgotten_script_does_not_let_a_release_overtake_its_acquire() -> Outcome {
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

pub(crate) fn one_server_under_two_names_has_one_vote() -> Outcome {
    let servers = start(2, &[])?;
    let alias = format!("redis://localhost:{}/", servers[0].port());
    let error = Quorum::builder([servers[0].url(), servers[1].url(), alias]).connect();
    assert!(error.is_err_and(|error| error.is_misconfigured()));
    Ok(())
}

pub(crate) fn passwords_show_nowhere() -> Outcome {
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
