//! Which servers a store takes, which of several has a lock, and what is said of them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tenure_core::{Attempt, Backend, Inspect, Lock, Name, Owner, Result};
use tenure_memcached::{Memcached, Placement, Profile};
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_numbers_no_changes_is_refused,
        a_server_without_meta_commands_is_refused_with_what_it_is,
        a_server_that_is_not_there_is_unavailable_at_once,
        a_server_that_says_nothing_is_unavailable_within_the_limit,
        what_undoes_a_claim_looks_twice_before_it_believes_that_there_is_nothing,
        each_of_several_servers_has_its_own_locks,
        a_server_that_is_down_takes_its_own_locks_alone_with_it,
        a_restarted_server_is_found_again_without_an_error,
        a_store_that_is_safe_is_not_warned_of,
        a_lock_for_django_is_a_token_as_text_under_the_key_of_the_cache,
        what_others_hold_is_neither_renewed_nor_released_nor_taken,
        a_lease_beyond_thirty_days_is_no_date,
    ];
    servers::run("memcached", tests)
}

fn open(url: &str) -> Result<Memcached> {
    Memcached::builder(url).without_quarantine().connect()
}

fn a_server_that_numbers_no_changes_is_refused() -> Outcome {
    let server = servers::Memcached::with(&["-C"])?;
    let error = Memcached::connect(&server.url()).expect_err("nobody could tell whose lock it is");
    assert!(error.is_misconfigured() && error.to_string().contains("-C"), "{error}");
    Ok(())
}

/// Something that takes connections and answers each line so.
fn answering(answer: &'static str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("memcache://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                for line in BufReader::new(&stream).lines().map_while(std::result::Result::ok) {
                    let answer = if line == "version" { "VERSION 1.4.15\r\n" } else { answer };
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            });
        }
    });
    Ok(url)
}

fn a_server_without_meta_commands_is_refused_with_what_it_is() -> Outcome {
    let error = Memcached::connect(&answering("ERROR\r\n")?).expect_err("it is too old");
    let text = error.to_string();
    assert!(error.is_misconfigured() && text.contains("1.4.15") && text.contains("1.6.18"), "{text}");
    Ok(())
}

fn a_server_that_is_not_there_is_unavailable_at_once() -> Outcome {
    let mut server = servers::memcached()?;
    let store = open(&server.url())?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    server.kill();
    let began = tenure_core::Moment::now();
    let error = Lock::new(&store, "a").try_acquire().expect_err("it is not there");
    assert!(error.is_unavailable(), "{error:?}");
    assert!(open(&server.url()).is_err_and(|error| error.is_unavailable() && error.is_settled()));
    let took = tenure_core::Moment::now().since(began);
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    Ok(())
}

fn a_server_that_says_nothing_is_unavailable_within_the_limit() -> Outcome {
    let server = servers::memcached()?;
    let limit = Duration::from_millis(300);
    let store = Memcached::builder(&server.url()).io_timeout(limit).without_quarantine().connect()?;
    let held = Lock::new(&store, "a").try_acquire()?;
    server.process().stop()?;
    let began = tenure_core::Moment::now();
    let error = Lock::new(&store, "b").try_acquire().expect_err("it says nothing");
    let took = tenure_core::Moment::now().since(began);
    server.process().go_on()?;
    assert!(error.is_unavailable() && !error.is_settled(), "{error:?}");
    assert!(took >= limit && took < limit * 5, "it took {took:?}");
    held.renew()?;
    held.release()?;
    // What it did unheard is undone.
    Lock::new(&store, "b").acquire_for(Duration::from_secs(10))?.release()?;
    Ok(())
}

/// The claim itself may arrive after the first look, on a connection that was given up.
fn what_undoes_a_claim_looks_twice_before_it_believes_that_there_is_nothing() -> Outcome {
    let server = servers::memcached()?;
    let store = open(&server.url())?;
    let misses = || -> Outcome<u64> {
        let stats = server.command("stats")?;
        let line = stats.lines().find_map(|line| line.strip_prefix("STAT get_misses "));
        let number = line.and_then(|number| number.trim().parse().ok());
        number.ok_or_else(|| servers::Stop::failed("no misses"))
    };
    let claim = Lock::new(&store, "a").claim_as(Owner::random())?;
    let before = misses()?;
    store.abandon(&claim);
    assert_eq!(misses()? - before, 2, "looks at what is not there");
    #[cfg(feature = "async")]
    {
        use tenure_core::aio::AsyncBackend;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = Memcached::builder(&server.url()).without_quarantine();
        let store = runtime.block_on(store.connect_async())?;
        let before = misses()?;
        runtime.block_on(AsyncBackend::abandon(&store, &claim));
        assert_eq!(misses()? - before, 2, "looks of a task at what is not there");
    }
    assert!(matches!(store.try_acquire(&claim)?, Attempt::Granted(_)));
    store.abandon(&claim);
    Ok(Lock::new(&store, "a").try_acquire()?.release()?)
}

fn names() -> impl Iterator<Item = String> {
    (0..100).map(|number| format!("name/{number}"))
}

