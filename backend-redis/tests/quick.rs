//! Servers that compare and delete in one command. There is none in Debian, so one that has none is
//! made to look like one: what a client says to it is put into other words on the way.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tenure_core::{Breaking, Cause, Inspect, Lock, Name};
use tenure_redis::Redis;
use tenure_servers::{self as servers, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        a_server_that_compares_and_deletes_releases_without_a_script,
        a_late_release_says_why_and_frees_nobody,
        a_user_who_may_not_use_it_is_not_slowed_down,
        a_server_that_cannot_is_not_asked_to,
        a_release_that_has_more_to_do_is_a_script,
        tasks_release_so_too,
    ];
    servers::run("redis", tests)
}

/// What a server is made to look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It has this command.
    Has(&'static str),
    /// It has it, and lets nobody use it.
    Refuses,
    /// It has none.
    Lacks,
}

/// A server behind a translator, and how often it was told to compare and delete.
struct Translated {
    server: servers::Redis,
    address: SocketAddr,
    compared: Arc<AtomicU32>,
}

const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

impl Translated {
    fn start(kind: Kind) -> Outcome<Self> {
        let server = servers::Redis::with(&[])?;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let (address, port) = (listener.local_addr()?, server.port());
        let compared = Arc::new(AtomicU32::new(0));
        let count = compared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else { return };
                let (Ok(mut from), Ok(mut to)) = (server.try_clone(), client.try_clone()) else { return };
                thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
                let count = count.clone();
                thread::spawn(move || drop(translate(client, server, kind, &count)));
            }
        });
        Ok(Self { server, address, compared })
    }

    fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    fn compared(&self) -> u32 {
        self.compared.load(Ordering::SeqCst)
    }
}

/// Passes commands on, in words that the server knows.
fn translate(
    client: TcpStream,
    mut server: TcpStream,
    kind: Kind,
    compared: &AtomicU32,
) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let mut words = read_command(&mut client)?;
        let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
        match (word(0).as_deref(), word(1).as_deref()) {
            (Some("COMMAND"), Some("INFO")) => {
                for asked in &mut words[2..] {
                    let name = String::from_utf8_lossy(asked).to_ascii_uppercase();
                    let known = matches!(kind, Kind::Refuses)
                        || kind == Kind::Has(if name == "DELEX" { "DELEX" } else { "DELIFEQ" });
                    *asked = if known { b"GET".to_vec() } else { b"NOSUCHCOMMAND".to_vec() };
                }
            }
            (Some("DELIFEQ" | "DELEX"), _) => {
                compared.fetch_add(1, Ordering::SeqCst);
                let (key, token) = (words[1].clone(), words[words.len() - 1].clone());
                words = match kind {
                    Kind::Has(_) => {
                        vec![b"EVAL".to_vec(), COMPARE_AND_DELETE.into(), b"1".to_vec(), key, token]
                    }
                    _ => vec![b"GET".to_vec()],
                };
            }
            _ => {}
        }
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in &words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        server.write_all(&bytes)?;
    }
}

fn read_command(client: &mut impl BufRead) -> std::io::Result<Vec<Vec<u8>>> {
    let number = |client: &mut dyn BufRead| -> std::io::Result<usize> {
        let mut line = String::new();
        client.read_line(&mut line)?;
        line.trim_end()
            .get(1..)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    };
    let count = number(client)?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; number(client)? + 2];
            client.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            Ok(word)
        })
        .collect()
}

fn a_server_that_compares_and_deletes_releases_without_a_script() -> Outcome {
    for command in ["DELIFEQ", "DELEX"] {
        let translated = Translated::start(Kind::Has(command))?;
        let store = Redis::connect(&translated.url())?;
        let other = Redis::connect(&translated.server.url())?;
        let lock = Lock::new(&store, "a");
        for _ in 0..3 {
            lock.try_acquire()?.release()?;
        }
        assert_eq!(translated.compared(), 3, "{command}");
        // Who waits is told all the same.
        let held = lock.try_acquire()?;
        thread::scope(|scope| -> Outcome {
            let waiter =
                scope.spawn(|| Lock::new(&other, "a").acquire_for(Duration::from_secs(3))?.release());
            thread::sleep(Duration::from_millis(200));
            held.release()?;
            Ok(waiter.join().expect("it waits")?)
        })?;
        assert_eq!(translated.compared(), 4, "{command}");
    }
    Ok(())
}

fn a_late_release_says_why_and_frees_nobody() -> Outcome {
    let translated = Translated::start(Kind::Has("DELIFEQ"))?;
    let (store, other) = (Redis::connect(&translated.url())?, Redis::connect(&translated.server.url())?);
    let lock = Lock::new(&store, "a");
    for breaking in [Breaking::Now, Breaking::Safe] {
        let held = lock.try_acquire()?;
        other.force_release(&Name::new("a")?, breaking, "a test")?;
        assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Forced)));
        lock.try_acquire()?.release()?;
    }
    let held = lock.try_acquire()?;
    translated.server.command("DEL lock:a")?;
    let next = Lock::new(&other, "a").try_acquire()?;
    assert!(held.release().is_err_and(|error| error.cause() == Some(Cause::Superseded)));
    next.renew()?;
    next.release()?;
    Ok(())
}

fn a_user_who_may_not_use_it_is_not_slowed_down() -> Outcome {
    let translated = Translated::start(Kind::Refuses)?;
    let store = Redis::connect(&translated.url())?;
    for _ in 0..3 {
        Lock::new(&store, "a").try_acquire()?.release()?;
    }
    assert_eq!(translated.compared(), 1);
    Ok(())
}

fn a_server_that_cannot_is_not_asked_to() -> Outcome {
    let translated = Translated::start(Kind::Lacks)?;
    let store = Redis::connect(&translated.url())?;
    Lock::new(&store, "a").try_acquire()?.release()?;
    assert_eq!(translated.compared(), 0);
    Ok(())
}

fn a_release_that_has_more_to_do_is_a_script() -> Outcome {
    let translated = Translated::start(Kind::Has("DELEX"))?;
    let store = Redis::connect(&translated.url())?;
    Lock::new(&store, "a").shared().try_acquire()?.release()?;
    Lock::new(&store, "b").hold_at_least(Duration::from_secs(30)).try_acquire()?.release()?;
    Lock::new(&Redis::builder(&translated.url()).fair().connect()?, "c").try_acquire()?.release()?;
    let told = Redis::builder(&translated.url()).wake(tenure_redis::Wake::Channel).connect()?;
    Lock::new(&told, "d").try_acquire()?.release()?;
    assert_eq!(translated.compared(), 0);
    Ok(())
}

#[cfg(feature = "async")]
fn tasks_release_so_too() -> Outcome {
    use tenure_core::aio::Lock;

    let translated = Translated::start(Kind::Has("DELIFEQ"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = tenure_redis::AsyncRedis::connect(&translated.url()).await?;
        Lock::new(&store, "a").try_acquire().await?.release().await
    })?;
    assert_eq!(translated.compared(), 1);
    Ok(())
}

#[cfg(not(feature = "async"))]
fn tasks_release_so_too() -> Outcome {
    Err(servers::Stop::Ignored("there are no tasks without the feature async".into()))
}
