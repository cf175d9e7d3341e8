//! The seats of a set, and what becomes of them step by step; threads and tasks do what it says.

use super::order::arrange;
use super::seat::Seated;
use crate::policy::{Course, Jitter, Next, Then, Waits};
use crate::{Error, Fence, Moment, Owner, Result};

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

/// A set that is being acquired, in the time that the first of its stores lives in. Dropping it lets
/// go of what is held, in reverse.
pub(crate) struct Table<'s, S: Seated + ?Sized> {
    seats: Vec<&'s mut S>,
    course: Course,
    /// The seats that are taken, in that order.
    taken: Vec<usize>,
    /// Whether all is being let go of, and for what error if not in order to begin anew.
    leaving: Option<Option<Error>>,
    /// A refusal that looks as if the set stood in its own way.
    doubt: Option<Doubt>,
}

struct Doubt {
    seat: usize,
    refusal: Error,
    owner: Owner,
    fence: Fence,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask for this seat's lock once, and tell the [answer](Table::answered).
    Try(usize),
    /// Wait for this seat's lock until then or as long as it takes, and tell the answer.
    Wait(usize, Option<Moment>),
    /// Ask for this seat's lock with the token of another seat's grant, let go of what was granted,
    /// and [tell](Table::compared) whether it was the grant with that fence.
    Compare(usize, Owner, Fence),
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
    pub(crate) fn new(seats: Vec<&'s mut S>, patience: Patience) -> Result<Self> {
        let order = arrange(seats.iter().map(|seat| (seat.site(), seat.claim())))?;
        let asks_first = seats.iter().any(|seat| seat.is_fixed());
        let waits = |until| seats.first().map(|seat| Waits { began: seat.site().now(), until, asks_first });
        let waits = match patience {
            Patience::None => None,
            Patience::Until(until) => waits(Some(until)),
            Patience::Endless => waits(None),
        };
        Ok(Self { seats, course: Course::new(order, waits), taken: Vec::new(), leaving: None, doubt: None })
    }

    pub(crate) fn seat(&mut self, seat: usize) -> &mut S {
        self.seats[seat]
    }

    pub(crate) fn step(&mut self) -> Step {
        if let Some(error) = &mut self.leaving {
            if let Some(last) = self.taken.pop() {
                return Step::Leave(last);
            }
            if let Some(error) = error.take() {
                return Step::Failed(error);
            }
            self.leaving = None;
        }
        if let Some(Doubt { seat, owner, fence, .. }) = self.doubt {
            return Step::Compare(seat, owner, fence);
        }
        let now = self.now();
        match self.course.next(now, Jitter::random()) {
            Next::Try(seat) => Step::Try(seat),
            Next::Wait(seat, until) => {
                // What is held must not run out meanwhile.
                self.taken.iter().for_each(|taken| self.seats[*taken].prolong());
                // A store of another time has another clock.
                let site = self.seats[seat].site();
                Step::Wait(seat, until.map(|until| site.now() + until.since(now)))
            }
            Next::Full => self.full(),
        }
    }

    /// Takes in the answer to a question for a lock.
    pub(crate) fn answered(&mut self, seat: usize, answer: Result<()>) {
        match answer {
            Ok(()) => {
                self.taken.push(seat);
                self.course.granted();
            }
            Err(refusal) => match self.doubt(seat, &refusal) {
                Some((owner, fence)) => self.doubt = Some(Doubt { seat, refusal, owner, fence }),
                None => self.refused(refusal),
            },
        }
    }

    /// Takes in whether a refused lock is the same as one that is held.
    ///
    /// A store answers a token that has the lock already with the grant that it has. And a new grant
    /// would have a larger fence than the one that was in the way. So there is no mistake.
    pub(crate) fn compared(&mut self, same: bool) {
        match self.doubt.take() {
            Some(Doubt { refusal, .. }) if same => {
                let twice = "the set has this lock twice, through two handles of one store, and would wait for \
                             itself; open the store once, and name each lock once";
                self.follow(Then::Fail(Error::misconfigured(twice).about(&refusal)));
            }
            Some(Doubt { refusal, .. }) => self.refused(refusal),
            None => {}
        }
    }

    /// Takes in the answer to a renewal.
    pub(crate) fn renewed(&mut self, answer: Result<()>) {
        match answer {
            Ok(()) => {}
            Err(error) if error.is_lost() => self.lost(error),
            Err(error) => self.follow(Then::Fail(error)),
        }
    }

    /// All seats are taken: gives back the lifetimes that ran meanwhile, and looks whether all are
    /// still held.
    fn full(&mut self) -> Step {
        if let Some(seat) = self.taken.iter().find(|taken| self.seats[**taken].is_prolonged()) {
            return Step::Renew(*seat);
        }
        match self.seats.iter().find_map(|seat| seat.loss()) {
            None => Step::Full(std::mem::take(&mut self.taken)),
            Some(error) => {
                self.lost(error);
                self.step()
            }
        }
    }

    fn lost(&mut self, error: Error) {
        let then = self.course.lost(self.now(), error);
        self.follow(then);
    }

    fn now(&self) -> Moment {
        self.seats.first().map_or_else(Moment::now, |seat| seat.site().now())
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::GoOn => {}
            Then::LetGo => self.leaving = Some(None),
            Then::Fail(error) => self.leaving = Some(Some(error)),
        }
    }

    fn refused(&mut self, refusal: Error) {
        let then = self.course.refused(self.now(), refusal);
        self.follow(then);
    }

    /// The grant of another seat that may be what stands in the way: it has the same key and the same
    /// fence.
    fn doubt(&self, refused: usize, refusal: &Error) -> Option<(Owner, Fence)> {
        let (key, holder) = (self.seats[refused].claim().key(), refusal.holder()?);
        let same_key =
            self.taken.iter().map(|taken| &self.seats[*taken]).filter(|seat| seat.claim().key() == key);
        same_key.filter_map(|seat| seat.grant()).find(|(_, fence)| *fence == holder)
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
