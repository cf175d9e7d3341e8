//! A grant without core's guard around it.
//!
//! Core does not send what it knows to be in vain, such as the renewal of a lease that has ended by
//! its own clock. But what was sent in time may arrive late: the network was slow, or the process was
//! stopped after it had asked. Cases that are about what the store does then go past core.

use std::time::Duration;

use tenure_core::{AnyBackend, Backend, Claim, Held, Lock, Renewal, Result};

use crate::subject::Subject;

/// A grant whose requests all reach the store.
#[derive(Debug)]
pub(crate) struct Bare {
    store: AnyBackend,
    claim: Claim,
    held: Lock<AnyBackend, Held>,
}

impl Bare {
    /// Takes a free lock with a fixed lifetime.
    pub(crate) fn acquire(subject: &Subject, name: &str, ttl: Duration) -> Result<Self> {
        let store = subject.store().clone();
        let lock = Lock::new(&store, name).ttl(ttl);
        let held = lock.try_acquire()?;
        let claim = lock.claim_as(held.owner())?;
        Ok(Self { store, claim, held })
    }

    /// Renews it, whatever its holder believes.
    pub(crate) fn renew(&self, ttl: Duration) -> Result<()> {
        self.store.renew(Renewal::new(&self.claim, self.held.grant(), ttl))
    }

    /// Asks the store only whether the grant stands.
    pub(crate) fn verify(&self) -> Result<()> {
        self.renew(Duration::MAX)
    }
}

/// Gives up a claim on a name that the store never granted, as after a lost answer.
pub(crate) fn abandon_a_stranger(subject: &Subject, name: &str) -> Result<()> {
    let claim = Lock::new(subject.store(), name).claim_as(tenure_core::Owner::random())?;
    subject.store().abandon(&claim);
    Ok(())
}
