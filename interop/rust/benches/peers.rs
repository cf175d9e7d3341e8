//! The same work by other libraries, as ratios: `cargo bench --manifest-path interop/rust/Cargo.toml`.

#[path = "../../../benches/ratios/measure.rs"]
mod measure;

use std::time::Duration;

use tenure::aio;
use tenure::{Lock, Redis as Store};
use tenure_servers::redis;

use measure::{in_turn, pin, report, subject};

const TTL: Duration = Duration::from_secs(30);

fn main() {
    let server = match redis() {
        Ok(server) => server,
        Err(absent) => return println!("nothing measured: {absent}"),
    };
    println!("{}", measure::machine());
    pin(0);
    println!("acquire + release pairs, one thread on cpu 0; the others have no fence, and wait by polling");
    let url = server.url();
    let store = Store::connect(&url).unwrap();
    let lock = Lock::new(&store, "ours").ttl(TTL);
    let other = redlock::RedLock::new(vec![url.as_str()]);
    let ttl = usize::try_from(TTL.as_millis()).unwrap();
    let mut subjects = [
        subject("tenure", || lock.try_acquire().unwrap().release().unwrap()),
        subject("redlock", || {
            let held = other.lock(b"theirs", ttl).unwrap().expect("nobody else takes it");
            other.unlock(&held);
        }),
    ];
    let times = in_turn(&mut subjects, 301, 10);
    let [ours, theirs] = times[..] else { return };
    report("pair", "a pair of redlock", (ours, theirs), None);
    tasks(&url);
}

fn tasks(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(tenure::AsyncRedis::connect(url)).unwrap();
    let lock = aio::Lock::new(&store, "ours").ttl(TTL);
    let other = rslock::LockManager::new(vec![url]);
    let pair = || runtime.block_on(async { lock.try_acquire().await.unwrap().release().await.unwrap() });
    let theirs = || {
        runtime.block_on(async {
            let held = other.lock("theirs", TTL).await.unwrap();
            other.unlock(&held).await;
        });
    };
    let times = in_turn(&mut [subject("tenure", pair), subject("rslock", theirs)], 301, 10);
    let [ours, theirs] = times[..] else { return };
    report("pair, awaited", "a pair of rslock", (ours, theirs), None);
}
