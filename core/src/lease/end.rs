//! How a lease ends: released, given up, forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::{CAUSES, ENDED, LOST, Lease};
use crate::observe::{Event, HeldFor};
use crate::port::Port;
use crate::site::HeldHere;
use crate::sync::atomic::Ordering;
use crate::{Cause, Error, Moment, Result};

/// How a lease ends.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// Why it had ended before.
    pub(super) lost: Option<Cause>,
    /// For how long the name is to stay taken.
    pub(super) keep: Option<Duration>,
    pub(super) held: HeldFor,
}

impl<P: Port> Lease<P> {
    /// Ends belief, and says what the store is to be told. What is lost is not released, but a force
    /// release is acknowledged.
    pub(super) fn begin_end(self: &Arc<Self>) -> Result<End> {
        if self.is_foreign() {
            let refused = "acquired before a fork; only the process that acquired it can release it";
            return Err(self.error(Error::misconfigured(refused)));
        }
        let (lost, held) = match self.stop() {
            Ok(held) if self.is_over() => {
                // Nobody has noticed it before.
                self.tell(Event::Lost { fence: self.fence, held, cause: Cause::Expired });
                (Some(Cause::Expired), held)
            }
            Ok(held) => (None, held),
            Err(lost @ LOST..) => (Some(CAUSES[usize::from(lost - LOST)]), self.held()),
            Err(_) => (Some(Cause::Released), self.held()),
        };
        match lost {
            Some(Cause::Released) => Err(self.error(Error::lost(Cause::Released))),
            lost => Ok(End { lost, keep: self.keep(), held }),
        }
    }

    /// Ends belief of a process that was told to stop, and says what the store is to be told; nothing
    /// if it had ended by then.
    pub(super) fn begin_giving_up(&self) -> Option<End> {
        let end = End { lost: Some(Cause::Released), keep: self.keep(), held: self.held() };
        self.lose(Cause::Released).then_some(end)
    }

    /// What the store's answer to a release means for the holder.
    pub(super) fn finish_end(self: &Arc<Self>, end: End, answer: Result<()>) -> Result<()> {
        let answer = self.answered(&end, answer);
        self.site().released(self.claim.key());
        match (end.lost, answer) {
            (Some(cause), _) => Err(self.error(Error::lost(cause))),
            (None, Err(error)) if error.is_unavailable() => {
                P::release_later(self.clone(), end);
                Err(self.error(error))
            }
            (None, answer) => answer.map_err(|error| self.error(error)),
        }
    }

    /// Tells what the store said to a release.
    pub(super) fn answered(&self, end: &End, answer: Result<()>) -> Result<()> {
        let (fence, held) = (self.fence, end.held);
        self.tell(Event::Release { fence, held, answer: &answer });
        if let (None, Err(error)) = (end.lost, &answer)
            && let Some(cause) = error.cause()
        {
            self.tell(Event::Lost { fence, held, cause });
        }
        answer
    }

    /// Says that nothing was done under it: its name need not stay taken for `hold_at_least`.
    pub(crate) fn disuse(&self) {
        self.unused.store(true, Ordering::SeqCst);
    }

    /// Lets go of it without telling the store, which keeps it until its lease ends.
    pub(crate) fn forget(&self) {
        if let Ok(held) = self.stop() {
            self.tell(Event::Left { fence: self.fence, held });
        }
    }

    /// Ends belief, watch and listing. What had ended before tells in which phase it is.
    fn stop(&self) -> Result<HeldFor, u8> {
        let before = self
            .phase
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |phase| (phase < ENDED).then_some(ENDED));
        self.unlist();
        before.map(|_| self.over())
    }

    /// What is left of the time for which the name is to stay taken.
    fn keep(&self) -> Option<Duration> {
        let least = self.claim.target().hold_at_least.filter(|_| !self.unused.load(Ordering::SeqCst))?;
        let left = least.saturating_sub(self.now().since(self.granted_at?));
        (!left.is_zero()).then_some(left)
    }

    /// Until when it is worth trying to release what could not be released.
    pub(super) fn worth_releasing_until(&self) -> Moment {
        Moment::from_nanos(self.stored_until.load(Ordering::SeqCst)).min(self.now() + LATER)
    }
}

/// How long a release that failed is tried again, at most; after that the lease frees the lock.
const LATER: Duration = Duration::from_secs(30);

/// The pause before such a try, and the next one.
pub(super) const LATER_PAUSE: Duration = Duration::from_millis(50);

pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(Duration::from_millis(500))
}
