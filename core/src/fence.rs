//! Fencing tokens.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The number of a grant: strictly larger than that of every earlier grant of the same name.
///
/// Hand it to the resource that the lock protects, and let the resource refuse a smaller one: that
/// is the only thing that makes a holder harmless that was paused beyond its lease and woke up.
/// Numbers are not dense; they start near the current time in microseconds and stay below 2^53
/// until the year 2255.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// Below every fence that is ever granted.
    pub const ZERO: Self = Self(0);

    /// Wraps a number that a store gave.
    #[inline]
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, to be stored or compared at the resource.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The fence of the next grant: above the stored one, above what the client saw, and not
    /// below the store's clock in microseconds since 1970.
    ///
    /// The clock is what keeps fences growing when the store lost its data; the stored number is
    /// what keeps them growing when the clock went back.
    #[must_use]
    pub fn next(stored: Self, floor: Self, wall_micros: u64) -> Self {
        Self(stored.0.max(floor.0).saturating_add(1).max(wall_micros))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence({})", self.0)
    }
}

impl FromStr for Fence {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_next_fence_is_above_all_that_is_known(stored: u32, floor: u32, wall: u32) {
            let next = Fence::next(Fence(stored.into()), Fence(floor.into()), wall.into());
            prop_assert!(next.0 > u64::from(stored) && next.0 > u64::from(floor) && next.0 >= u64::from(wall));
        }
    }
}
