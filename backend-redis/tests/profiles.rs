//! Keys and values as others write them, on a real server, byte by byte. What others say to them is
//! tested with the others themselves, by `cargo xtask interop`.

use std::process::ExitCode;
use std::time::Duration;

use tenure_core::{Breaking, Cause, Inspect, Lock, Name};
use tenure_redis::{Profile, Redis};
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_plain_lock_is_the_key_that_was_named,
        a_lock_for_django_is_a_number_under_the_key_of_the_cache,
        a_number_stays_one_whatever_becomes_of_the_lock,
        what_others_hold_is_neither_renewed_nor_released_nor_taken,
        a_broken_lock_of_another_stays_closed_until_its_lifetime_is_over,
        a_broken_lock_of_another_kind_stays_closed_until_its_lifetime_is_over,
        a_name_that_looks_like_the_memory_of_a_fence_is_refused,
        the_url_chooses_the_profile,
        a_socket_is_spoken_to_as_its_options_say,
    ];
    servers::run("redis", tests)
}

fn open(server: &servers::Redis, profile: Profile) -> tenure_core::Result<Redis> {
    Redis::builder(&server.url()).profile(profile).connect()
}

/// The text that a key holds.
fn value(server: &servers::Redis, key: &str) -> Outcome<String> {
    let answer = server.command(&format!("GET \"{key}\""))?;
    Ok(answer.lines().nth(1).unwrap_or("nothing").to_owned())
}

fn a_plain_lock_is_the_key_that_was_named() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server, Profile::Plain)?;
    for name in ["job", "lock:a", "a{b}c", "\u{e9} x", "redlock:a}b"] {
        let held = Lock::new(&store, name).try_acquire()?;
        assert_eq!(value(&server, name)?.len(), 32, "{name}");
        held.release()?;
        assert_eq!(value(&server, name)?, "nothing", "{name}");
    }
    Ok(())
}

fn a_lock_for_django_is_a_number_under_the_key_of_the_cache() -> Outcome {
    let server = servers::Redis::with(&[])?;
    for (profile, key) in
        [(Profile::django("", 1), ":1:lock:a"), (Profile::django("shop", 2), "shop:2:lock:a")]
    {
        let held = Lock::new(open(&server, profile)?, "a").try_acquire()?;
        let number = value(&server, key)?;
        assert!(number.parse::<u128>().is_ok_and(|number| number > 0), "{number}");
        held.release()?;
        assert_eq!(value(&server, key)?, "nothing");
    }
    Ok(())
}

fn a_number_stays_one_whatever_becomes_of_the_lock() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server, Profile::django("", 1))?;
    let is_number = |what: &str| -> Outcome {
        let value = value(&server, ":1:lock:a")?;
        let number = value.strip_prefix('-').unwrap_or(&value);
        assert!(number.parse::<u128>().is_ok_and(|number| number > 0), "{what}: {value}");
        Ok(())
    };
    let held = Lock::new(&store, "a").hold_at_least(Duration::from_millis(500)).try_acquire()?;
    held.release()?;
    is_number("kept taken")?;
    let name = Name::new("a")?;
    store.force_release(&name, Breaking::Now, "test")?;
    let held = Lock::new(&store, "a").try_acquire()?;
    store.force_release(&name, Breaking::Safe, "test")?;
    is_number("broken")?;
    assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
    assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Forced)));
    Lock::new(&store, "a").try_acquire()?.release()?;
    Ok(())
}

fn what_others_hold_is_neither_renewed_nor_released_nor_taken() -> Outcome {
    let server = servers::Redis::with(&[])?;
    for (profile, key) in [(Profile::Plain, "a"), (Profile::django("", 1), ":1:lock:a")] {
        let store = open(&server, profile)?;
        let held = Lock::new(&store, "a").try_acquire()?;
        server.command(&format!("SET {key} theirs"))?;
        assert!(held.renew().is_err_and(|error| error.is_lost()), "{key}");
        drop(held);
        assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()), "{key}");
        assert_eq!(value(&server, key)?, "theirs");
    }
    Ok(())
}

fn a_broken_lock_of_another_stays_closed_until_its_lifetime_is_over() -> Outcome {
    let server = servers::Redis::with(&[])?;
    // A token as pickle writes it, and a plain one that begins like a negative number.
    let pickled = "\"\\x80\\x04\\x95\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x8c\\x01t\\x94.\"";
    for (profile, key, token, broken) in
        [(Profile::Plain, "a", "-1b2", "!-1b2"), (Profile::django("", 1), ":1:lock:a", pickled, "-1")]
    {
        let store = open(&server, profile)?;
        server.command(&format!("SET {key} {token} PX 60000"))?;
        let seen = store.force_release(&Name::new("a")?, Breaking::Safe, "test")?;
        assert!(seen.is_some());
        assert_eq!(value(&server, key)?, broken);
        assert!(Lock::new(&store, "a").try_acquire().is_err_and(|error| error.is_contended()));
        let left = server.command(&format!("PTTL {key}"))?;
        let left: u32 = left.trim_start_matches(':').trim().parse().expect("a number of milliseconds");
        assert!((1..=60_000).contains(&left), "its lifetime is no longer than it was");
    }
    Ok(())
}

