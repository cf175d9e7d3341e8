//! All members of a set while they are held.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::grip::Grip;
use super::group::{HeldGroup, Way};
use crate::sync::Mutex;
use crate::{Cause, Error, Fence, Moment, Status};

/// The data of a held set; dropping it releases the members in reverse.
pub struct Together<W: Way, H: HeldGroup<W>> {
    members: Option<H>,
    /// The members in the order in which they were taken.
    taken: Vec<usize>,
    way: PhantomData<fn() -> W>,
}

impl<W: Way, H: HeldGroup<W>> Together<W, H> {
    pub(crate) fn new(members: H, taken: Vec<usize>) -> Self {
        Self { members: Some(members), taken, way: PhantomData }
    }

    pub(crate) fn members(&self) -> &H {
        self.members.as_ref().expect("the members are taken out only when the set ends")
    }

    pub(crate) fn into_members(mut self) -> H {
        self.members.take().expect("the members are taken out only when the set ends")
    }

    pub(crate) fn fences(&self) -> Vec<Fence> {
        self.members().view().into_iter().map(Grip::fence).collect()
    }

    /// The worst that is known of any.
    pub(crate) fn status(&self) -> Status {
        let mut worst = Status::Held;
        for member in self.members().view() {
            match member.status() {
                Status::Held => {}
                Status::Unknown => worst = Status::Unknown,
                lost @ Status::Lost(_) => return lost,
            }
        }
        worst
    }

    /// The name of one that has that status.
    pub(crate) fn worst(&self) -> &str {
        let (members, worst) = (self.members().view(), self.status());
        let found = members.iter().find(|member| member.status() == worst).or(members.first());
        found.map_or("", |member| member.name())
    }

    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.members().view().into_iter().filter_map(Grip::remaining).min()
    }

    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.members().view().into_iter().filter_map(Grip::deadline).min()
    }

    /// Calls back once, when the first of them is lost.
    pub(crate) fn on_lost(&self, callback: impl FnOnce(Error) + Send + 'static) {
        let once = Arc::new(Mutex::new(Some(callback)));
        for member in self.members().view() {
            let (once, named) = (once.clone(), member.error(Error::lost(Cause::Expired)));
            member.on_lost(Box::new(move |cause| {
                let callback = once.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(callback) = callback {
                    callback(Error::lost(cause).about(&named));
                }
            }));
        }
    }

    /// Waits until the first of them is lost.
    pub(crate) async fn lost(&self) -> Error {
        let mut open: Vec<_> =
            self.members().view().into_iter().map(|member| (member, member.lost())).collect();
        poll_fn(|cx| {
            let lost = open.iter_mut().find_map(|(member, lost)| match lost.as_mut().poll(cx) {
                Poll::Ready(cause) => Some(member.error(Error::lost(cause))),
                Poll::Pending => None,
            });
            lost.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The members as they are to be released one after another.
    pub(crate) fn unwind(mut self) -> Unwinding<W::Grip> {
        self.start_unwinding()
    }

    fn start_unwinding(&mut self) -> Unwinding<W::Grip> {
        let members = self.members.take().map(H::boxes).unwrap_or_default();
        let mut members: Vec<_> = members.into_iter().map(Some).collect();
        Unwinding(self.taken.iter().filter_map(|taken| members.get_mut(*taken)?.take()).collect())
    }
}

impl<W: Way, H: HeldGroup<W>> Drop for Together<W, H> {
    fn drop(&mut self) {
        drop(self.start_unwinding());
    }
}

impl<W: Way, H: HeldGroup<W>> fmt::Debug for Together<W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// Members in the order in which they were taken, to be released from the last to the first; those
/// that are not by then are when this is dropped.
pub(crate) struct Unwinding<G: ?Sized>(Vec<Box<G>>);

impl<G: ?Sized> Iterator for Unwinding<G> {
    type Item = Box<G>;

    fn next(&mut self) -> Option<Box<G>> {
        self.0.pop()
    }
}

impl<G: ?Sized> Drop for Unwinding<G> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