fn each_of_several_servers_has_its_own_locks() -> Outcome {
    let both = [servers::memcached()?, servers::memcached()?];
    let url = format!("memcache://127.0.0.1:{},127.0.0.1:{}", both[0].port(), both[1].port());
    for placement in [Placement::Rendezvous, Placement::Pymemcache, Placement::PythonMemcached] {
        let store = Memcached::builder(&url).placement(placement).without_quarantine().connect()?;
        let held = names().map(|name| Lock::new(&store, name).try_acquire()).collect::<Result<Vec<_>>>()?;
        let mut counts = [0; 2];
        for name in names() {
            let there = |server: &servers::Memcached| -> Outcome<bool> {
                Ok(server.command(&format!("mg lock:{name}"))?.starts_with("HD"))
            };
            let there = [there(&both[0])?, there(&both[1])?];
            assert_ne!(there[0], there[1], "{name} lies on one server");
            counts[usize::from(there[1])] += 1;
        }
        assert!(counts.iter().all(|count| *count > 20), "{placement:?}: {counts:?}");
        let other = Memcached::builder(&url).placement(placement).without_quarantine().connect()?;
        for name in names() {
            assert!(Lock::new(&other, name).try_acquire().is_err_and(|error| error.is_contended()));
        }
        let listed: Vec<Name> = store.list("name/")?.iter().map(|holder| holder.name().clone()).collect();
        assert!(listed.len() == 100 && listed.is_sorted(), "{listed:?}");
        // In one go to each server.
        held.iter().try_for_each(tenure_core::Lock::renew)?;
        held.into_iter().try_for_each(tenure_core::Lock::release)?;
    }
    Ok(())
}

fn a_server_that_is_down_takes_its_own_locks_alone_with_it() -> Outcome {
    let mut both = [servers::memcached()?, servers::memcached()?];
    let url = format!("memcache://127.0.0.1:{},127.0.0.1:{}", both[0].port(), both[1].port());
    let store = open(&url)?;
    for name in names() {
        Lock::new(&store, name).try_acquire()?.release()?;
    }
    both[1].kill();
    let (mut granted, mut down) = (0, 0);
    for name in names() {
        match Lock::new(&store, name).try_acquire() {
            Ok(held) => {
                granted += 1;
                held.release()?;
            }
            Err(error) if error.is_unavailable() => down += 1,
            Err(error) => return Err(error.into()),
        }
    }
    assert!(granted > 20 && down > 20, "{granted} granted, {down} out of reach");
    Ok(())
}

fn a_restarted_server_is_found_again_without_an_error() -> Outcome {
    let mut server = servers::memcached()?;
    let store = open(&server.url())?;
    let held: Vec<_> =
        names().take(8).map(|name| Lock::new(&store, name).try_acquire()).collect::<Result<_>>()?;
    server.restart()?;
    for held in held {
        assert!(held.renew().is_err_and(|error| error.is_lost()), "the server forgot it");
    }
    for name in names() {
        Lock::new(&store, name).try_acquire()?.release()?;
    }
    Ok(())
}

fn a_store_that_is_safe_is_not_warned_of() -> Outcome {
    let server = servers::Memcached::with(&["-M"])?;
    let advice = Memcached::connect(&server.url())?.diagnose();
    assert!(advice.is_empty(), "{advice:?}");
    let advice = open(&server.url())?.diagnose();
    assert!(matches!(&advice[..], [advice] if advice.risk().contains("forgets")), "{advice:?}");
    Ok(())
}

fn a_lock_for_django_is_a_token_as_text_under_the_key_of_the_cache() -> Outcome {
    let server = servers::memcached()?;
    for (profile, key) in [("django", ":1:lock:a"), ("django:shop:2", "shop:2:lock:a")] {
        let store = open(&format!("{}?profile={profile}", server.url()))?;
        let held = Lock::new(&store, "a").ttl(Duration::from_secs(30)).try_acquire()?;
        let owner = held.owner();
        for _ in 0..2 {
            let answer = server.command(&format!("mg {key} v f"))?;
            assert_eq!(answer, format!("VA 32 f16\r\n{owner}\r\n"));
            held.renew()?;
        }
        assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
        held.release()?;
        assert_eq!(server.command(&format!("mg {key}"))?, "EN\r\n");
        assert!(Lock::new(&store, "a b").try_acquire().is_err_and(|error| error.is_invalid_name()));
    }
    Ok(())
}

fn what_others_hold_is_neither_renewed_nor_released_nor_taken() -> Outcome {
    let server = servers::memcached()?;
    for (profile, key) in [(Profile::Tenure, "lock:a"), (Profile::django("", 1), ":1:lock:a")] {
        let store = Memcached::builder(&server.url()).profile(profile).without_quarantine().connect()?;
        let held = Lock::new(&store, "a").try_acquire()?;
        server.command(&format!("set {key} 16 60 6\r\ntheirs"))?;
        assert!(held.renew().is_err_and(|error| error.is_lost()), "{key}");
        assert!(held.release().is_err_and(|error| error.is_lost()), "{key}");
        let error = Lock::new(&store, "a").try_acquire().expect_err("somebody else has it");
        let left = error.retry_after().unwrap_or_default();
        assert!(error.is_contended() && left > Duration::from_secs(50), "{error:?}");
        assert_eq!(server.command(&format!("mg {key} v"))?, "VA 6\r\ntheirs\r\n");
    }
    Ok(())
}

fn a_lease_beyond_thirty_days_is_no_date() -> Outcome {
    let server = servers::memcached()?;
    let settings = |max_ttl| tenure_core::Settings::default().with_max_ttl(max_ttl);
    let longest = Duration::from_secs(30 * 24 * 3600);
    let refused = Memcached::builder(&server.url()).settings(settings(longest)?).connect();
    assert!(refused.is_err_and(|error| error.is_misconfigured() && error.to_string().contains("30 days")));
    let longest = longest - Duration::from_secs(4);
    let store =
        Memcached::builder(&server.url()).settings(settings(longest)?).without_quarantine().connect()?;
    let held = Lock::new(&store, "a").ttl(longest).try_acquire()?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
    held.release()?;
    Ok(())
}