fn a_broken_lock_of_another_kind_stays_closed_until_its_lifetime_is_over() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let name = Name::new("a")?;
    let closed = |store: &Redis| Lock::new(store, "a").try_acquire().is_err_and(|error| error.is_contended());
    for fair in [false, true] {
        let builder = Redis::builder(&server.url()).profile(Profile::Plain);
        let store = if fair { builder.fair() } else { builder }.connect()?;
        // The first is how Redisson takes a lock, and how it renews one.
        for (theirs, again) in [
            ("HINCRBY a uuid:1 1", "HINCRBY a uuid:1 1"),
            ("RPUSH a me", "RPUSHX a me"),
            ("SADD a me", "SADD a me"),
            ("XADD a * me 1", "XADD a * me 1"),
        ] {
            server.command(theirs)?;
            server.command("PEXPIRE a 60000")?;
            let seen = store.force_release(&name, Breaking::Safe, "test")?.expect("they hold it");
            assert_eq!(seen.breaking(), None, "{theirs}");
            assert!(closed(&store), "{theirs} was opened at once");
            let left = server.command("PTTL a")?;
            let left: u32 = left.trim_start_matches(':').trim().parse().expect("a number of milliseconds");
            assert!((1..=60_000).contains(&left), "its lifetime is no longer than it was");
            assert!(server.command(again)?.starts_with("-WRONGTYPE"), "they are told that it is not theirs");
            let seen = store.inspect(&name)?.expect("it is closed still");
            assert_eq!(seen.breaking(), Some("test"), "{theirs}");
            // Once more changes nothing.
            store.force_release(&name, Breaking::Safe, "test")?;
            assert!(closed(&store), "{theirs}");
            store.force_release(&name, Breaking::Now, "test")?;
            Lock::new(&store, "a").try_acquire()?.release()?;
            // Without a lifetime it would be closed for ever.
            server.command(theirs)?;
            store.force_release(&name, Breaking::Safe, "test")?;
            Lock::new(&store, "a").try_acquire()?.release()?;
        }
    }
    Ok(())
}

fn a_name_that_looks_like_the_memory_of_a_fence_is_refused() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let store = open(&server, Profile::Plain)?;
    let held = Lock::new(&store, "a").try_acquire()?;
    let memory = Name::new("~f:{a}")?;
    assert_eq!(server.command("EXISTS ~f:{a}")?, ":1\r\n");
    assert!(Lock::new(&store, memory.clone()).try_acquire().is_err_and(|error| error.is_invalid_name()));
    assert!(store.inspect(&memory).is_err_and(|error| error.is_invalid_name()));
    let broken = store.force_release(&memory, Breaking::Now, "test");
    assert!(broken.is_err_and(|error| error.is_invalid_name()));
    held.release()?;
    assert_eq!(server.command("EXISTS ~f:{a}")?, ":1\r\n");
    Ok(())
}

fn the_url_chooses_the_profile() -> Outcome {
    let server = servers::Redis::with(&[])?;
    for (option, key) in
        [("tenure", "lock:a"), ("plain", "a"), ("django", ":1:lock:a"), ("django:shop:2", "shop:2:lock:a")]
    {
        let store = Redis::connect(&format!("{}?profile={option}", server.url()))?;
        let held = Lock::new(&store, "a").try_acquire()?;
        assert_eq!(server.command(&format!("EXISTS {key}"))?, ":1\r\n", "{option}");
        held.release()?;
    }
    let wrong = Redis::connect(&format!("{}?profiel=plain", server.url()));
    assert!(wrong.is_err_and(|error| error.is_misconfigured()));
    Ok(())
}

fn a_socket_is_spoken_to_as_its_options_say() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("s");
    let options =
        ["--unixsocket", path.to_str().expect("a path of ours is text"), "--requirepass", "a+b&c@d"];
    let _server = servers::Redis::with(&options)?;
    let url = format!("redis+unix://{}?db=3&pass=a+b%26c%40d&profile=plain", path.display());
    let store = Redis::connect(&url)?;
    let held = Lock::new(&store, "a").try_acquire()?;
    let (there, elsewhere) = (url.clone(), url.replace("db=3", "db=2"));
    assert!(Lock::new(&Redis::connect(&there)?, "a").try_acquire().is_err_and(|error| error.is_contended()));
    Lock::new(&Redis::connect(&elsewhere)?, "a").try_acquire()?.release()?;
    held.release()?;
    let wrong = Redis::connect(&url.replace("a+b", "a%20b")).expect_err("the password is wrong");
    assert!(wrong.is_misconfigured() && !format!("{wrong:?}").contains("b&c"), "{wrong:?}");
    Ok(())
}
