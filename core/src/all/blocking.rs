//! Members whose calls block.

use std::panic::Location;
use std::time::Duration;

use super::grip::{Grip, Holding, Soon, grip};
use super::group::{Group, Member, Way, member};
use super::seat::{Seat, Seated};
use super::table::{Patience, Step, Table};
use super::together::Together;
use crate::{
    Cause, Claim, Error, Fence, Handle, Held, Lock, Moment, Owner, Result, Rule, Site, Status, Unlocked,
};

/// Calls that block.
#[derive(Debug)]
pub enum Blocks {}

impl Way for Blocks {
    type Seat = dyn BlockingSeat;
    type Grip = dyn BlockingGrip;
}

/// A held lock of any type.
pub trait BlockingGrip: Grip {
    fn renew(&self) -> Result<()>;

    fn release(self: Box<Self>) -> Result<()>;
}

/// A seat for a lock of any type.
pub trait BlockingSeat: Seated {
    fn try_take(&mut self, place: &'static Location<'static>) -> Result<()>;

    fn take(&mut self, until: Option<Moment>, place: &'static Location<'static>) -> Result<()>;

    /// Whether another grant is one of this lock, reached through another handle of its store.
    fn compare(&mut self, owner: Owner, fence: Fence, place: &'static Location<'static>) -> bool;

    /// Gives what was prolonged its fixed lifetime, from now on.
    fn renew(&mut self) -> Result<()>;
}

/// Takes all members or none.
pub(super) fn take_all<M: Group<Blocks>>(
    members: &M,
    patience: Patience,
    place: &'static Location<'static>,
) -> Result<Together<Blocks, M::Held>> {
    let mut seats = members.seats()?;
    let taken = sit(Table::new(M::view(&mut seats), patience)?, place)?;
    let held = M::held(seats).expect("the table is full");
    Ok(Together::new(held, taken))
}

fn sit(mut table: Table<'_, dyn BlockingSeat>, place: &'static Location<'static>) -> Result<Vec<usize>> {
    loop {
        match table.step() {
            Step::Try(seat) => {
                let answer = table.seat(seat).try_take(place);
                table.answered(seat, answer);
            }
            Step::Wait(seat, until) => {
                let answer = table.seat(seat).take(until, place);
                table.answered(seat, answer);
            }
            Step::Compare(seat, owner, fence) => {
                let same = table.seat(seat).compare(owner, fence, place);
                table.compared(same);
            }
            Step::Renew(seat) => {
                let answer = table.seat(seat).renew();
                table.renewed(answer);
            }
            Step::Leave(seat) => table.seat(seat).vacate(),
            Step::Failed(error) => return Err(error),
            Step::Full(taken) => return Ok(taken),
        }
    }
}

member!(Lock, Handle, Blocks);

impl<B: Handle, R: Rule> BlockingSeat for Seat<Blocks, Lock<B, Unlocked<R>>> {
    fn try_take(&mut self, place: &'static Location<'static>) -> Result<()> {
        let answer = self.lock.try_as(Owner::random(), place);
        self.sit(answer)
    }

    fn take(&mut self, until: Option<Moment>, place: &'static Location<'static>) -> Result<()> {
        let answer = self.lock.wait(until, place);
        self.sit(answer)
    }

    fn compare(&mut self, owner: Owner, fence: Fence, place: &'static Location<'static>) -> bool {
        match self.lock.try_as(owner, place) {
            Ok(mut held) => {
                held.disuse();
                held.fence() == fence
            }
            Err(_) => false,
        }
    }

    fn renew(&mut self) -> Result<()> {
        self.end_prolonging().map_or(Ok(()), |(held, ttl)| held.renew_for(ttl.get()))
    }
}

grip!(Lock, Handle, Blocks);

impl<B: Handle, R: Rule> BlockingGrip for Lock<B, Held<R>> {
    fn renew(&self) -> Result<()> {
        self.renew()
    }

    fn release(self: Box<Self>) -> Result<()> {
        (*self).release()
    }
}
