//! Acquire and release, nobody else about.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tenure::aio::{self, AsyncHandle};
use tenure::{AnyBackend, Files, Handle, LocMem, Lock, Settings};

use crate::counting::Counting;
use crate::measure::{batch, in_turn, pin, report, subject};

pub(crate) fn run() {
    pin(0);
    println!("one thread on cpu 0; acquire + release pairs");
    memory();
    files();
    tasks();
    engine();
}

fn memory() {
    let store = LocMem::for_this_process_only();
    let handle = Lock::new(&store, "global");
    let fixed = Lock::new(&store, "fixed").ttl(Duration::from_secs(30));
    let mutex = Mutex::new(0_u64);
    let map = ShardedMap::new();
    let mut subjects = [
        subject("a mutex", || *mutex.lock().unwrap() += 1),
        subject("a 64-shard Mutex<HashMap>, insert + remove", || map.pair(black_box("lock:global"))),
        subject("locmem by handle", || pair(&handle)),
        subject("locmem by handle, fixed ttl", || pair(&fixed)),
        subject("locmem by name", || pair(&Lock::new(&store, black_box("global")))),
    ];
    let times = in_turn(&mut subjects, 1001, 1_000);
    let [mutex, map, by_handle, fixed, by_name] = times[..] else { return };
    report("locmem by name", "64-shard map insert + remove", (by_name, map), Some(2.0));
    report("locmem by handle", "uncontended mutex", (by_handle, mutex), Some(10.0));
    report("locmem kept alive", "locmem with a fixed ttl", (by_handle, fixed), Some(1.05));
}

fn files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Files::open(folder.path()).unwrap();
    let kept = Lock::new(&store, "global");
    let fixed = Lock::new(&store, "fixed").ttl(Duration::from_secs(30));
    let bare = std::fs::File::create(folder.path().join("bare")).unwrap();
    let mut subjects = [
        subject("a bare OFD lock + unlock", || {
            fcntl(&bare, FcntlArg::F_OFD_SETLK(&byte(libc::F_WRLCK))).unwrap();
            fcntl(&bare, FcntlArg::F_OFD_SETLK(&byte(libc::F_UNLCK))).unwrap();
        }),
        subject("files by handle, kept alive", || pair(&kept)),
        subject("files by handle, fixed ttl", || pair(&fixed)),
        subject("files by name", || pair(&Lock::new(&store, black_box("name")))),
    ];
    let times = in_turn(&mut subjects, 1001, 10);
    let [bare, kept, fixed, by_name] = times[..] else { return };
    report("files by handle", "bare OFD lock + unlock", (kept, bare), Some(7.0));
    report("files by name", "bare OFD lock + unlock", (by_name, bare), None);
    report("files kept alive", "files with a fixed ttl", (kept, fixed), Some(1.05));
}

/// The same pairs in blocking and in asynchronous code.
fn tasks() {
    let memory = LocMem::for_this_process_only();
    compare("locmem by handle", &memory, 1_000);
    let folder = tempfile::tempdir().unwrap();
    compare("files by handle", &Files::open(folder.path()).unwrap(), 10);
}

fn compare<B>(what: &str, store: &B, calls: u32)
where
    B: Handle + AsyncHandle + Into<AnyBackend> + Into<aio::AnyBackend>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (lock, awaited) = (Lock::new(store, "x"), aio::Lock::new(store, "x"));
    let any_lock = Lock::new(Into::<AnyBackend>::into(store.clone()), "x");
    let any_awaited = aio::Lock::new(Into::<aio::AnyBackend>::into(store.clone()), "x");
    let mut subjects = [
        subject("in blocking code", || pair(&lock)),
        batch("awaited", |calls| aio::block_on(pairs(&awaited, calls))),
        batch("awaited under tokio", |calls| runtime.block_on(pairs(&awaited, calls))),
        subject("of any store, in blocking code", || pair(&any_lock)),
        batch("of any store, awaited", |calls| aio::block_on(pairs(&any_awaited, calls))),
    ];
    let times = in_turn(&mut subjects, 1001, calls);
    let [blocking, awaited, tokio, any_blocking, any_awaited] = times[..] else { return };
    report(format!("{what}, awaited"), "in blocking code", (awaited, blocking), Some(1.3));
    report(format!("{what}, awaited under tokio"), "in blocking code", (tokio, blocking), Some(1.3));
    report(
        format!("{what}, of any store, awaited"),
        "of any store, in blocking code",
        (any_awaited, any_blocking),
        None,
    );
}

async fn pairs<B: AsyncHandle>(lock: &aio::Lock<B>, calls: u32) {
    for _ in 0..calls {
        lock.try_acquire().await.unwrap().release().await.unwrap();
    }
}

/// What the engine adds where the store costs nothing at all: the worst case, for information.
fn engine() {
    let store = Counting::new(Settings::default());
    let kept = Lock::new(&store, "kept");
    let fixed = Lock::new(&store, "fixed").ttl(Duration::from_secs(30));
    let mut subjects = [subject("kept alive", || pair(&kept)), subject("fixed ttl", || pair(&fixed))];
    let times = in_turn(&mut subjects, 1001, 500);
    report("a store that costs nothing, kept alive", "with a fixed ttl", (times[0], times[1]), None);
}

fn pair<B: Handle>(lock: &Lock<B>) {
    lock.try_acquire().unwrap().release().unwrap();
}

fn byte(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 1, l_pid: 0 }
}

struct ShardedMap {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<String, u128>>>,
}

impl ShardedMap {
    fn new() -> Self {
        Self { hasher: RandomState::new(), shards: (0..64).map(|_| Mutex::default()).collect() }
    }

    fn pair(&self, key: &str) {
        self.shard(key).lock().unwrap().insert(key.to_owned(), 1);
        self.shard(key).lock().unwrap().remove(key);
    }

    fn shard(&self, key: &str) -> &Mutex<HashMap<String, u128>> {
        &self.shards[usize::try_from(self.hasher.hash_one(key) % 64).unwrap()]
    }
}
