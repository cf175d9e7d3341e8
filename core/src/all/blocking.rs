//! Members whose calls block.

use std::panic::Location;

use super::grip::{Grip, Holding};
use super::group::{Group, Member};
use super::seat::{Seat, Seated};
use super::table::{Patience, Step, Table};
use super::together::Together;
use crate::{Cause, Claim, Error, Fence, Handle, Held, Lock, Moment, Owner, Result, Rule, Site, Status, Unlocked};

/// A held lock of any type.
pub trait BlockingGrip: Grip {
    fn renew(&self) -> Result<()>;

    fn release(self: Box<Self>) -> Result<()>;
}

/// A seat for a lock of any type.
pub trait BlockingSeat: Seated {
    fn try_take(&mut self, place: &'static Location<'static>) -> Result<()>;

    fn take(&mut self, until: Option<Moment>, place: &'static Location<'static>) -> Result<()>;

    /// Gives what was prolonged its fixed lifetime, from now on.
    fn renew(&mut self) -> Result<()>;
}

/// Takes all members or none.
pub(super) fn take_all<M: Group<Seat = dyn BlockingSeat>>(
    members: &M,
    patience: Patience,
    place: &'static Location<'static>,
) -> Result<Together<M::Held>> {
    let mut seats = members.seats()?;
    let taken = sit(Table::new(M::view(&mut seats), Moment::now(), patience)?, place)?;
    let held = M::held(seats).expect("the table is full");
    Ok(Together::new(held, taken))
}

fn sit(mut table: Table<'_, dyn BlockingSeat>, place: &'static Location<'static>) -> Result<Vec<usize>> {
    loop {
        match table.step(Moment::now()) {
            Step::Try(seat) => {
                let answer = table.seat(seat).try_take(place);
                table.answered(Moment::now(), seat, answer);
            }
            Step::Wait(seat, until) => {
                let answer = table.seat(seat).take(until, place);
                table.answered(Moment::now(), seat, answer);
            }
            Step::Renew(seat) => {
                let answer = table.seat(seat).renew();
                table.renewed(Moment::now(), answer);
            }
            Step::Leave(seat) => table.seat(seat).vacate(),
            Step::Failed(error) => return Err(error),
            Step::Full(taken) => return Ok(taken),
        }
    }
}

impl<B: Handle, R: Rule> Member for Lock<B, Unlocked<R>> {
    type Held = Lock<B, Held<R>>;
    type Seat = dyn BlockingSeat;

    fn site(&self) -> &Site {
        self.store().site()
    }

    fn claim(&self) -> Result<Claim> {
        self.claim_as(Owner::random()).map_err(|error| error.on(self.name()))
    }

    fn erase(seat: &mut Seat<Self>) -> &mut Self::Seat {
        seat
    }
}

impl<B: Handle, R: Rule> BlockingSeat for Seat<Lock<B, Unlocked<R>>> {
    fn try_take(&mut self, place: &'static Location<'static>) -> Result<()> {
        let answer = self.lock.try_at(place);
        self.sit(answer)
    }

    fn take(&mut self, until: Option<Moment>, place: &'static Location<'static>) -> Result<()> {
        let answer = self.lock.wait(until, place);
        self.sit(answer)
    }

    fn renew(&mut self) -> Result<()> {
        self.end_prolonging().map_or(Ok(()), |(held, ttl)| held.renew_for(ttl.get()))
    }
}

impl<B: Handle, R: Rule> Holding for Lock<B, Held<R>> {
    type Grip = dyn BlockingGrip;

    fn erase(&self) -> &Self::Grip {
        self
    }

    fn erase_boxed(self) -> Box<Self::Grip> {
        Box::new(self)
    }

    fn disuse(&mut self) {
        self.data.disuse();
    }
}

impl<B: Handle, R: Rule> Grip for Lock<B, Held<R>> {
    fn fence(&self) -> Fence {
        self.fence()
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline()
    }

    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>) {
        self.on_lost(callback);
    }

    fn loss(&self, cause: Cause) -> Error {
        self.data.loss(cause)
    }

    fn keep_alive(&self) {
        self.keep_alive();
    }
}

impl<B: Handle, R: Rule> BlockingGrip for Lock<B, Held<R>> {
    fn renew(&self) -> Result<()> {
        self.renew()
    }

    fn release(self: Box<Self>) -> Result<()> {
        (*self).release()
    }
}
