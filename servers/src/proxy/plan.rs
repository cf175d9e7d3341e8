//! What is to happen to which request.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It never arrives, nor does anything behind it.
    DropRequest,
    /// It is carried out; the answer never arrives, nor does anything behind it.
    DropReply,
    /// It arrives so much later, whether the client still waits or not.
    DelayRequest(Duration),
    /// Its answer does.
    DelayReply(Duration),
    /// It arrives twice, one right behind the other.
    Duplicate,
    /// It arrives, and once more so much later, on a connection of its own.
    DuplicateLater(Duration),
    /// The connection is reset before it arrives.
    ResetBefore,
    /// It arrives, and the connection is reset before its answer does.
    ResetAfter,
}

/// What happens to the requests to come.
#[derive(Debug)]
#[non_exhaustive]
pub enum Plan {
    /// Nothing.
    Calm,
    /// This to the next ones, and then nothing.
    Next(VecDeque<Trouble>),
    /// Something to some of them.
    Chance(Box<Chance>),
}

/// Draws of the same order for the same seed.
#[derive(Debug)]
pub struct Chance {
    draws: StdRng,
    share: f64,
    troubles: Vec<Trouble>,
}

impl Plan {
    /// These troubles to the next requests, in order.
    #[must_use]
    pub fn next(troubles: &[Trouble]) -> Self {
        Self::Next(troubles.iter().copied().collect())
    }

    /// One of these troubles to a share of the requests, 0 to 1, as the seed has it.
    #[must_use]
    pub fn chance(seed: u64, share: f64, troubles: &[Trouble]) -> Self {
        let draws = StdRng::seed_from_u64(seed);
        let (share, troubles) = (share.clamp(0.0, 1.0), troubles.to_vec());
        Self::Chance(Box::new(Chance { draws, share, troubles }))
    }

    pub(super) fn draw(&mut self) -> Option<Trouble> {
        match self {
            Self::Calm => None,
            Self::Next(troubles) => troubles.pop_front(),
            Self::Chance(chance) => {
                let Chance { draws, share, troubles } = &mut **chance;
                // Both are drawn each time, so that the n-th draw does not depend on those before.
                let (hit, which) = (draws.random_bool(*share), draws.random::<u32>() as usize);
                troubles.get(which % troubles.len().max(1)).copied().filter(|_| hit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draws = |seed| -> Vec<Option<Trouble>> {
            let mut plan = Plan::chance(seed, 0.5, &[Trouble::DropRequest, Trouble::Duplicate]);
            (0..64).map(|_| plan.draw()).collect()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        for expected in [None, Some(Trouble::DropRequest), Some(Trouble::Duplicate)] {
            assert!(draws(1).contains(&expected), "{expected:?}");
        }
    }
}
