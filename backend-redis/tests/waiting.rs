//! Waiting: how waiters hear of a release, what it costs when they do not, and how often they ask.

#![expect(clippy::print_stdout, reason = "what was measured is shown to who asks for it by --nocapture")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tenure_core::{Backend, Lock, Result, Settings};
use tenure_redis::{Builder, Redis, Wake};
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_release_is_heard_of_through_whatever_the_server_has,
        a_killed_listener_costs_no_more_than_the_recheck_interval,
        a_thousand_waiters_of_four_processes_speak_to_the_server_one_by_one,
        idle_waiters_of_a_process_ask_at_most_once_in_four_seconds,
        a_listener_that_hears_nothing_any_more_is_found_out_and_replaced,
    ];
    servers::run("redis", tests)
}

/// Ways in which a server can tell of a release.
const WAYS: &[Way] = &[
    Way { name: "tracking", options: &[], setup: "PING", build: |builder| builder },
    Way { name: "a channel", options: &[], setup: "PING", build: |builder| builder.wake(Wake::Channel) },
    Way {
        name: "a channel, as it may not track",
        options: &[],
        setup: "ACL SETUSER default -client|tracking",
        build: |builder| builder,
    },
    Way {
        name: "a channel, as it knows no RESP3",
        options: &["--rename-command", "HELLO", ""],
        setup: "ACL SETUSER default -client|tracking",
        build: |builder| builder,
    },
    Way { name: "a queue", options: &[], setup: "PING", build: Builder::fair },
    Way {
        name: "a queue, and it knows no RESP3",
        options: &["--rename-command", "HELLO", ""],
        setup: "PING",
        build: Builder::fair,
    },
];

struct Way {
    name: &'static str,
    options: &'static [&'static str],
    setup: &'static str,
    build: fn(Builder) -> Builder,
}

impl Way {
    fn server(&self) -> Outcome<servers::Redis> {
        let server = servers::Redis::with(self.options)?;
        let answer = server.command(self.setup)?;
        assert!(answer.starts_with('+'), "{answer}");
        Ok(server)
    }

    fn builder(&self, server: &servers::Redis, recheck: Duration) -> Result<Builder> {
        let settings = Settings::default().with_recheck(recheck)?;
        Ok((self.build)(Redis::builder(&server.url()).settings(settings)))
    }
}

/// Stores that others are compared by: for threads, and for tasks where there is such a store.
enum Waiter {
    Threads(Redis),
    #[cfg(feature = "async")]
    Tasks(tokio::runtime::Runtime, tenure_redis::AsyncRedis),
}

impl Waiter {
    fn all(builder: &Builder) -> Outcome<Vec<Self>> {
        Ok(vec![
            Self::Threads(builder.clone().connect()?),
            #[cfg(feature = "async")]
            {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                let store = runtime.block_on(builder.clone().connect_async())?;
                Self::Tasks(runtime, store)
            },
        ])
    }

    /// Waits for a lock, and returns when it was got.
    fn acquire(&self, name: &str) -> Result<Instant> {
        match self {
            Self::Threads(store) => {
                let held = Lock::new(store, name).acquire()?;
                let got = Instant::now();
                held.release().map(|()| got)
            }
            #[cfg(feature = "async")]
            Self::Tasks(runtime, store) => runtime.block_on(async {
                let held = tenure_core::aio::Lock::new(store, name).acquire().await?;
                let got = Instant::now();
                held.release().await.map(|()| got)
            }),
        }
    }

    fn waiting(&self, key: &str) -> usize {
        match self {
            Self::Threads(store) => store.site().waiting(key),
            #[cfg(feature = "async")]
            Self::Tasks(_, store) => tenure_core::aio::AsyncBackend::site(store).waiting(key),
        }
    }
}

/// Releases a lock under a waiter that has settled down, after doing something to the server.
fn hand_over(
    holder: &Redis,
    waiter: &Waiter,
    before: impl FnOnce() -> std::io::Result<()>,
) -> Outcome<Duration> {
    let held = Lock::new(holder, "a").acquire()?;
    thread::scope(|scope| {
        let got = scope.spawn(|| waiter.acquire("a"));
        eventually("a waiter", || waiter.waiting("lock:a") == 1);
        thread::sleep(Duration::from_millis(300));
        before()?;
        let released = Instant::now();
        held.release()?;
        let got = got.join().expect("it waits")?;
        Ok(got.saturating_duration_since(released))
    })
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "expected {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// How many scripts the server has run since its statistics were reset.
fn scripts_run(server: &servers::Redis) -> u32 {
    let stats = server.command("INFO commandstats").unwrap_or_default();
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()).and_then(|calls| calls.parse().ok()).unwrap_or(0)
    };
    calls("eval") + calls("evalsha")
}

fn a_release_is_heard_of_through_whatever_the_server_has() -> Outcome {
    for way in WAYS {
        let server = way.server()?;
        // Nobody would look again before the test is over.
        let builder = way.builder(&server, Duration::from_secs(60))?;
        let holder = builder.clone().connect()?;
        for waiter in Waiter::all(&builder)? {
            let took = hand_over(&holder, &waiter, || Ok(()))?;
            assert!(took < Duration::from_secs(2), "{}: it took {took:?}", way.name);
        }
    }
    Ok(())
}

fn a_killed_listener_costs_no_more_than_the_recheck_interval() -> Outcome {
    let recheck = Duration::from_secs(1);
    for way in WAYS {
        let server = way.server()?;
        let builder = way.builder(&server, recheck)?;
        let holder = builder.clone().connect()?;
        for waiter in Waiter::all(&builder)? {
            let took = hand_over(&holder, &waiter, || {
                server.command("CLIENT KILL TYPE pubsub")?;
                server.command("CLIENT KILL TYPE normal").map(drop)
            })?;
            println!("{}: {took:?}", way.name);
            assert!(took < recheck * 2, "{}: it took {took:?}", way.name);
        }
    }
    Ok(())
}

