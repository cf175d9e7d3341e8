//! Who may do what, and where: passwords, users, databases, sockets.

use std::process::ExitCode;

use tenure_core::{Backend, Breaking, Error, Inspect, Lock, Name, Result};
use tenure_redis::{Redis, Wake};
use tenure_servers::{self as servers, Outcome};

/// The rights that the crate's docs name.
const RIGHTS: &str = "~lock:* ~~* &~* &__redis__:invalidate +@string +@hash +@sortedset +del +exists +type \
                      +pexpire +pexpireat +pttl +scan +time +eval +evalsha +publish +subscribe +ping +info \
                      +command|info +config|get +client|id +client|tracking +client|caching";

/// What has to be escaped in a URL, and must not be seen anywhere.
const PASSWORD: &str = "hunter2@:/?#%";
const ESCAPED: &str = "hunter2%40%3A%2F%3F%23%25";

fn main() -> ExitCode {
    let tests = servers::tests![
        a_password_opens_the_server_whatever_its_characters,
        a_user_with_the_rights_that_the_docs_name_can_do_everything,
        a_user_without_them_is_told_what_is_missing,
        locks_of_two_databases_have_nothing_to_do_with_each_other,
        a_socket_of_this_host_is_as_good_as_a_port,
        a_wrong_password_is_a_mistake_and_not_an_outage,
        a_password_shows_nowhere_even_where_the_server_repeats_it,
    ];
    servers::run("redis", tests)
}

/// All that a store is for.
fn works(store: &Redis) -> Result<()> {
    let name = Name::new("a")?;
    let held = Lock::new(store, name.clone()).try_acquire()?;
    held.renew()?;
    assert!(Lock::new(store, name.clone()).try_acquire().is_err_and(|error| error.is_contended()));
    let waiting = {
        let store = store.clone();
        std::thread::spawn(move || Lock::new(&store, "a").acquire()?.release())
    };
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while store.site().waiting(&[store.site().settings().prefix(), "a"].concat()) == 0 {
        assert!(std::time::Instant::now() < patience, "nobody waits");
    }
    held.release()?;
    waiting.join().expect("the thread ends")?;
    for permits in [0, 2] {
        match permits {
            0 => Lock::new(store, "s").shared().try_acquire().and_then(|held| {
                held.renew()?;
                held.release()
            })?,
            limit => Lock::new(store, "p").permit(limit).try_acquire().and_then(|held| {
                held.renew()?;
                held.release()
            })?,
        }
    }
    let held = Lock::new(store, "b").try_acquire()?;
    assert_eq!(store.list("")?.len(), 1);
    assert!(store.force_release(&Name::new("b")?, Breaking::Safe, "a test")?.is_some());
    assert!(held.release().is_err());
    store.diagnose();
    Ok(())
}

fn shows_no_password(error: &Error) {
    let mut said = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        said += &format!(" {error} {error:?}");
        source = error.source();
    }
    assert!(!said.contains("hunter2"), "{said}");
}

fn url(server: &servers::Redis, who: &str) -> String {
    format!("redis://{who}@127.0.0.1:{}", server.port())
}

fn a_password_opens_the_server_whatever_its_characters() -> Outcome {
    let server = servers::Redis::with(&["--requirepass", PASSWORD])?;
    for who in [format!(":{ESCAPED}"), format!("default:{ESCAPED}")] {
        works(&Redis::connect(&url(&server, &who))?)?;
    }
    Ok(())
}

fn a_user_with_the_rights_that_the_docs_name_can_do_everything() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let made = server.command(&format!("ACL SETUSER locks on \">{PASSWORD}\" {RIGHTS}"))?;
    assert_eq!(made, "+OK\r\n");
    for wake in [Wake::Auto, Wake::Channel] {
        let store = Redis::builder(&url(&server, &format!("locks:{ESCAPED}"))).wake(wake).connect()?;
        works(&store)?;
        let denied = server.command("ACL LOG")?;
        assert!(denied.starts_with("*0"), "{wake:?}: {denied}");
    }
    Ok(())
}

