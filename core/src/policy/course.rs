//! In which order several locks are taken, how long each is waited for, and when all are let go of.

use std::time::Duration;

use super::Jitter;
use crate::{Error, Kind, Moment};

/// The way to a set of locks, without I/O.
///
/// A round takes the members in their order, and waits for one while it holds those before it. Where
/// all agree on the order nobody can wait in a circle. Lest those who do not wait for ever, such a
/// wait is bounded: then all are let go of, and the next round steps aside. It begins with the member
/// that was not free, waited for with nothing in hand, and takes the others only if they are free. After
/// some such rounds in vain there is a more patient one in order.
#[derive(Debug)]
pub(crate) struct Course {
    order: Vec<usize>,
    waits: Option<Waits>,
    /// The members of this round; the first in it that is not taken.
    round: Vec<usize>,
    place: usize,
    /// How many rounds in a row began with a member that was not free, out of order.
    asides: u32,
    /// Whether the member was asked for once, without waiting.
    asked: bool,
    /// How many rounds in order there were before this one.
    rounds: u32,
    losses: u32,
}

/// How long the caller waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) began: Moment,
    /// `None` for as long as it takes.
    pub(crate) until: Option<Moment>,
    /// Asks for a member once before it waits for it, so that what has to be done before a wait is
    /// not done in vain.
    pub(crate) asks_first: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask for this member once.
    Try(usize),
    /// Wait for this member until then, or as long as it takes.
    Wait(usize, Option<Moment>),
    /// Nothing: all are taken.
    Full,
}

/// What follows from a refusal or a loss.
#[derive(Debug)]
pub(crate) enum Then {
    /// Go on.
    GoOn,
    /// Let go of all, and go on.
    LetGo,
    /// Let go of all, and give up.
    Fail(Error),
}

impl Course {
    /// How long a member is waited for in the first round while others are held, at least; up to
    /// twice as long by chance, so that of those who wait in a circle one gives way first.
    const PATIENCE: Duration = Duration::from_millis(250);

    /// Patience doubles with every round in order, so that members that are always busy are had in the
    /// end; up to this many times.
    const DOUBLINGS: u32 = 7;

    /// How many rounds in a row step aside. Who does holds nothing while he waits, so that those who
    /// meet in a circle get out of it the sooner the more of them do.
    const ASIDES: u32 = 16;

    /// After so many losses before the set was complete, leases are shorter than it takes.
    const LOSSES: u32 = 3;

    /// The way to the members in their order; `waits` is `None` for a caller who does not.
    pub(crate) fn new(order: Vec<usize>, waits: Option<Waits>) -> Self {
        let round = order.clone();
        Self { order, waits, round, place: 0, asides: 0, asked: false, rounds: 0, losses: 0 }
    }

    pub(crate) fn next(&self, now: Moment, jitter: Jitter) -> Next {
        let Some(&member) = self.round.get(self.place) else { return Next::Full };
        let first = self.place == 0;
        match self.waits {
            None => Next::Try(member),
            Some(Waits { until, .. }) if first => Next::Wait(member, until),
            Some(_) if self.asides > 0 => Next::Try(member),
            Some(Waits { asks_first: true, .. }) if !self.asked => Next::Try(member),
            Some(Waits { until, .. }) => {
                let patience = Self::PATIENCE * 2_u32.pow(self.rounds.min(Self::DOUBLINGS));
                let patient = now + jitter.scale(patience, 1.0, 2.0);
                Next::Wait(member, Some(until.map_or(patient, |until| until.min(patient))))
            }
        }
    }

    /// The member is taken.
    pub(crate) fn granted(&mut self) {
        self.place += 1;
        self.asked = false;
    }

