//! `&B`, `Arc<B>` and `Box<B>` are backends too.

use std::sync::Arc;

use crate::{
    Advice, Attempt, Backend, Breaking, Claim, DurableFence, Granted, Holder, Inspect, Name, Permits,
    Release, Renewal, Restore, Result, SessionLocks, SharedLocks, Site, Watch,
};

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<B: Backend + ?Sized> Backend for $pointer {
            type Grant = B::Grant;
            type Handle = B::Handle;

            fn handle(&self) -> Self::Handle {
                (**self).handle()
            }

            fn site(&self) -> &Site {
                (**self).site()
            }

            fn try_acquire(&self, claim: &Claim) -> Result<Attempt<Self::Grant>> {
                (**self).try_acquire(claim)
            }

            fn renew(&self, due: Renewal<'_, Self::Grant>) -> Result<()> {
                (**self).renew(due)
            }

            fn release(&self, end: Release<'_, Self::Grant>) -> Result<()> {
                (**self).release(end)
            }

            fn abandon(&self, claim: &Claim) {
                (**self).abandon(claim);
            }

            fn watch(&self, claim: &Claim) -> Result<Watch> {
                (**self).watch(claim)
            }

            fn is_awaited(&self, claim: &Claim) -> bool {
                (**self).is_awaited(claim)
            }

            fn renew_many(&self, due: &[Renewal<'_, Self::Grant>]) -> Vec<Result<()>> {
                (**self).renew_many(due)
            }

            fn diagnose(&self) -> Vec<Advice> {
                (**self).diagnose()
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<B: Restore + ?Sized> Restore for $pointer {
            fn restore(&self, claim: &Claim) -> Result<Granted<Self::Grant>> {
                (**self).restore(claim)
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<B: Inspect + ?Sized> Inspect for $pointer {
            fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
                (**self).inspect(name)
            }

            fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
                (**self).list(prefix)
            }

            fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
                (**self).force_release(name, breaking, reason)
            }
        }

        impl<B: DurableFence + ?Sized> DurableFence for $pointer {}
        impl<B: SharedLocks + ?Sized> SharedLocks for $pointer {}
        impl<B: Permits + ?Sized> Permits for $pointer {}
        impl<B: SessionLocks + ?Sized> SessionLocks for $pointer {}
    )*};
}

forward!(&B, Arc<B>, Box<B>);
