//! A store for asynchronous code whose type is known only at run time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{AsyncBackend, AsyncHandle, AsyncInspect, AsyncRestore, Task};
use crate::any::AnyGrant;
use crate::erase::any_backend;
use crate::{
    Advice, Attempt, Breaking, Claim, Granted, Holder, Name, Permits, Release, Renewal, Result, SessionLocks,
    SharedLocks, Site, Watch,
};

any_backend! {
    /// Any store for asynchronous code; the sibling of [`AnyBackend`](crate::AnyBackend).
    ///
    /// ```
    /// use tenure_core::Held;
    /// use tenure_core::aio::{AnyBackend, Lock};
    ///
    /// struct Job {
    ///     running: Option<Lock<AnyBackend, Held>>,
    /// }
    /// ```
    AsyncHandle, ErasedInspect, AsyncRestore
}

impl AnyBackend {
    /// Looking at locks from outside, if the store can.
    #[must_use]
    pub fn inspect(&self) -> Option<AnyInspect> {
        self.inspect.clone().map(AnyInspect)
    }
}

impl<B: AsyncHandle> Erase<B> {
    /// Records that it can be inspected.
    #[must_use]
    pub fn inspect(mut self) -> Self
    where
        B: AsyncInspect,
    {
        self.erased.inspect = Some(Arc::new(Typed(self.store.clone())));
        self
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`AsyncBackend`] without its types.
trait Erased: Send + Sync {
    fn site(&self) -> &Site;
    fn try_acquire<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<Attempt<AnyGrant>>>;
    fn renew<'a>(&'a self, due: Renewal<'a, AnyGrant>) -> Boxed<'a, Result<()>>;
    fn release<'a>(&'a self, end: Release<'a, AnyGrant>) -> Boxed<'a, Result<()>>;
    fn spawn(&self, task: Task);
    fn abandon<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, ()>;
    fn watch<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<Watch>>;
    fn is_awaited<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, bool>;
    fn renew_many<'a>(&'a self, due: &'a [Renewal<'a, AnyGrant>]) -> Boxed<'a, Vec<Result<()>>>;
    fn diagnose(&self) -> Boxed<'_, Vec<Advice>>;
}

trait ErasedRestore: Send + Sync {
    fn restore_erased<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<Granted<AnyGrant>>>;
}

trait ErasedInspect: Send + Sync {
    fn inspect_erased<'a>(&'a self, name: &'a Name) -> Boxed<'a, Result<Option<Holder>>>;
    fn list_erased<'a>(&'a self, prefix: &'a str) -> Boxed<'a, Result<Vec<Holder>>>;
    fn force_release_erased<'a>(
        &'a self,
        name: &'a Name,
        breaking: Breaking,
        reason: &'a str,
    ) -> Boxed<'a, Result<Option<Holder>>>;
}

/// A store whose type is still known.
struct Typed<B>(B);

impl<B: AsyncHandle> Erased for Typed<B> {
    fn site(&self) -> &Site {
        self.0.site()
    }

    fn try_acquire<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<Attempt<AnyGrant>>> {
        Box::pin(async move {
            Ok(match self.0.try_acquire(claim).await? {
                Attempt::Granted(granted) => Attempt::Granted(granted.map(AnyGrant::new)),
                Attempt::Denied(denied) => Attempt::Denied(denied),
            })
        })
    }

    fn renew<'a>(&'a self, due: Renewal<'a, AnyGrant>) -> Boxed<'a, Result<()>> {
        Box::pin(self.0.renew(due.with_grant(due.grant().typed())))
    }

    fn release<'a>(&'a self, end: Release<'a, AnyGrant>) -> Boxed<'a, Result<()>> {
        Box::pin(self.0.release(end.with_grant(end.grant().typed())))
    }

    fn spawn(&self, task: Task) {
        self.0.spawn(task);
    }

    fn abandon<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, ()> {
        Box::pin(self.0.abandon(claim))
    }

    fn watch<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<Watch>> {
        Box::pin(self.0.watch(claim))
    }

