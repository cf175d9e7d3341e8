//! Members whose calls are futures.

use std::panic::Location;
use std::time::Duration;

use super::grip::{Grip, Holding, Soon, grip};
use super::group::{Group, Member, Way, member};
use super::seat::{Seat, Seated};
use super::table::{Patience, Step, Table};
use super::together::Together;
use crate::aio::{AsyncHandle, Lock};
use crate::{Cause, Claim, Error, Fence, Held, Moment, Owner, Result, Rule, Site, Status, Unlocked};

/// Futures that are polled.
#[derive(Debug)]
pub enum Awaits {}

impl Way for Awaits {
    type Seat = dyn PolledSeat;
    type Grip = dyn PolledGrip;
}

/// A held lock of any type.
pub trait PolledGrip: Grip {
    fn renew(&self) -> Soon<'_, Result<()>>;

    fn release(self: Box<Self>) -> Soon<'static, Result<()>>;
}

/// A seat for a lock of any type.
pub trait PolledSeat: Seated {
    fn try_take(&mut self, place: &'static Location<'static>) -> Soon<'_, Result<()>>;

    fn take(&mut self, until: Option<Moment>, place: &'static Location<'static>) -> Soon<'_, Result<()>>;

    /// Whether another grant is one of this lock, reached through another handle of its store.
    fn compare(&mut self, owner: Owner, fence: Fence, place: &'static Location<'static>) -> Soon<'_, bool>;

    /// Gives what was prolonged its fixed lifetime, from now on.
    fn renew(&mut self) -> Soon<'_, Result<()>>;

    /// Releases what is held as if it had never been; goes on in the background if it is dropped.
    fn leave(&mut self) -> Soon<'_, ()>;
}

/// Takes all members or none. Dropped at any point, it leaves nothing behind.
pub(crate) async fn take_all<M: Group<Awaits>>(
    members: &M,
    patience: Patience,
    place: &'static Location<'static>,
) -> Result<Together<Awaits, M::Held>> {
    let mut seats = members.seats()?;
    let table = Table::new(M::view(&mut seats), patience)?;
    let taken = sit(table, place).await?;
    let held = M::held(seats).expect("the table is full");
    Ok(Together::new(held, taken))
}

async fn sit(mut table: Table<'_, dyn PolledSeat>, place: &'static Location<'static>) -> Result<Vec<usize>> {
    loop {
        match table.step() {
            Step::Try(seat) => {
                let answer = table.seat(seat).try_take(place).await;
                table.answered(seat, answer);
            }
            Step::Wait(seat, until) => {
                let answer = table.seat(seat).take(until, place).await;
                table.answered(seat, answer);
            }
            Step::Compare(seat, owner, fence) => {
                let same = table.seat(seat).compare(owner, fence, place).await;
                table.compared(same);
            }
            Step::Renew(seat) => {
                let answer = table.seat(seat).renew().await;
                table.renewed(answer);
            }
            Step::Leave(seat) => table.seat(seat).leave().await,
            Step::Failed(error) => return Err(error),
            Step::Full(taken) => return Ok(taken),
        }
    }
}

member!(Lock, AsyncHandle, Awaits);

impl<B: AsyncHandle, R: Rule> PolledSeat for Seat<Awaits, Lock<B, Unlocked<R>>> {
    fn try_take(&mut self, place: &'static Location<'static>) -> Soon<'_, Result<()>> {
        Box::pin(async move {
            let answer = self.lock.try_as(Owner::random(), place).await;
            self.sit(answer)
        })
    }

    fn take(&mut self, until: Option<Moment>, place: &'static Location<'static>) -> Soon<'_, Result<()>> {
        Box::pin(async move {
            let answer = self.lock.wait(until, place).await;
            self.sit(answer)
        })
    }

    fn compare(&mut self, owner: Owner, fence: Fence, place: &'static Location<'static>) -> Soon<'_, bool> {
        Box::pin(async move {
            let Ok(mut held) = self.lock.try_as(owner, place).await else { return false };
            let same = held.fence() == fence;
            held.disuse();
            drop(held.release().await);
            same
        })
    }

    fn renew(&mut self) -> Soon<'_, Result<()>> {
        Box::pin(async {
            match self.end_prolonging() {
                Some((held, ttl)) => held.renew_for(ttl.get()).await,
                None => Ok(()),
            }
        })
    }

    fn leave(&mut self) -> Soon<'_, ()> {
        let held = self.leave();
        Box::pin(async {
            if let Some(held) = held {
                drop(held.release().await);
            }
        })
    }
}

grip!(Lock, AsyncHandle, Awaits);

impl<B: AsyncHandle, R: Rule> PolledGrip for Lock<B, Held<R>> {
    fn renew(&self) -> Soon<'_, Result<()>> {
        Box::pin(self.renew())
    }

    fn release(self: Box<Self>) -> Soon<'static, Result<()>> {
        Box::pin((*self).release())
    }
}
