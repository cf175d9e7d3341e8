//! The stores and executors that every claim is put to the test on, and what is known of a lock from
//! outside.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenure::{
    AnyBackend, Attempt, Backend, Breaking, Claim, Error, Files, LocMem, Lock, Name, Release, Renewal,
    Result, Settings, Site, aio,
};

/// Runs a test on each store.
pub fn each_store(test: impl Fn(&AnyBackend)) {
    test(&LocMem::for_this_process_only().into());
    let folder = tempfile::tempdir().unwrap();
    test(&Files::open(folder.path()).unwrap().into());
}

/// Runs a test on each store, by each executor. The store comes in both of its forms.
pub fn each_async_store<F: Future>(test: impl Fn(AnyBackend, aio::AnyBackend) -> F) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mem = LocMem::for_this_process_only();
    tokio.block_on(test(mem.clone().into(), mem.clone().into()));
    pollster::block_on(test(mem.clone().into(), mem.into()));
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path()).unwrap();
    tokio.block_on(test(files.clone().into(), files.clone().into()));
    pollster::block_on(test(files.clone().into(), files.into()));
}

/// Whether nobody holds a lock.
pub fn is_free(store: &AnyBackend, name: &str) -> bool {
    match Lock::new(store, name).try_acquire() {
        Ok(held) => held.release().map(|()| true).unwrap(),
        Err(error) => {
            assert!(error.is_contended(), "{error}");
            false
        }
    }
}

/// Takes a lock away from whoever holds it.
pub fn break_lock(store: &AnyBackend, name: &str) -> Result<()> {
    let name = Name::new(name)?;
    let broken = store.inspect().unwrap().force_release(&name, Breaking::Now, "a test")?;
    assert!(broken.is_some(), "nobody held {name}");
    Ok(())
}

/// Whether a call panics.
pub fn panics<T>(call: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// A store that grants everything and answers no release.
#[derive(Clone)]
pub struct NoRelease(Arc<(Site, LocMem, AtomicUsize)>);

impl Default for NoRelease {
    fn default() -> Self {
        let site = Site::new("no-release:", Settings::default());
        Self(Arc::new((site, LocMem::for_this_process_only(), AtomicUsize::new(0))))
    }
}

impl NoRelease {
    /// How often it was asked.
    pub fn releases(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }
}

impl Backend for NoRelease {
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.0
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        Backend::try_acquire(&self.0.1, claim)
    }

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        Backend::renew(&self.0.1, due)
    }

    fn release(&self, _: Release<'_, ()>) -> Result<()> {
        self.0.2.fetch_add(1, Ordering::SeqCst);
        Err(Error::unavailable("no answer"))
    }
}