    fn is_awaited<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, bool> {
        Box::pin(self.0.is_awaited(claim))
    }

    fn renew_many<'a>(&'a self, due: &'a [Renewal<'a, AnyGrant>]) -> Boxed<'a, Vec<Result<()>>> {
        Box::pin(async move {
            let due: Vec<_> = due.iter().map(|due| due.with_grant(due.grant().typed())).collect();
            self.0.renew_many(&due).await
        })
    }

    fn diagnose(&self) -> Boxed<'_, Vec<Advice>> {
        Box::pin(self.0.diagnose())
    }
}

impl<B: AsyncHandle + AsyncRestore> ErasedRestore for Typed<B> {
    fn restore_erased<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<Granted<AnyGrant>>> {
        Box::pin(async move { Ok(self.0.restore(claim).await?.map(AnyGrant::new)) })
    }
}

impl<B: AsyncInspect> ErasedInspect for Typed<B> {
    fn inspect_erased<'a>(&'a self, name: &'a Name) -> Boxed<'a, Result<Option<Holder>>> {
        Box::pin(self.0.inspect(name))
    }

    fn list_erased<'a>(&'a self, prefix: &'a str) -> Boxed<'a, Result<Vec<Holder>>> {
        Box::pin(self.0.list(prefix))
    }

    fn force_release_erased<'a>(
        &'a self,
        name: &'a Name,
        breaking: Breaking,
        reason: &'a str,
    ) -> Boxed<'a, Result<Option<Holder>>> {
        Box::pin(self.0.force_release(name, breaking, reason))
    }
}

/// An [`AnyBackend`] that can be looked at; see [`AnyBackend::inspect`].
#[derive(Clone)]
pub struct AnyInspect(Arc<dyn ErasedInspect>);

impl AsyncInspect for AnyInspect {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        self.0.inspect_erased(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        self.0.list_erased(prefix).await
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        self.0.force_release_erased(name, breaking, reason).await
    }
}

impl fmt::Debug for AnyInspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyInspect")
    }
}

impl AsyncRestore for AnyRestore {
    async fn restore(&self, claim: &Claim) -> Result<Granted<AnyGrant>> {
        self.restore.restore_erased(claim).await
    }
}

macro_rules! erased {
    ($($store:ident: $erased:ident $(. $field:ident)*;)*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl AsyncBackend for $store {
            type Grant = AnyGrant;
            type Handle = Self;

            fn handle(&self) -> Self {
                self.clone()
            }

            fn site(&$erased) -> &Site {
                $erased$(.$field)*.store.site()
            }

            async fn try_acquire(&$erased, claim: &Claim) -> Result<Attempt<AnyGrant>> {
                $erased$(.$field)*.store.try_acquire(claim).await
            }

            async fn renew(&$erased, due: Renewal<'_, AnyGrant>) -> Result<()> {
                $erased$(.$field)*.store.renew(due).await
            }

            async fn release(&$erased, end: Release<'_, AnyGrant>) -> Result<()> {
                $erased$(.$field)*.store.release(end).await
            }

            fn spawn(&$erased, task: Task) {
                $erased$(.$field)*.store.spawn(task);
            }

            async fn abandon(&$erased, claim: &Claim) {
                $erased$(.$field)*.store.abandon(claim).await;
            }

            async fn watch(&$erased, claim: &Claim) -> Result<Watch> {
                $erased$(.$field)*.store.watch(claim).await
            }

            async fn is_awaited(&$erased, claim: &Claim) -> bool {
                $erased$(.$field)*.store.is_awaited(claim).await
            }

            async fn renew_many(&$erased, due: &[Renewal<'_, AnyGrant>]) -> Vec<Result<()>> {
                $erased$(.$field)*.store.renew_many(due).await
            }

            async fn diagnose(&$erased) -> Vec<Advice> {
                $erased$(.$field)*.store.diagnose().await
            }
        }
    )*};
}

erased! {
    AnyBackend: self;
    AnyRestore: self.any;
    AnySessions: self.any;
    AnyShared: self.any;
    AnyPermits: self.any;
}
