//! A backend whose type is known only at run time.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::erase::any_backend;
use crate::{
    Advice, Attempt, Backend, Claim, Granted, Handle, Inspect, Permits, Release, Renewal, Restore, Result,
    SessionLocks, SharedLocks, Site, Watch,
};

any_backend! {
    /// Any store, for struct fields, for `tenure::connect` and for the process-wide
    /// default.
    ///
    /// It shares identity and waiting lines with the store that it was made of. What the store can do
    /// beyond the basic operations was recorded when it was made: [`inspect`](Self::inspect),
    /// [`restorable`](Self::restorable), [`sessions`](Self::sessions), [`shared`](Self::shared) and
    /// [`permits`](Self::permits) answer by `Option`, where the typed store answers at compile time.
    ///
    /// ```
    /// use tenure_core::{AnyBackend, Held, Lock};
    ///
    /// struct Job {
    ///     running: Option<Lock<AnyBackend, Held>>,
    /// }
    /// ```
    Handle, Inspect, Restore
}

impl AnyBackend {
    /// Looking at locks from outside, if the store can.
    #[must_use]
    pub fn inspect(&self) -> Option<&dyn Inspect> {
        self.inspect.as_deref()
    }
}

impl<B: Handle> Erase<B> {
    /// Records that it can be inspected.
    #[must_use]
    pub fn inspect(mut self) -> Self
    where
        B: Inspect,
    {
        self.erased.inspect = Some(Arc::new(self.store.clone()));
        self
    }
}

/// What an erased backend keeps of a grant.
pub struct AnyGrant(Box<dyn Any + Send + Sync>);

impl AnyGrant {
    /// Erases a grant; one that is erased already stays as it is.
    pub(crate) fn new<G: Send + Sync + 'static>(grant: G) -> Self {
        let mut grant = Some(grant);
        match (&mut grant as &mut dyn Any).downcast_mut::<Option<Self>>().and_then(Option::take) {
            Some(erased) => erased,
            None => Self(Box::new(grant.expect("it was not taken"))),
        }
    }

    /// The typed grant again, or itself if erased is what is asked for.
    pub(crate) fn take<G: Send + Sync + 'static>(self) -> Option<G> {
        let mut erased = Some(self);
        match (&mut erased as &mut dyn Any).downcast_mut::<Option<G>>() {
            Some(same) => same.take(),
            None => erased.and_then(|erased| erased.0.downcast().ok()).map(|grant| *grant),
        }
    }

    pub(crate) fn typed<G: 'static>(&self) -> &G {
        let same = (self as &dyn Any).downcast_ref();
        same.or_else(|| self.0.downcast_ref()).expect("a lock hands a grant back to the store that made it")
    }
}

impl fmt::Debug for AnyGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyGrant")
    }
}

/// [`Backend`] without its types.
trait Erased: Send + Sync {
    fn site(&self) -> &Site;
    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<AnyGrant>>;
    fn renew(&self, due: Renewal<'_, AnyGrant>) -> Result<()>;
    fn release(&self, end: Release<'_, AnyGrant>) -> Result<()>;
    fn abandon(&self, claim: &Claim);
    fn watch(&self, claim: &Claim) -> Result<Watch>;
    fn is_awaited(&self, claim: &Claim) -> bool;
    fn renew_many(&self, due: &[Renewal<'_, AnyGrant>]) -> Vec<Result<()>>;
    fn diagnose(&self) -> Vec<Advice>;
}

trait ErasedRestore: Send + Sync {
    fn restore_erased(&self, claim: &Claim) -> Result<Granted<AnyGrant>>;
}

/// A backend whose type is still known.
struct Typed<B>(B);

impl<B: Handle> Erased for Typed<B> {
    fn site(&self) -> &Site {
        self.0.site()
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<AnyGrant>> {
        Ok(match self.0.try_acquire(claim)? {
            Attempt::Granted(granted) => Attempt::Granted(granted.map(AnyGrant::new)),
            Attempt::Denied(denied) => Attempt::Denied(denied),
        })
    }

    fn renew(&self, due: Renewal<'_, AnyGrant>) -> Result<()> {
        self.0.renew(due.with_grant(due.grant().typed()))
    }

    fn release(&self, end: Release<'_, AnyGrant>) -> Result<()> {
        self.0.release(end.with_grant(end.grant().typed()))
    }

    fn abandon(&self, claim: &Claim) {
        self.0.abandon(claim);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        self.0.watch(claim)
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        self.0.is_awaited(claim)
    }

    fn renew_many(&self, due: &[Renewal<'_, AnyGrant>]) -> Vec<Result<()>> {
        let due: Vec<_> = due.iter().map(|due| due.with_grant(due.grant().typed())).collect();
        self.0.renew_many(&due)
    }

    fn diagnose(&self) -> Vec<Advice> {
        self.0.diagnose()
    }
}

impl<B: Handle + Restore> ErasedRestore for Typed<B> {
    fn restore_erased(&self, claim: &Claim) -> Result<Granted<AnyGrant>> {
        Ok(self.0.restore(claim)?.map(AnyGrant::new))
    }
}

impl Restore for AnyRestore {
    fn restore(&self, claim: &Claim) -> Result<Granted<AnyGrant>> {
        self.restore.restore_erased(claim)
    }
}

macro_rules! erased {
    ($($store:ident: $erased:ident $(. $field:ident)*;)*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl Backend for $store {
            type Grant = AnyGrant;
            type Handle = Self;

            fn handle(&self) -> Self {
                self.clone()
            }

            fn site(&$erased) -> &Site {
                $erased$(.$field)*.store.site()
            }

            fn try_acquire(&$erased, claim: &Claim) -> Result<Attempt<AnyGrant>> {
                $erased$(.$field)*.store.try_acquire(claim)
            }

            fn renew(&$erased, due: Renewal<'_, AnyGrant>) -> Result<()> {
                $erased$(.$field)*.store.renew(due)
            }

            fn release(&$erased, end: Release<'_, AnyGrant>) -> Result<()> {
                $erased$(.$field)*.store.release(end)
            }

            fn abandon(&$erased, claim: &Claim) {
                $erased$(.$field)*.store.abandon(claim);
            }

            fn watch(&$erased, claim: &Claim) -> Result<Watch> {
                $erased$(.$field)*.store.watch(claim)
            }

            fn is_awaited(&$erased, claim: &Claim) -> bool {
                $erased$(.$field)*.store.is_awaited(claim)
            }

            fn renew_many(&$erased, due: &[Renewal<'_, AnyGrant>]) -> Vec<Result<()>> {
                $erased$(.$field)*.store.renew_many(due)
            }

            fn diagnose(&$erased) -> Vec<Advice> {
                $erased$(.$field)*.store.diagnose()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erased_grant_never_nests() {
        let twice = AnyGrant::new(AnyGrant::new(7_u32));
        assert_eq!(twice.typed::<u32>(), &7);
        assert_eq!(twice.take::<AnyGrant>().and_then(AnyGrant::take::<u32>), Some(7));
        assert_eq!(AnyGrant::new(7_u32).take::<String>(), None);
    }
}