    /// The member is not.
    pub(crate) fn refused(&mut self, now: Moment, error: Error) -> Then {
        let is_busy = matches!(error.kind(), Kind::Contended | Kind::Quarantined | Kind::TimedOut);
        let Some(waits) = self.waits.filter(|_| is_busy) else { return Then::Fail(error) };
        if waits.until.is_some_and(|until| until <= now) {
            return Then::Fail(self.timed_out(now.since(waits.began), error));
        }
        if self.asides == 0 && !self.asked && waits.asks_first && self.place > 0 {
            self.asked = true;
            return Then::GoOn;
        }
        let busy = self.round.get(self.place).copied();
        self.begin(busy.filter(|_| self.asides < Self::ASIDES));
        Then::LetGo
    }

    /// All were taken, but one is lost by now.
    pub(crate) fn lost(&mut self, now: Moment, error: Error) -> Then {
        self.losses += 1;
        let over = |waits: Waits| waits.until.is_some_and(|until| until <= now);
        if self.losses == Self::LOSSES || self.waits.is_none_or(over) {
            return Then::Fail(error.with_note(LOST));
        }
        self.begin(None);
        Then::LetGo
    }

    /// Begins a round in order, or with a member that was not free.
    fn begin(&mut self, aside: Option<usize>) {
        let others = self.order.iter().copied().filter(|member| Some(*member) != aside);
        self.round = aside.into_iter().chain(others).collect();
        (self.place, self.asked) = (0, false);
        match aside {
            Some(_) => self.asides += 1,
            None => {
                self.rounds += u32::from(self.asides > 0);
                self.asides = 0;
            }
        }
    }

    fn timed_out(&self, waited: Duration, error: Error) -> Error {
        let message = format!(
            "not all {} locks of the set were free within {waited:.1?}, and this one was not at the end",
            self.order.len()
        );
        Error::new(Kind::TimedOut, message).about(&error).with_source(error)
    }
}

