//! One member of a set that is being acquired.

use super::grip::{Grip, Holding};
use super::group::{Member, Way};
use crate::{Claim, Error, Fence, Owner, Result, Site, Status, Term, Ttl};

/// A member, and what is held of it.
#[expect(missing_debug_implementations, reason = "public only inside a sealed trait")]
pub struct Seat<W: Way, L: Member<W>> {
    pub(super) lock: L,
    /// As the lock's own claims are; never sent.
    claim: Claim,
    held: Option<L::Held>,
    /// Whether a fixed lifetime is renewed while others are waited for.
    prolonged: bool,
}

impl<W: Way, L: Member<W>> Seat<W, L> {
    pub(super) fn new(lock: &L) -> Result<Self> {
        let claim = lock.claim()?;
        Ok(Self { lock: lock.clone(), claim, held: None, prolonged: false })
    }

    /// Takes in what the lock answered.
    pub(super) fn sit(&mut self, answer: Result<L::Held>) -> Result<()> {
        self.held = Some(answer?);
        Ok(())
    }

    /// What is held, to be given its lifetime anew.
    pub(super) fn end_prolonging(&mut self) -> Option<(&L::Held, Ttl)> {
        self.prolonged = false;
        self.held.as_ref().zip(self.fixed())
    }

    /// What is held, to be released as if it had never been.
    pub(super) fn leave(&mut self) -> Option<L::Held> {
        let mut held = self.held.take()?;
        self.prolonged = false;
        held.disuse();
        Some(held)
    }

    pub(super) fn into_held(self) -> Option<L::Held> {
        self.held
    }

    fn fixed(&self) -> Option<Ttl> {
        match self.claim.term() {
            Term::Fixed(ttl) => Some(ttl),
            _ => None,
        }
    }
}

/// A seat without the type of its lock, and what is done there without waiting.
pub trait Seated: Send {
    fn site(&self) -> &Site;

    fn claim(&self) -> &Claim;

    /// Whether its lock's lifetime is fixed.
    fn is_fixed(&self) -> bool;

    /// The token and the fence of what is held.
    fn grant(&self) -> Option<(Owner, Fence)>;

    /// The loss of what is held, if it is lost.
    fn loss(&self) -> Option<Error>;

    /// Keeps what is held alive although its lifetime is fixed.
    fn prolong(&mut self);

    /// Whether what is held is kept alive although its lifetime is fixed.
    fn is_prolonged(&self) -> bool;

    /// Drops what is held, as if it had never been.
    fn vacate(&mut self);
}

impl<W: Way, L: Member<W>> Seated for Seat<W, L> {
    fn site(&self) -> &Site {
        self.lock.site()
    }

    fn claim(&self) -> &Claim {
        &self.claim
    }

    fn is_fixed(&self) -> bool {
        self.fixed().is_some()
    }

    fn grant(&self) -> Option<(Owner, Fence)> {
        let held = self.held.as_ref()?.erase();
        Some((held.owner(), held.fence()))
    }

    fn loss(&self) -> Option<Error> {
        let held = self.held.as_ref()?.erase();
        match held.status() {
            Status::Lost(cause) => Some(held.error(Error::lost(cause))),
            _ => None,
        }
    }

    fn prolong(&mut self) {
        if let Some(held) = self.held.as_ref().filter(|_| self.is_fixed()) {
            held.erase().keep_alive();
            self.prolonged = true;
        }
    }

    fn is_prolonged(&self) -> bool {
        self.prolonged
    }

    fn vacate(&mut self) {
        drop(self.leave());
    }
}