fn a_user_without_them_is_told_what_is_missing() -> Outcome {
    let server = servers::Redis::with(&[])?;
    for (missing, word) in [("-evalsha", "ACL"), ("-set", "ACL"), ("resetkeys ~other:*", "prefix")] {
        server.command(&format!("ACL SETUSER locks reset on >secret {RIGHTS} {missing}"))?;
        let store = Redis::connect(&url(&server, "locks:secret"))?;
        let error = Lock::new(&store, "a").try_acquire().expect_err("a right is missing");
        assert!(error.is_misconfigured() && error.to_string().contains(word), "{missing}: {error:?}");
    }
    Ok(())
}

fn locks_of_two_databases_have_nothing_to_do_with_each_other() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let open = |database: &str| Redis::connect(&format!("{}{database}", server.url()));
    let (zero, three) = (open("")?, open("3")?);
    let held = Lock::new(&zero, "a").try_acquire()?;
    works(&three)?;
    assert!(format!("{three:?}").contains("/3"), "{three:?}");
    held.renew()?;
    assert!(open("99").is_err_and(|error| error.is_misconfigured()), "the server has sixteen");
    for wrong in ["three", "-1"] {
        assert!(open(wrong).is_err_and(|error| error.is_misconfigured()), "{wrong}");
    }
    Ok(())
}

fn a_socket_of_this_host_is_as_good_as_a_port() -> Outcome {
    let dir = std::env::temp_dir().join(format!("tenure-socket-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let socket = dir.join("s ocket");
    let server =
        servers::Redis::with(&["--unixsocket", &socket.to_string_lossy(), "--requirepass", PASSWORD])?;
    let path = socket.display().to_string().replace(' ', "%20");
    let store = Redis::connect(&format!("redis+unix://{path}?db=3&pass={ESCAPED}"))?;
    works(&store)?;
    let label = store.site().label();
    assert!(label.starts_with("redis+unix:///") && label.ends_with("/3"), "{label}");
    let error = Redis::connect(&format!("redis+unix://{path}?pass=hunter2")).expect_err("a wrong password");
    assert!(error.is_misconfigured(), "{error:?}");
    shows_no_password(&error);
    drop(server);
    std::fs::remove_dir_all(&dir)?;
    let error = Redis::connect(&format!("redis+unix://{path}")).expect_err("nobody is there");
    assert!(error.is_unavailable(), "{error:?}");
    Ok(())
}

fn a_wrong_password_is_a_mistake_and_not_an_outage() -> Outcome {
    let server = servers::Redis::with(&["--requirepass", "right"])?;
    for who in ["", ":hunter2", "default:hunter2", "nobody:hunter2"] {
        let error = Redis::connect(&url(&server, who)).expect_err("the password is wrong");
        assert!(error.is_misconfigured(), "{who}: {error:?}");
        shows_no_password(&error);
    }
    // One that was right.
    let store = Redis::connect(&url(&server, ":right"))?;
    let held = Lock::new(&store, "a").try_acquire()?;
    server.command("AUTH right\r\nCONFIG SET requirepass hunter2")?;
    server.command("AUTH hunter2\r\nCLIENT KILL TYPE normal")?;
    let error = held.renew().expect_err("the password has changed");
    assert!(error.is_misconfigured(), "{error:?}");
    Ok(())
}

fn a_password_shows_nowhere_even_where_the_server_repeats_it() -> Outcome {
    let server = servers::Redis::with(&["--rename-command", "AUTH", ""])?;
    let wrong = url(&server, "me:hunter2");
    let error = Redis::connect(&wrong).expect_err("there is no AUTH");
    shows_no_password(&error);
    let builder = Redis::builder(&wrong);
    assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
    #[cfg(feature = "async")]
    {
        let runtime = tokio::runtime::Runtime::new()?;
        let error = runtime.block_on(Redis::builder(&wrong).connect_async()).expect_err("there is no AUTH");
        shows_no_password(&error);
    }
    Ok(())
}
