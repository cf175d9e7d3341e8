//! When a command must be told to end, and when it must be killed, so that it never runs past the
//! lease: functions of what is known and the time, without a clock.

use std::time::Duration;

use tenure::{Cause, Moment};

/// How long before the end of its lease a command is told, and is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
    notice: Duration,
    margin: Duration,
}

impl Grace {
    /// Five seconds or a third of the lease, and half a second or a sixth of it.
    pub(crate) fn of(lease: Option<Duration>) -> Self {
        let lease = lease.unwrap_or(Duration::MAX);
        Self {
            notice: (lease / 3).min(Duration::from_secs(5)),
            margin: (lease / 6).min(Duration::from_millis(500)),
        }
    }
}

/// How far a command is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It holds the lock.
    Running,
    /// It was told to end, and is killed at that moment.
    Told(Moment),
    /// It was killed.
    Killed,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before that moment.
    Wait(Moment),
    /// Tell it to end; it is killed at that moment.
    Tell(Moment),
    /// Kill it.
    Kill,
}

impl Stage {
    /// What to do at `now` about a lock that is valid until `deadline` if it has a lease, and lost
    /// for that cause if it is. Once told, a command is on its way out, whatever the store says
    /// later.
    pub(crate) fn step(
        self,
        grace: Grace,
        deadline: Option<Moment>,
        lost: Option<Cause>,
        now: Moment,
    ) -> Step {
        let last = deadline.map_or(Moment::FAR, |deadline| deadline - grace.margin);
        match (self, lost) {
            (Self::Killed, _) => Step::Wait(Moment::FAR),
            // A name that was broken stays closed until its holder has let go.
            (Self::Running, Some(Cause::Forced)) => Step::Tell(last.min(now + grace.notice)),
            (Self::Told(kill_at), None | Some(Cause::Forced)) if now < kill_at => Step::Wait(kill_at),
            // Somebody else may hold it already.
            (_, Some(_)) | (Self::Told(_), None) => Step::Kill,
            (Self::Running, None) if now >= last => Step::Kill,
            (Self::Running, None) => match deadline.map(|deadline| deadline - grace.notice) {
                None => Step::Wait(Moment::FAR),
                Some(notice) if now >= notice => Step::Tell(last),
                Some(notice) => Step::Wait(notice),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn step(stage: Stage, lease: u64, lost: Option<Cause>, now: u64) -> Step {
        let grace = Grace::of(Some(Duration::from_millis(lease)));
        stage.step(grace, Some(at(100_000)), lost, at(now))
    }

    #[test]
    fn a_long_lease_gives_five_seconds_and_kills_half_a_second_before_its_end() {
        assert_eq!(step(Stage::Running, 30_000, None, 90_000), Step::Wait(at(95_000)));
        assert_eq!(step(Stage::Running, 30_000, None, 95_000), Step::Tell(at(99_500)));
        assert_eq!(step(Stage::Told(at(99_500)), 30_000, None, 99_499), Step::Wait(at(99_500)));
        assert_eq!(step(Stage::Told(at(99_500)), 30_000, None, 99_500), Step::Kill);
        assert_eq!(step(Stage::Running, 30_000, None, 99_500), Step::Kill);
    }

    #[test]
    fn a_short_lease_gives_a_third_and_a_sixth_of_itself() {
        assert_eq!(step(Stage::Running, 600, None, 99_799), Step::Wait(at(99_800)));
        assert_eq!(step(Stage::Running, 600, None, 99_800), Step::Tell(at(99_900)));
    }

    #[test]
    fn a_broken_lock_gives_the_grace_but_not_beyond_the_lease() {
        let forced = Some(Cause::Forced);
        assert_eq!(step(Stage::Running, 30_000, forced, 50_000), Step::Tell(at(55_000)));
        assert_eq!(step(Stage::Running, 30_000, forced, 97_000), Step::Tell(at(99_500)));
        assert_eq!(step(Stage::Told(at(55_000)), 30_000, forced, 51_000), Step::Wait(at(55_000)));
        let session = Stage::Running.step(Grace::of(None), None, forced, at(1));
        assert_eq!(session, Step::Tell(at(5_001)));
    }

    #[test]
    fn a_lock_that_somebody_else_may_hold_kills_at_once() {
        for cause in [Cause::Expired, Cause::Superseded] {
            assert_eq!(step(Stage::Running, 30_000, Some(cause), 1), Step::Kill);
            assert_eq!(step(Stage::Told(at(5)), 30_000, Some(cause), 1), Step::Kill);
        }
        assert_eq!(step(Stage::Killed, 30_000, Some(Cause::Expired), 1), Step::Wait(Moment::FAR));
    }

    #[test]
    fn a_session_is_left_alone() {
        assert_eq!(Stage::Running.step(Grace::of(None), None, None, at(1)), Step::Wait(Moment::FAR));
    }
}
