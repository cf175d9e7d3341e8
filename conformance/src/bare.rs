//! A grant without core's guard around it.
//!
//! Core does not send what it knows to be in vain, such as the renewal of a lease that has ended by
//! its own clock. But what was sent in time may arrive late: the network was slow, or the process was
//! stopped after it had asked. Cases that are about what the store does then go past core.

use std::time::Duration;

use tenure_core::aio::AsyncBackend;
use tenure_core::{AnyBackend, Backend, Claim, Held, Lock, Owner, Renewal, Result, aio};

use crate::driver::{Awaited, Store};
use crate::subject::Subject;

/// A grant whose requests all reach the store.
pub(crate) enum Bare {
    Blocking { store: AnyBackend, claim: Claim, held: Lock<AnyBackend, Held> },
    Polled { store: Awaited, claim: Claim, held: aio::Lock<aio::AnyBackend, Held> },
}

impl Bare {
    /// Takes a free lock with a fixed lifetime.
    pub(crate) fn acquire(subject: &Subject, name: &str, ttl: Duration) -> Result<Self> {
        Ok(match subject.store() {
            Store::Blocking(store) => {
                let lock = Lock::new(store, name).ttl(ttl);
                let held = lock.try_acquire()?;
                Self::Blocking { claim: lock.claim_as(held.owner())?, held, store: store.clone() }
            }
            Store::Polled(store) => {
                let lock = aio::Lock::new(store.store(), name).ttl(ttl);
                let held = store.run(lock.try_acquire())?;
                Self::Polled { claim: lock.claim_as(held.owner())?, held, store: store.clone() }
            }
        })
    }

    /// Renews it, whatever its holder believes.
    pub(crate) fn renew(&self, ttl: Duration) -> Result<()> {
        match self {
            Self::Blocking { store, claim, held } => store.renew(Renewal::new(claim, held.grant(), ttl)),
            Self::Polled { store, claim, held } => {
                store.run(store.store().renew(Renewal::new(claim, held.grant(), ttl)))
            }
        }
    }

    /// Asks the store only whether the grant stands.
    pub(crate) fn verify(&self) -> Result<()> {
        self.renew(Duration::MAX)
    }
}

/// Gives up a claim on a name that the store never granted, as after a lost answer.
pub(crate) fn abandon_a_stranger(subject: &Subject, name: &str) -> Result<()> {
    match subject.store() {
        Store::Blocking(store) => store.abandon(&Lock::new(store, name).claim_as(Owner::random())?),
        Store::Polled(store) => {
            let claim = aio::Lock::new(store.store(), name).claim_as(Owner::random())?;
            store.run(store.store().abandon(&claim));
        }
    }
    Ok(())
}
