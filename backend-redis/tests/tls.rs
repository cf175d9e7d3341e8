//! TLS, with a server that speaks it and certificates of the test's own.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenure_core::Lock;
use tenure_redis::{Quorum, Redis};
use tenure_servers::{self as servers, Certificates, Outcome};

fn main() -> ExitCode {
    let tests = servers::tests![
        locks_go_through_tls_and_waiters_are_woken,
        a_server_that_nobody_trusted_vouches_for_is_not_spoken_to,
        the_name_in_the_certificate_must_be_that_of_the_url,
        a_server_that_hangs_is_unavailable_in_time,
        what_is_no_certificate_is_misconfigured,
        locks_of_tasks_go_through_tls,
        locks_of_a_quorum_go_through_tls,
    ];
    servers::run("redis", tests)
}

/// An unoptimized build takes a tenth of a second to read the system's authorities, for each connection.
const LIMIT: Duration = Duration::from_millis(1000);

struct Secure {
    server: servers::Redis,
    certificates: Arc<Certificates>,
    port: u16,
}

impl Secure {
    fn start() -> Outcome<Self> {
        Self::with(Arc::new(Certificates::make()?))
    }

    fn with(certificates: Arc<Certificates>) -> Outcome<Self> {
        let port = servers::free_port()?;
        let mut options = vec!["--tls-port".to_owned(), port.to_string()];
        options.extend(certificates.options());
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Ok(Self { server: servers::Redis::with(&options)?, certificates, port })
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/", self.port)
    }

    fn open(&self) -> tenure_core::Result<Redis> {
        let limited = Redis::builder(&self.url("localhost")).connect_timeout(LIMIT).io_timeout(LIMIT);
        limited.authorities_from(self.certificates.authority())?.connect()
    }
}

fn locks_go_through_tls_and_waiters_are_woken() -> Outcome {
    let secure = Secure::start()?;
    let (store, other) = (secure.open()?, secure.open()?);
    assert!(format!("{store:?}").contains("rediss://localhost:"), "{store:?}");
    let held = Lock::new(&store, "a").try_acquire()?;
    assert_eq!(secure.server.command("EXISTS lock:a")?, ":1\r\n");
    let waiting = std::thread::spawn(move || {
        let held = Lock::new(&other, "a").acquire().expect("the server is up");
        (Instant::now(), held)
    });
    let patience = Instant::now() + Duration::from_secs(10);
    while !secure.server.command("CLIENT LIST TYPE pubsub")?.contains("sub=") {
        assert!(Instant::now() < patience, "nobody listens");
    }
    // Long enough that it has asked, waits, and has heard nothing for a while.
    std::thread::sleep(Duration::from_millis(1200));
    let released = Instant::now();
    held.release()?;
    let (got, _held) = waiting.join().expect("the thread ends");
    let took = got.duration_since(released);
    assert!(took < Duration::from_secs(1), "woken after {took:?}, at the next look");
    Ok(())
}

fn a_server_that_nobody_trusted_vouches_for_is_not_spoken_to() -> Outcome {
    let secure = Secure::start()?;
    let others = Certificates::make()?;
    let url = secure.url("localhost");
    for builder in [Redis::builder(&url), Redis::builder(&url).authorities_from(others.authority())?] {
        let error = builder.connect().expect_err("nobody vouches for it");
        assert!(error.is_unavailable() && format!("{error:?}").contains("certificate"), "{error:?}");
    }
    Ok(())
}

fn the_name_in_the_certificate_must_be_that_of_the_url() -> Outcome {
    let secure = Secure::start()?;
    for (host, fits) in [("localhost", true), ("127.0.0.1", true), ("127.0.0.2", false)] {
        let builder = Redis::builder(&secure.url(host));
        let opened = builder.authorities_from(secure.certificates.authority())?.connect();
        // There is nobody at the last one, or somebody with another name.
        assert_eq!(opened.is_ok(), fits, "{host}: {opened:?}");
    }
    Ok(())
}

fn a_server_that_hangs_is_unavailable_in_time() -> Outcome {
    let secure = Secure::start()?;
    let store = secure.open()?;
    let held = Lock::new(&store, "a").try_acquire()?;
    secure.server.process().stop()?;
    for what in ["an answer", "a connection"] {
        let began = Instant::now();
        let error = match what {
            "an answer" => held.renew().expect_err("it hangs"),
            _ => secure.open().expect_err("it hangs"),
        };
        assert!(error.is_unavailable(), "{what}: {error:?}");
        assert!(began.elapsed() < LIMIT * 5, "{what} took {:?}", began.elapsed());
    }
    secure.server.process().go_on()?;
    held.renew()?;
    held.release()?;
    Ok(())
}

fn what_is_no_certificate_is_misconfigured() -> Outcome {
    let url = "rediss://localhost:1/";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for error in [
        Redis::builder(url).authorities(*b"nonsense").connect(),
        Redis::builder(url).authorities(nonsense.as_bytes()).connect(),
        Redis::builder("redis://localhost:1/").authorities(nonsense.as_bytes()).connect(),
        Redis::connect("rediss://localhost:1/#insecure"),
        Redis::builder(url).authorities_from("/nowhere").and_then(tenure_redis::Builder::connect),
    ] {
        let error = error.expect_err("it cannot work");
        assert!(error.is_misconfigured(), "{error:?}");
    }
    Ok(())
}

fn locks_of_tasks_go_through_tls() -> Outcome {
    let secure = Secure::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let url = secure.url("localhost");
        let trusting = Redis::builder(&url).authorities_from(secure.certificates.authority())?;
        let store = trusting.connect_async().await?;
        let held = tenure_core::aio::Lock::new(&store, "a").acquire().await?;
        assert_eq!(secure.server.command("EXISTS lock:a")?, ":1\r\n");
        held.release().await?;
        assert!(Redis::builder(&url).connect_async().await.is_err_and(|error| error.is_unavailable()));
        Ok(())
    })
}

fn locks_of_a_quorum_go_through_tls() -> Outcome {
    let certificates = Arc::new(Certificates::make()?);
    let servers = (0..3).map(|_| Secure::with(certificates.clone())).collect::<Outcome<Vec<_>>>()?;
    let hosts: Vec<String> = servers.iter().map(|secure| format!("localhost:{}", secure.port)).collect();
    let url = format!("rediss+quorum://{}", hosts.join(","));
    let trusting = Quorum::url(&url)?.node_timeout(LIMIT * 5).authorities_from(certificates.authority())?;
    let store = trusting.connect()?;
    assert!(format!("{store:?}").contains("rediss+quorum://localhost:"), "{store:?}");
    let held = Lock::new(&store, "a").try_acquire()?;
    for secure in &servers {
        assert_eq!(secure.server.command("EXISTS lock:a")?, ":1\r\n");
    }
    held.release()?;
    let others = Quorum::url(&url)?.authorities_from(Certificates::make()?.authority())?;
    let error = others.node_timeout(LIMIT * 5).connect().expect_err("nobody vouches for them");
    assert!(error.is_unavailable() && format!("{error:?}").contains("certificate"), "{error:?}");
    let nonsense = Quorum::url(&url)?.authorities(*b"nonsense").connect();
    assert!(nonsense.is_err_and(|error| error.is_misconfigured()));
    Ok(())
}