fn a_thousand_waiters_of_four_processes_speak_to_the_server_one_by_one() -> Outcome {
    for way in [&WAYS[0], &WAYS[1]] {
        let server = way.server()?;
        let builder = way.builder(&server, Duration::from_secs(5))?;
        let stores = (0..4).map(|_| builder.clone().connect()).collect::<Result<Vec<_>>>()?;
        let held = Lock::new(&builder.connect()?, "crowd").acquire()?;
        let served = AtomicU32::new(0);
        thread::scope(|scope| -> Outcome {
            for store in &stores {
                for _ in 0..250 {
                    let served = &served;
                    let wait = move || {
                        let held = Lock::new(store, "crowd").acquire().expect("the server is up");
                        served.fetch_add(1, Ordering::SeqCst);
                        held.release().expect("it is held");
                    };
                    thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, wait)?;
                }
            }
            let waiting = || stores.iter().map(|store| store.site().waiting("lock:crowd")).sum::<usize>();
            eventually("a thousand waiters", || waiting() == 1000);
            thread::sleep(Duration::from_millis(300));
            server.command("CONFIG RESETSTAT")?;
            thread::sleep(Duration::from_secs(4));
            // The four that are first in their lines, and nobody else.
            let asked = scripts_run(&server);
            assert!(asked <= 4, "a thousand idle waiters asked {asked} times in four seconds");
            server.command("CONFIG RESETSTAT")?;
            held.release()?;
            Ok(())
        })?;
        let attempts = (f64::from(scripts_run(&server)) - 1001.0) / 1000.0;
        println!("attempts per hand-off, 1000 waiters of 4 processes, {}: {attempts:.3}", way.name);
        assert_eq!(served.into_inner(), 1000);
        assert!(attempts <= 4.0, "{attempts} attempts for each hand-off");
    }
    Ok(())
}

fn a_listener_that_hears_nothing_any_more_is_found_out_and_replaced() -> Outcome {
    thread::scope(|scope| {
        let measured: Vec<_> = [&WAYS[0], &WAYS[1], &WAYS[4]]
            .into_iter()
            .map(|way| scope.spawn(move || listen_anew(way)))
            .collect();
        measured.into_iter().try_for_each(|measured| measured.join().expect("it only measures"))
    })
}

/// Hushes the listener of a store that waits, and releases what it waits for as soon as it has another one.
fn listen_anew(way: &Way) -> Outcome {
    let server = way.server()?;
    let proxy = servers::Proxy::to(server.port())?;
    // Nobody would look again before the test is over.
    let recheck = Duration::from_secs(60);
    let settings = Settings::default().with_recheck(recheck)?;
    let waiter = (way.build)(Redis::builder(&proxy.url()).settings(settings)).connect()?;
    let waiter = Waiter::Threads(waiter);
    let holder = way.builder(&server, recheck)?.connect()?;
    let listener = || {
        let clients = server.command("CLIENT LIST TYPE pubsub").unwrap_or_default();
        let mut words =
            clients.lines().filter(|line| !line.contains(" sub=0")).flat_map(str::split_whitespace);
        words.rfind(|word| word.starts_with("id=")).map(str::to_owned)
    };
    let took = hand_over(&holder, &waiter, || {
        let before = listener();
        proxy.hush_listeners();
        let hushed = Instant::now();
        eventually("another listener", || listener().is_some_and(|now| Some(now) != before));
        println!("{}: another listener after {:?}", way.name, hushed.elapsed());
        assert!(hushed.elapsed() < Duration::from_secs(15), "{}: {:?}", way.name, hushed.elapsed());
        // Time to ask once more.
        thread::sleep(Duration::from_millis(300));
        Ok(())
    })?;
    assert!(took < Duration::from_secs(2), "{}: it took {took:?}", way.name);
    Ok(())
}

fn idle_waiters_of_a_process_ask_at_most_once_in_four_seconds() -> Outcome {
    let time = Duration::from_secs(13);
    thread::scope(|scope| {
        let measured: Vec<_> = [&WAYS[0], &WAYS[1], &WAYS[4]]
            .into_iter()
            .map(|way| {
                scope.spawn(move || -> Outcome {
                    let server = way.server()?;
                    let builder = way.builder(&server, Settings::default().recheck())?;
                    for waiter in Waiter::all(&builder)? {
                        idle(way, &server, &builder.clone().connect()?, &waiter, time)?;
                    }
                    Ok(())
                })
            })
            .collect();
        measured.into_iter().try_for_each(|measured| measured.join().expect("it only measures"))
    })
}

fn idle(way: &Way, server: &servers::Redis, holder: &Redis, waiter: &Waiter, time: Duration) -> Outcome {
    let held = Lock::new(holder, "idle").ttl(Duration::from_secs(600)).acquire()?;
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..20).map(|_| scope.spawn(|| waiter.acquire("idle"))).collect();
        eventually("a line", || waiter.waiting("lock:idle") == 20);
        thread::sleep(Duration::from_millis(300));
        server.command("CONFIG RESETSTAT")?;
        thread::sleep(time);
        let asked = scripts_run(server);
        held.release()?;
        for waiter in waiters {
            waiter.join().expect("it waits")?;
        }
        println!("{}: {asked} requests of 20 idle waiters of one process in {time:?}", way.name);
        assert!((1..=3).contains(&asked), "{}: {asked} requests in {time:?}", way.name);
        Ok(())
    })
}
