//! Who may do what, and where: passwords, users, databases, sockets.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tenure_core::{Backend, Breaking, Error, Inspect, Lock, Name, Result, Settings, Status};
use tenure_redis::{Builder, Redis, Wake};
use tenure_servers::{self as servers, Outcome};

/// The rights that the crate's docs name.
const RIGHTS: &str = "~lock:* ~~* &~* &__redis__:invalidate +@string +@hash +@sortedset +del +exists +type +pexpire \
     +pexpireat +pttl +scan +time +eval +evalsha +publish +subscribe +unsubscribe +punsubscribe +ping +info \
     +command|info +config|get +client|id +client|tracking +client|caching";

/// Those that they name for a cluster, for a master that sentinels watch over, and for acknowledgements.
const CLUSTER: &str = "+cluster|slots +asking";
const WATCHED: &str = "+role";
const ACKNOWLEDGED: &str = "+wait";

/// What has to be escaped in a URL, and must not be seen anywhere.
const PASSWORD: &str = "hunter2@:/?#%";
const ESCAPED: &str = "hunter2%40%3A%2F%3F%23%25";

fn main() -> ExitCode {
    let tests = servers::tests![
        a_password_opens_the_server_whatever_its_characters,
        a_user_with_the_rights_that_the_docs_name_can_do_everything,
        the_rights_that_the_docs_name_are_enough_with_replicas_that_acknowledge,
        the_rights_that_the_docs_name_are_enough_in_a_cluster,
        the_rights_that_the_docs_name_are_enough_behind_sentinels,
        the_docs_name_the_rights_that_are_tested,
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
    let patience = Instant::now() + Duration::from_secs(10);
    while store.site().waiting(&[store.site().settings().prefix(), "a"].concat()) == 0 {
        assert!(Instant::now() < patience, "nobody waits");
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
        let store = Redis::connect(&url(&server, &who))?;
        assert!(!format!("{store:?} {}", store.site().label()).contains("hunter2"));
        works(&store)?;
    }
    Ok(())
}

/// Lets a user of all these rights into a server.
fn let_in(server: &servers::Redis, rights: &[&str]) -> Outcome {
    let made = server.command(&format!("ACL SETUSER locks reset on >secret {}", rights.join(" ")))?;
    assert_eq!(made, "+OK\r\n");
    Ok(())
}

/// Whether nobody was refused anything.
fn refused_nothing(server: &servers::Redis, what: &str) -> Outcome {
    let log = server.command("ACL LOG")?;
    assert!(log.starts_with("*0"), "{what}: {log}");
    Ok(())
}

/// All that a store for tasks is for.
#[cfg(feature = "async")]
fn works_for_tasks(builder: Builder) -> Outcome {
    use tenure_core::aio::{AsyncBackend, AsyncInspect, Lock};

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = builder.connect_async().await?;
        let lock = Lock::new(&store, "t");
        let held = lock.try_acquire().await?;
        held.renew().await?;
        let waiting = {
            let store = store.clone();
            tokio::spawn(async move { Lock::new(&store, "t").acquire().await?.release().await })
        };
        while store.site().waiting(&[store.site().settings().prefix(), "t"].concat()) == 0 {
            tokio::task::yield_now().await;
        }
        held.release().await?;
        waiting.await.expect("the task ends")?;
        Lock::new(&store, "ts").shared().try_acquire().await?.release().await?;
        let held = Lock::new(&store, "tb").try_acquire().await?;
        assert_eq!(store.list("tb").await?.len(), 1);
        store.force_release(&Name::new("tb")?, Breaking::Safe, "a test").await?;
        assert!(held.release().await.is_err());
        store.diagnose().await;
        Ok(())
    })
}

#[cfg(not(feature = "async"))]
fn works_for_tasks(_: Builder) -> Outcome {
    Ok(())
}

fn a_user_with_the_rights_that_the_docs_name_can_do_everything() -> Outcome {
    let server = servers::Redis::with(&[])?;
    let_in(&server, &[RIGHTS])?;
    let short =
        Settings::default().with_lease(Duration::from_secs(1))?.with_max_ttl(Duration::from_secs(1))?;
    let ways: [(&str, &dyn Fn(Builder) -> Builder); 4] = [
        ("tracking", &|builder| builder),
        ("a channel", &|builder| builder.wake(Wake::Channel)),
        ("a queue", &Builder::fair),
        ("a guard", &|builder| builder.settings(short.clone()).restart_guard()),
    ];
    for (what, way) in ways {
        let builder = way(Redis::builder(&url(&server, "locks:secret")));
        let store = builder.clone().connect()?;
        Lock::new(&store, "first").acquire()?.release()?;
        works(&store)?;
        works_for_tasks(builder)?;
        refused_nothing(&server, what)?;
    }
    Ok(())
}