const LOST: &str = "that was before all members of the set were held; use a longer ttl or lease";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000_000);

    fn waiting(members: usize, limit: Option<Duration>) -> Course {
        let waits = Waits { began: NOW, until: limit.map(|limit| NOW + limit), asks_first: false };
        Course::new((0..members).collect(), Some(waits))
    }

    fn busy(kind: Kind) -> Error {
        Error::new(kind, "busy")
    }

    fn next(course: &Course) -> Next {
        course.next(NOW, Jitter::fixed(0.5))
    }

    #[test]
    fn who_does_not_wait_asks_in_order_and_fails_with_the_first_refusal() {
        let mut course = Course::new(vec![2, 0, 1], None);
        for member in [2, 0] {
            assert_eq!(next(&course), Next::Try(member));
            course.granted();
        }
        assert_eq!(next(&course), Next::Try(1));
        let then = course.refused(NOW, busy(Kind::Contended));
        assert!(matches!(then, Then::Fail(error) if error.is_contended()));
    }

    #[test]
    fn nothing_is_waited_for_without_bound_while_something_is_held() {
        let mut course = waiting(3, None);
        assert_eq!(next(&course), Next::Wait(0, None));
        course.granted();
        let Next::Wait(1, Some(until)) = next(&course) else { panic!("{:?}", next(&course)) };
        assert_eq!(until, NOW + Course::PATIENCE.mul_f64(1.5));
    }

    #[test]
    fn who_gives_way_waits_for_what_was_busy_with_nothing_in_hand_and_then_only_asks() {
        let mut course = waiting(3, None);
        course.granted();
        assert!(matches!(course.refused(NOW, busy(Kind::TimedOut)), Then::LetGo));
        assert_eq!(next(&course), Next::Wait(1, None));
        course.granted();
        assert_eq!(next(&course), Next::Try(0));
        course.granted();
        assert_eq!(next(&course), Next::Try(2));
        assert!(matches!(course.refused(NOW, busy(Kind::Contended)), Then::LetGo));
        assert_eq!(next(&course), Next::Wait(2, None));
        course.granted();
        assert_eq!(next(&course), Next::Try(0));
    }

    #[test]
    fn who_steps_aside_in_vain_is_more_patient_in_order() {
        let mut course = waiting(2, None);
        for doublings in 0..20 {
            assert_eq!(next(&course), Next::Wait(0, None));
            course.granted();
            let Next::Wait(1, Some(until)) = next(&course) else { panic!("{:?}", next(&course)) };
            assert_eq!(until, NOW + Course::PATIENCE.mul_f64(1.5) * (1 << doublings.min(Course::DOUBLINGS)));
            assert!(matches!(course.refused(NOW, busy(Kind::TimedOut)), Then::LetGo));
            for _ in 0..Course::ASIDES {
                assert!(matches!(next(&course), Next::Wait(_, None)));
                course.granted();
                assert!(matches!(next(&course), Next::Try(_)));
                assert!(matches!(course.refused(NOW, busy(Kind::Contended)), Then::LetGo));
            }
        }
    }

    #[test]
    fn a_wait_that_needs_preparation_is_preceded_by_a_question() {
        let waits = Waits { began: NOW, until: None, asks_first: true };
        let mut course = Course::new(vec![0, 1], Some(waits));
        assert_eq!(next(&course), Next::Wait(0, None));
        course.granted();
        assert_eq!(next(&course), Next::Try(1));
        assert!(matches!(course.refused(NOW, busy(Kind::Contended)), Then::GoOn));
        assert!(matches!(next(&course), Next::Wait(1, Some(_))));
    }

    #[test]
    fn the_callers_deadline_is_one_for_all_rounds() {
        let limit = Course::PATIENCE / 2;
        let mut course = waiting(2, Some(limit));
        course.granted();
        assert_eq!(next(&course), Next::Wait(1, Some(NOW + limit)));
        let Then::Fail(error) = course.refused(NOW + limit, busy(Kind::TimedOut).on("b")) else {
            panic!("it went on")
        };
        assert!(error.is_timed_out() && error.lock() == Some("b"), "{error}");
        assert!(error.to_string().contains("within 125.0ms"), "{error}");
    }

    #[test]
    fn what_is_not_contention_fails_at_once() {
        let mut course = waiting(2, None);
        course.granted();
        let then = course.refused(NOW, Error::unavailable("down"));
        assert!(matches!(then, Then::Fail(error) if error.is_unavailable()));
    }

    #[test]
    fn a_loss_before_the_set_is_complete_is_forgiven_twice() {
        let mut course = waiting(1, None);
        for _ in 0..2 {
            course.granted();
            assert_eq!(next(&course), Next::Full);
            assert!(matches!(course.lost(NOW, busy(Kind::Lost)), Then::LetGo));
        }
        course.granted();
        assert!(matches!(course.lost(NOW, busy(Kind::Lost)), Then::Fail(error) if error.is_lost()));
    }

    proptest! {
        #[test]
        fn whatever_is_refused_no_wait_is_unbounded_or_out_of_order_while_something_is_held(
            answers in proptest::collection::vec(0..3u8, 1..200),
            members in 1..6usize,
            fraction in 0.0..1.0f64,
            asks_first: bool,
        ) {
            let waits = Waits { began: NOW, until: None, asks_first };
            let mut course = Course::new((0..members).collect(), Some(waits));
            let mut held: Vec<usize> = Vec::new();
            for answer in answers {
                let (member, kind) = match course.next(NOW, Jitter::fixed(fraction)) {
                    Next::Full => break,
                    Next::Try(member) => (member, Kind::Contended),
                    Next::Wait(member, until) => {
                        prop_assert!(held.is_empty() || until.is_some());
                        prop_assert!(until.is_none_or(|until| until <= NOW + Duration::from_secs(64)));
                        prop_assert!(held.iter().all(|held| *held < member), "{held:?} then {member}");
                        (member, Kind::TimedOut)
                    }
                };
                prop_assert!(!held.contains(&member));
                if answer > 0 {
                    held.push(member);
                    course.granted();
                    continue;
                }
                match course.refused(NOW, busy(kind)) {
                    Then::GoOn => {}
                    Then::LetGo => held.clear(),
                    Then::Fail(error) => prop_assert!(false, "{error}"),
                }
            }
        }
    }
}
