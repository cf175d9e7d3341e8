//! Acquire and release, nobody else about; and being denied.

use redis::Connection;
use tenure::aio;
use tenure::{Lock, Redis as Store};
use tenure_servers::Redis;

use crate::measure::{in_turn, pin, report, subject};
use crate::raw::{command, connection, scripts_of, send};

/// Compares the value and deletes, as everybody does.
const COMPARE_AND_DELETE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

pub(crate) fn run(server: &Redis) {
    pin(0);
    println!("one thread on cpu 0, the server where it likes; TCP on the loopback interface");
    let store = Store::connect(&server.url()).unwrap();
    let lock = Lock::new(&store, "pair");
    let pair = || lock.try_acquire().unwrap().release().unwrap();
    // The server knows the scripts from then on.
    pair();
    let scripts = scripts_of(server, pair);
    let [acquire, release] = &scripts[..] else { unreachable!("a pair is {} scripts", scripts.len()) };
    let (mut scripted, mut plain) = (connection(server), connection(server));
    let mut subjects = [
        subject("tenure", pair),
        subject("the same two scripts", || {
            send(&mut scripted, acquire);
            send(&mut scripted, release);
        }),
        subject("SET NX PX", || fenceless(&mut plain)),
    ];
    let times = in_turn(&mut subjects, 1001, 20);
    let [ours, raw, fenceless] = times[..] else { return };
    report("pair", "the same two scripts through the raw client", (ours, raw), Some(1.10));
    report("pair", "SET NX PX and compare-and-delete, which have no fence", (ours, fenceless), None);
    denied(server, &store);
    tasks(server);
}

fn fenceless(connection: &mut Connection) {
    let set =
        redis::cmd("SET").arg("plain").arg("token").arg("NX").arg("PX").arg(30_000).query::<()>(connection);
    set.unwrap();
    let released: i64 = redis::cmd("EVAL")
        .arg(COMPARE_AND_DELETE)
        .arg(1)
        .arg("plain")
        .arg("token")
        .query(connection)
        .unwrap();
    assert_eq!(released, 1, "nobody else takes it");
}

fn denied(server: &Redis, store: &Store) {
    let lock = Lock::new(store, "taken");
    let held = lock.try_acquire().unwrap();
    let attempt = || assert!(lock.try_acquire().is_err_and(|error| error.is_contended()));
    let scripts = scripts_of(server, attempt);
    let [script] = &scripts[..] else { unreachable!("a denial is {} scripts", scripts.len()) };
    let mut raw = connection(server);
    let mut subjects =
        [subject("denied", attempt), subject("the same script", || drop(send(&mut raw, script)))];
    let times = in_turn(&mut subjects, 1001, 20);
    let [ours, raw] = times[..] else { return };
    report("denied attempt", "the same script through the raw client", (ours, raw), Some(1.10));
    drop(held);
}

fn tasks(server: &Redis) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (url, client) = (server.url(), redis::Client::open(server.url()).unwrap());
    let store = runtime.block_on(tenure::AsyncRedis::connect(&url)).unwrap();
    let lock = aio::Lock::new(&store, "task");
    let pair = || runtime.block_on(async { lock.try_acquire().await.unwrap().release().await.unwrap() });
    pair();
    let scripts = scripts_of(server, pair);
    let [acquire, release] = &scripts[..] else { unreachable!("a pair is {} scripts", scripts.len()) };
    let mut raw = runtime.block_on(client.get_multiplexed_async_connection()).unwrap();
    let mut subjects = [
        subject("tenure", pair),
        subject("the same two scripts", || {
            runtime.block_on(async {
                for script in [acquire, release] {
                    command(script).query_async::<redis::Value>(&mut raw).await.unwrap();
                }
            });
        }),
    ];
    let times = in_turn(&mut subjects, 1001, 20);
    let [ours, raw] = times[..] else { return };
    report("pair, awaited", "the same two scripts through the raw client, awaited", (ours, raw), Some(1.10));
}
