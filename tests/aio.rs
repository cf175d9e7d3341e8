//! Asynchronous locks under runtimes of other people, and under none.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

#[path = "support/runtimes.rs"]
mod runtimes;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use runtimes::{Runtime, yield_now};
use tenure::aio::{self, AnyBackend, AsyncBackend, AsyncHandle, AsyncInspect, Lock, Task};
use tenure::{Breaking, Cause, Files, Held, LocMem, Name, Result, Settings, Status};

const SOON: Duration = Duration::from_secs(20);

/// A store in memory and one in files, in a folder that goes with the guard.
fn stores() -> (tempfile::TempDir, [AnyBackend; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path().join("locks")).unwrap();
    (folder, [LocMem::for_this_process_only().into(), files.into()])
}

/// A count that loses updates unless a lock keeps those who count apart.
#[derive(Default)]
struct Count {
    number: AtomicU64,
    done: AtomicU64,
}

impl Count {
    /// Counts one up, and lets others run in the middle of it.
    async fn up(&self) {
        let before = self.number.load(SeqCst);
        yield_now().await;
        self.number.store(before + 1, SeqCst);
        self.done.fetch_add(1, SeqCst);
    }

    fn assert_exact(&self) {
        assert_eq!(self.number.load(SeqCst), self.done.load(SeqCst), "two were inside at once");
    }
}

/// Nobody holds the name or waits for it.
async fn nothing_is_left(store: &AnyBackend, name: &str) -> Result<()> {
    // Dropped locks are released in the background, within a second.
    let began = Instant::now();
    Lock::new(store, name).acquire_for(SOON).await?.release().await?;
    assert!(began.elapsed() < Duration::from_secs(1), "free only after {:?}", began.elapsed());
    let inspect = store.inspect().expect("both can be looked at");
    assert!(inspect.inspect(&Name::new(name)?).await?.is_none());
    assert_eq!(store.site().waiting(&format!("lock:{name}")), 0, "somebody stands in line");
    Ok(())
}

/// One of everything.
async fn use_a_lock<B: AsyncHandle>(store: &B, name: &str) -> Result<()> {
    let lock = Lock::new(store, name);
    let held = lock.acquire().await?;
    assert!(lock.try_acquire().await.is_err_and(|error| error.is_contended()));
    let busy = lock.acquire_for(Duration::from_millis(20)).await;
    assert!(busy.is_err_and(|error| error.is_timed_out()));
    held.renew().await?;
    assert_eq!(held.guarded(async { 7 }).await?, 7);
    assert_eq!(held.status(), Status::Held);
    let fence = held.fence();
    held.release().await?;
    let later = lock.run(async |held: &Lock<B, Held>| held.fence()).await?.kept()?;
    assert!(later > fence);
    drop(lock.acquire_until(Instant::now() + SOON).await?);
    lock.acquire_for(SOON).await?.release().await
}

#[test]
fn locks_do_what_they_say_under_every_runtime() {
    for runtime in Runtime::ALL {
        let (_folder, stores) = stores();
        let tasks = stores.map(|store| -> Task {
            Box::pin(async move {
                use_a_lock(&store, "one of everything").await.unwrap();
                nothing_is_left(&store, "one of everything").await.unwrap();
            })
        });
        runtime.run(tasks.into());
    }
}

#[test]
fn tasks_of_every_runtime_keep_each_other_out() {
    const TASKS: u64 = 8;
    const ROUNDS: u64 = 50;
    for runtime in Runtime::ALL {
        let (_folder, stores) = stores();
        for store in stores {
            let count = Arc::new(Count::default());
            let tasks = (0..TASKS).map(|_| -> Task {
                let (store, count) = (store.clone(), count.clone());
                Box::pin(async move {
                    let lock = Lock::new(&store, "count");
                    for _ in 0..ROUNDS {
                        let held = lock.acquire_for(SOON).await.unwrap();
                        count.up().await;
                        held.release().await.unwrap();
                    }
                })
            });
            runtime.run(tasks.collect());
            count.assert_exact();
            assert_eq!(count.done.load(SeqCst), TASKS * ROUNDS, "{runtime:?}");
        }
    }
}