fn the_rights_that_the_docs_name_are_enough_with_replicas_that_acknowledge() -> Outcome {
    let master = servers::Redis::with(&["--repl-diskless-sync-delay", "0"])?;
    let _replica = servers::Redis::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())])?;
    let until = Instant::now() + Duration::from_secs(20);
    while !master.command("WAIT 1 100")?.starts_with(":1") {
        assert!(Instant::now() < until, "the replica does not come into step");
    }
    let builder = Redis::builder(&url(&master, "locks:secret")).replicas(1, Duration::from_secs(1));
    let_in(&master, &[RIGHTS, ACKNOWLEDGED])?;
    works(&builder.clone().connect()?)?;
    works_for_tasks(builder.clone())?;
    refused_nothing(&master, "acknowledged")?;
    // Without that right nothing was acknowledged, and nobody needs to look at replicas for it.
    let lock = Lock::new(builder.clone().connect()?, "a");
    let held = lock.try_acquire()?;
    let_in(&master, &[RIGHTS])?;
    let told =
        |error: Error| assert!(error.is_misconfigured() && error.to_string().contains("+wait"), "{error:?}");
    told(held.renew().expect_err("it may not ask"));
    assert_eq!(held.status(), Status::Unknown);
    held.release()?;
    told(lock.try_acquire().expect_err("it may not ask"));
    assert_eq!(master.command("EXISTS lock:a")?, ":0\r\n");
    Ok(())
}

fn the_rights_that_the_docs_name_are_enough_in_a_cluster() -> Outcome {
    let mut cluster = servers::cluster()?;
    let url = cluster.url().replace("://", "://locks:secret@");
    let everywhere = |cluster: &mut servers::Cluster, rights: &[&str]| -> Outcome {
        cluster.nodes().iter().try_for_each(|node| let_in(node, rights))
    };
    everywhere(&mut cluster, &[RIGHTS, CLUSTER])?;
    let store = Redis::connect(&url)?;
    works(&store)?;
    works_for_tasks(Redis::builder(&url))?;
    // A lock whose slot is on its way, and whose keys have arrived already.
    let (from, to) = (cluster.id(0)?, cluster.id(1)?);
    let slot = cluster.nodes()[0].command("CLUSTER KEYSLOT {b}")?;
    let slot = slot.trim_start_matches(':').trim();
    assert_eq!(servers::Cluster::place_of(slot.parse().expect("a slot is a number")), 0);
    cluster.nodes().iter().take(3).try_for_each(|node| node.command("FLUSHALL").map(drop))?;
    cluster.expect(1, &format!("CLUSTER SETSLOT {slot} IMPORTING {from}"), "+OK")?;
    cluster.expect(0, &format!("CLUSTER SETSLOT {slot} MIGRATING {to}"), "+OK")?;
    for key in ["lock:{b}", "~f:lock:{b}", "~w:lock:{b}"] {
        let answer = cluster.nodes()[1].command(&format!("ASKING\r\nSET {key} 7 PX 60000"))?;
        assert!(answer.starts_with("+OK"), "{answer}");
    }
    cluster.expect(1, "DBSIZE", ":3")?;
    let moving = |url: &str| Lock::new(&Redis::connect(url)?, "{b}").try_acquire().map(drop);
    assert!(moving(&url).is_err_and(|error| error.is_contended()));
    for node in cluster.nodes() {
        refused_nothing(node, "cluster")?;
    }
    everywhere(&mut cluster, &[RIGHTS, "+cluster|slots"])?;
    let error = moving(&url).expect_err("it may not ask for what is on its way");
    assert!(error.is_misconfigured() && error.to_string().contains("ACL"), "{error:?}");
    everywhere(&mut cluster, &[RIGHTS, "+asking"])?;
    let error = Redis::connect(&url).expect_err("it may not ask who serves what");
    assert!(error.is_misconfigured() && error.to_string().contains("ACL"), "{error:?}");
    Ok(())
}

fn the_rights_that_the_docs_name_are_enough_behind_sentinels() -> Outcome {
    let mut sentinels = servers::sentinels()?;
    let url = sentinels.url().replace("://", "://locks:secret@");
    sentinels.servers().iter().try_for_each(|server| let_in(server, &[RIGHTS, WATCHED]))?;
    sentinels.each("ACL SETUSER locks reset on >secret +sentinel|get-master-addr-by-name")?;
    sentinels.each("ACL SETUSER default resetpass >other")?;
    works(&Redis::connect(&url)?)?;
    works_for_tasks(Redis::builder(&url))?;
    for server in sentinels.servers() {
        refused_nothing(server, "sentinels")?;
    }
    sentinels.servers().iter().try_for_each(|server| let_in(server, &[RIGHTS]))?;
    let error = Redis::connect(&url).expect_err("it may not ask whether this is the master");
    assert!(error.is_misconfigured() && error.to_string().contains("ACL"), "{error:?}");
    Ok(())
}

fn the_docs_name_the_rights_that_are_tested() -> Outcome {
    let docs = include_str!("../src/lib.rs").replace("//!", "");
    let docs = docs.split_whitespace().collect::<Vec<_>>().join(" ");
    for rights in [RIGHTS, CLUSTER, WATCHED, ACKNOWLEDGED, "+sentinel|get-master-addr-by-name"] {
        assert!(docs.contains(rights), "{rights}");
    }
    Ok(())
}

fn a_user_without_them_is_told_what_is_missing() -> Outcome {
    let server = servers::Redis::with(&[])?;
    for (missing, word) in [("-evalsha", "ACL"), ("-set", "ACL"), ("resetkeys ~other:*", "prefix")] {
        let_in(&server, &[RIGHTS, missing])?;
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
