//! The seats of a set, and what becomes of them step by step; threads and tasks do what it says.

use super::order::arrange;
use super::seat::Seated;
use crate::policy::{Course, Jitter, Next, Then, Waits};
use crate::{Error, Kind, Moment, Result};

/// How long a caller waits for a set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// Until then.
    Until(Moment),
    /// As long as it takes.
    Endless,
}

/// A set that is being acquired. Dropping it lets go of what is held, in reverse.
pub(crate) struct Table<'s, S: Seated + ?Sized> {
    seats: Vec<&'s mut S>,
    course: Course,
    /// The seats that are taken, in that order.
    taken: Vec<usize>,
    /// Whether all is being let go of, and for what error if not in order to begin anew.
    leaving: Option<Option<Error>>,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask for this seat's lock once, and tell the [answer](Table::answered).
    Try(usize),
    /// Wait for this seat's lock until then or as long as it takes, and tell the answer.
    Wait(usize, Option<Moment>),
    /// Give this seat's lock its lifetime anew, and tell the answer.
    Renew(usize),
    /// Release this seat's lock as if it had never been held, whatever the answer.
    Leave(usize),
    /// It is over, and nothing is held.
    Failed(Error),
    /// All are held, taken in this order.
    Full(Vec<usize>),
}

impl<'s, S: Seated + ?Sized> Table<'s, S> {
    /// # Errors
    ///
    /// `Misconfigured` if there is no seat, or the same lock on two.
    pub(crate) fn new(seats: Vec<&'s mut S>, now: Moment, patience: Patience) -> Result<Self> {
        let order = arrange(seats.iter().map(|seat| (seat.site(), seat.claim())))?;
        let asks_first = seats.iter().any(|seat| seat.is_fixed());
        let waits = |until| Some(Waits { began: now, until, asks_first });
        let waits = match patience {
            Patience::None => None,
            Patience::Until(until) => waits(Some(until)),
            Patience::Endless => waits(None),
        };
        Ok(Self { seats, course: Course::new(order, waits), taken: Vec::new(), leaving: None })
    }

    pub(crate) fn seat(&mut self, seat: usize) -> &mut S {
        self.seats[seat]
    }

    pub(crate) fn step(&mut self, now: Moment) -> Step {
        if let Some(error) = &mut self.leaving {
            if let Some(last) = self.taken.pop() {
                return Step::Leave(last);
            }
            if let Some(error) = error.take() {
                return Step::Failed(error);
            }
            self.leaving = None;
        }
        match self.course.next(now, Jitter::random()) {
            Next::Try(seat) => Step::Try(seat),
            Next::Wait(seat, until) => {
                // What is held must not run out meanwhile.
                self.taken.iter().for_each(|taken| self.seats[*taken].prolong());
                Step::Wait(seat, until)
            }
            Next::Full => self.full(now),
        }
    }

    /// Takes in the answer to a question for a lock.
    pub(crate) fn answered(&mut self, now: Moment, seat: usize, answer: Result<()>) {
        match answer {
            Ok(()) => {
                self.taken.push(seat);
                self.course.granted();
            }
            Err(error) => {
                let own = self.is_own(seat, &error);
                let then = self.course.refused(now, error, own);
                self.follow(then);
            }
        }
    }

    /// Takes in the answer to a renewal.
    pub(crate) fn renewed(&mut self, now: Moment, answer: Result<()>) {
        match answer {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Lost => self.lost(now, error),
            Err(error) => self.follow(Then::Fail(error)),
        }
    }

    /// All seats are taken: gives back the lifetimes that ran meanwhile, and looks whether all are
    /// still held.
    fn full(&mut self, now: Moment) -> Step {
        if let Some(seat) = self.taken.iter().find(|taken| self.seats[**taken].is_prolonged()) {
            return Step::Renew(*seat);
        }
        match self.seats.iter().find_map(|seat| seat.loss()) {
            None => Step::Full(std::mem::take(&mut self.taken)),
            Some(error) => {
                self.lost(now, error);
                self.step(now)
            }
        }
    }

    fn lost(&mut self, now: Moment, error: Error) {
        let then = self.course.lost(now, error);
        self.follow(then);
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::GoOn => {}
            Then::LetGo => self.leaving = Some(None),
            Then::Fail(error) => self.leaving = Some(Some(error)),
        }
    }

    /// Whether what stands in the way of a lock looks like another member of this set, reached
    /// through another handle of the same store: the same key, and the same fence.
    fn is_own(&self, refused: usize, error: &Error) -> bool {
        let key = self.seats[refused].claim().key();
        let same = |taken: &usize| {
            let taken = &self.seats[*taken];
            taken.claim().key() == key && taken.fence() == error.holder()
        };
        error.holder().is_some() && self.taken.iter().any(same)
    }
}

impl<S: Seated + ?Sized> Drop for Table<'_, S> {
    /// Backwards, and quietly: who drops it was interrupted.
    fn drop(&mut self) {
        while let Some(last) = self.taken.pop() {
            self.seats[last].vacate();
        }
    }
}