#[test]
fn tasks_that_are_aborted_at_random_lose_no_update_and_leave_nothing_behind() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let (_folder, stores) = stores();
    for store in stores {
        let count = Arc::new(Count::default());
        let user = |times: u64| {
            let (store, count) = (store.clone(), count.clone());
            async move {
                let lock = Lock::new(&store, "abort");
                for _ in 0..times {
                    let held = lock.acquire_for(SOON).await.unwrap();
                    count.up().await;
                    // Half of them leave it to the drop.
                    if count.done.load(SeqCst) % 2 == 0 {
                        held.release().await.unwrap();
                    }
                }
            }
        };
        runtime.block_on(async {
            let stay: Vec<_> = (0..4).map(|_| tokio::spawn(user(100))).collect();
            for number in 0..500_u64 {
                let task = tokio::spawn(user(u64::MAX));
                // From before its first poll to some turns at the lock.
                for _ in 0..number * 7 % 23 {
                    tokio::task::yield_now().await;
                }
                if number % 5 == 0 {
                    tokio::time::sleep(Duration::from_micros(number * 13 % 1_700)).await;
                }
                task.abort();
                assert!(task.await.is_err_and(|error| error.is_cancelled()));
            }
            for task in stay {
                task.await.unwrap();
            }
            count.assert_exact();
            assert!(count.done.load(SeqCst) >= 400);
            nothing_is_left(&store, "abort").await.unwrap();
        });
    }
}

#[tokio::test]
async fn a_timeout_around_a_wait_leaves_the_line() -> Result<()> {
    let (_folder, stores) = stores();
    for store in stores {
        let lock = Lock::new(&store, "timeout");
        let held = lock.acquire().await?;
        for _ in 0..5 {
            let waited = tokio::time::timeout(Duration::from_millis(10), lock.acquire()).await;
            assert!(waited.is_err(), "a held lock was granted");
        }
        assert_eq!(store.site().waiting("lock:timeout"), 0);
        held.release().await?;
        tokio::time::timeout(SOON, lock.acquire()).await.expect("it is free")?.release().await?;
        nothing_is_left(&store, "timeout").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_select_gets_the_lock_beside_other_work() -> Result<()> {
    let (_folder, stores) = stores();
    for store in stores {
        let lock = Lock::new(&store, "select");
        let mut holder = Some(lock.acquire().await?);
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        let mut ticked = 0;
        {
            let mut waiting = std::pin::pin!(lock.acquire());
            let held = loop {
                tokio::select! {
                    held = &mut waiting => break held?,
                    _ = ticks.tick() => {
                        ticked += 1;
                        if ticked == 10 && let Some(holder) = holder.take() {
                            holder.release().await?;
                        }
                    }
                }
            };
            held.release().await?;
        }
        assert!(ticked >= 10, "the wait kept the other branch from running");
        // A branch that is made anew each time, and dropped for another one.
        let holder = lock.acquire().await?;
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                held = lock.acquire() => panic!("a held lock was granted: {held:?}"),
            }
        }
        holder.release().await?;
        nothing_is_left(&store, "select").await?;
    }
    Ok(())
}

/// What a program keeps.
struct Job {
    running: Lock<AnyBackend, Held>,
}

#[test]
fn a_lock_of_a_store_named_by_a_url_moves_between_tasks_in_a_struct() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file:{}/locks", folder.path().display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for url in [file.as_str(), "mem:"] {
        runtime.block_on(async {
            let store = aio::connect_with(url, Settings::default()).await.unwrap();
            let (send, mut jobs) = tokio::sync::mpsc::channel(1);
            let lock = Lock::new(&store, "job");
            let first = tokio::spawn(async move {
                for _ in 0..10 {
                    send.send(Job { running: lock.acquire().await.unwrap() }).await.unwrap();
                }
            });
            let second = tokio::spawn(async move {
                let mut last = None;
                while let Some(Job { running }) = jobs.recv().await {
                    assert!(running.is_held() && last < Some(running.fence()));
                    last = Some(running.fence());
                    running.release().await.unwrap();
                }
            });
            first.await.unwrap();
            second.await.unwrap();
            nothing_is_left(&store, "job").await.unwrap();
        });
    }
    assert!(runtime.block_on(aio::connect("nonsense:")).unwrap_err().is_misconfigured());
}

