//! `&B`, `Arc<B>` and `Box<B>` are stores too.

use std::future::Future;
use std::sync::Arc;

use super::{AsyncBackend, AsyncInspect, AsyncRestore, Task};
use crate::{Advice, Attempt, Breaking, Claim, Granted, Holder, Name, Release, Renewal, Result, Site, Watch};

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<B: AsyncBackend + ?Sized> AsyncBackend for $pointer {
            type Grant = B::Grant;
            type Handle = B::Handle;

            fn handle(&self) -> Self::Handle {
                (**self).handle()
            }

            fn site(&self) -> &Site {
                (**self).site()
            }

            fn try_acquire(
                &self,
                claim: &Claim,
            ) -> impl Future<Output = Result<Attempt<Self::Grant>>> + Send {
                (**self).try_acquire(claim)
            }

            fn renew(&self, due: Renewal<'_, Self::Grant>) -> impl Future<Output = Result<()>> + Send {
                (**self).renew(due)
            }

            fn release(&self, end: Release<'_, Self::Grant>) -> impl Future<Output = Result<()>> + Send {
                (**self).release(end)
            }

            fn spawn(&self, task: Task) {
                (**self).spawn(task);
            }

            fn abandon(&self, claim: &Claim) -> impl Future<Output = ()> + Send {
                (**self).abandon(claim)
            }

            fn watch(&self, claim: &Claim) -> impl Future<Output = Result<Watch>> + Send {
                (**self).watch(claim)
            }

            fn is_awaited(&self, claim: &Claim) -> impl Future<Output = bool> + Send {
                (**self).is_awaited(claim)
            }

            fn renew_many(
                &self,
                due: &[Renewal<'_, Self::Grant>],
            ) -> impl Future<Output = Vec<Result<()>>> + Send {
                (**self).renew_many(due)
            }

            fn diagnose(&self) -> impl Future<Output = Vec<Advice>> + Send {
                (**self).diagnose()
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<B: AsyncRestore + ?Sized> AsyncRestore for $pointer {
            fn restore(&self, claim: &Claim) -> impl Future<Output = Result<Granted<Self::Grant>>> + Send {
                (**self).restore(claim)
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<B: AsyncInspect + ?Sized> AsyncInspect for $pointer {
            fn inspect(&self, name: &Name) -> impl Future<Output = Result<Option<Holder>>> + Send {
                (**self).inspect(name)
            }

            fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<Holder>>> + Send {
                (**self).list(prefix)
            }

            fn force_release(
                &self,
                name: &Name,
                breaking: Breaking,
                reason: &str,
            ) -> impl Future<Output = Result<Option<Holder>>> + Send {
                (**self).force_release(name, breaking, reason)
            }
        }
    )*};
}

forward!(&B, Arc<B>, Box<B>);