#[tokio::test]
async fn work_under_guard_ends_when_the_lock_is_broken() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default().with_lease(Duration::from_millis(300))?;
    let file = format!("file:{}/locks", folder.path().display());
    for url in [file.as_str(), "mem:"] {
        let store = aio::connect_with(url, settings.clone()).await?;
        let held = Arc::new(Lock::new(&store, "broken").acquire().await?);
        let (told, waits) = (held.clone(), held.clone());
        let told = tokio::spawn(async move { told.lost().await });
        let work = tokio::spawn(async move { waits.guarded(pending::<()>()).await });
        let inspect = store.inspect().expect("both can be looked at");
        let name = Name::new("broken")?;
        let holder = inspect.force_release(&name, Breaking::Now, "the test wants it").await?;
        assert_eq!(holder.map(|holder| holder.fence()), Some(held.fence()));
        let error = tokio::time::timeout(SOON, work).await.expect("it ends").unwrap().unwrap_err();
        assert!(error.is_lost(), "{error}");
        let cause = tokio::time::timeout(SOON, told).await.expect("it is told").unwrap();
        assert!(matches!(cause, Cause::Forced | Cause::Superseded), "{cause:?}");
        assert!(!held.is_held());
        nothing_is_left(&store, "broken").await?;
    }
    Ok(())
}

#[tokio::test]
async fn work_under_guard_ends_with_the_lease() -> Result<()> {
    let (_folder, stores) = stores();
    for store in stores {
        let ttl = Duration::from_millis(100);
        let began = Instant::now();
        let held = Lock::new(&store, "expiry").ttl(ttl).acquire().await?;
        let work = tokio::time::timeout(SOON, held.guarded(pending::<()>())).await;
        assert!(work.expect("it ends").is_err_and(|error| error.is_lost()));
        assert_eq!(held.lost().await, Cause::Expired);
        let took = began.elapsed();
        assert!(took >= ttl - Duration::from_millis(5) && took < ttl + Duration::from_secs(2), "{took:?}");
        assert!(held.release().await.is_err_and(|error| error.is_lost()));
    }
    Ok(())
}

#[test]
fn a_runtime_that_ends_frees_the_locks_of_its_tasks_and_keeps_those_that_were_taken_out() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default().with_lease(Duration::from_millis(300))?;
    let files = Files::builder(folder.path().join("locks")).settings(settings.clone()).open()?;
    let other = Files::builder(folder.path().join("locks")).settings(settings).open()?;
    for workers in [0, 2] {
        let runtime = match workers {
            0 => tokio::runtime::Builder::new_current_thread().enable_time().build(),
            _ => tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_time().build(),
        }
        .unwrap();
        let kept = runtime.block_on(async {
            for number in 0..10 {
                let (lock, name) = (Lock::new(&files, format!("{number}")), format!("{number}"));
                let held = lock.acquire().await?;
                tokio::spawn(async move { held.guarded(pending::<()>()).await });
                // And one that waits for it.
                let waits = Lock::new(&files, name);
                tokio::spawn(async move { waits.acquire().await.map(drop) });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            Lock::new(&files, "kept").acquire().await
        })?;
        drop(runtime);
        let ended = Instant::now();
        for number in 0..10 {
            tenure::Lock::new(&other, format!("{number}")).acquire_for(SOON)?.release()?;
        }
        assert!(ended.elapsed() < Duration::from_secs(1), "free only after {:?}", ended.elapsed());
        // Twice its lease later it is kept alive without any runtime.
        assert!(tenure::Lock::new(&other, "kept").acquire_for(Duration::from_millis(600)).is_err());
        assert!(kept.is_held());
        drop(kept);
        tenure::Lock::new(&other, "kept").acquire_for(SOON)?.release()?;
    }
    Ok(())
}
