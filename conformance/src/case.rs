//! One case of the list, and what it needs.

use std::fmt;

use crate::ctx::Ctx;
use crate::failure::Outcome;
use crate::mutants::Fault;

/// One case: a claim about every store, and the code that puts it to the test.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    pub(crate) run: fn(&Ctx) -> Outcome,
    needs: &'static [Need],
    rows: &'static [u8],
    defects: &'static [u8],
    broken_by: &'static [Fault],
}

/// What a case needs of a store beyond [`Backend`](tenure_core::Backend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// Other processes reach the same locks.
    Processes,
    /// [`Inspect`](tenure_core::Inspect).
    Inspect,
    /// [`Restore`](tenure_core::Restore).
    Restore,
    /// [`SessionLocks`](tenure_core::SessionLocks).
    Sessions,
    /// [`SharedLocks`](tenure_core::SharedLocks).
    Sharing,
    /// [`Permits`](tenure_core::Permits).
    Permits,
    /// The store is one for asynchronous code; see [`Suite::open_async`](crate::Suite::open_async).
    Polled,
    /// The suite knows how to make the store unreachable; see [`Suite::outage`](crate::Suite::outage).
    Outage,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        run: fn(&Ctx) -> Outcome,
        broken_by: &'static [Fault],
        claims: Claims,
    ) -> Self {
        let Claims { needs, rows, defects } = claims;
        Self { name, run, needs, rows, defects, broken_by }
    }

    /// The name, which is what it claims.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it needs of the store; where that is missing it is ignored.
    #[must_use]
    pub fn needs(&self) -> &'static [Need] {
        self.needs
    }

    /// The numbers of the [behaviours](crate::claims::ROWS) that it covers.
    #[must_use]
    pub fn rows(&self) -> &'static [u8] {
        self.rows
    }

    /// The numbers of the [defects](crate::claims::DEFECTS) that it would find.
    #[must_use]
    pub fn defects(&self) -> &'static [u8] {
        self.defects
    }

    /// Mistakes in a store that make it fail; those that it is tested with, not all there are.
    #[must_use]
    pub fn broken_by(&self) -> &'static [Fault] {
        self.broken_by
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processes => "a store that other processes reach",
            Self::Inspect => "a store that implements `Inspect`",
            Self::Restore => "a store that implements `Restore`",
            Self::Sessions => "a store that implements `SessionLocks`",
            Self::Sharing => "a store that implements `SharedLocks`",
            Self::Permits => "a store that implements `Permits`",
            Self::Polled => "a store for asynchronous code",
            Self::Outage => "a way to make the store unreachable; see `Suite::outage`",
        })
    }
}

/// What a case covers and needs, as the tables in `cases/` write it.
#[derive(Clone, Copy)]
pub(crate) struct Claims {
    pub(crate) needs: &'static [Need],
    pub(crate) rows: &'static [u8],
    pub(crate) defects: &'static [u8],
}

/// The table of a theme: the function, its claims, and after `breaks` the mistakes that it is tested
/// with: on a store with one of these it fails.
macro_rules! cases {
    ($($run:ident $(rows $rows:tt)? $(defects $defects:tt)? $(needs $needs:tt)? breaks [$($fault:ident),+];)*) => {
        pub(super) const CASES: &[$crate::case::Case] = &[$(
            $crate::case::Case::new(stringify!($run), $run, &[$($crate::mutants::Fault::$fault),+], {
                #[allow(unused_imports, reason = "most cases need nothing")]
                use $crate::case::Need::*;
                #[allow(unused_mut, reason = "a case without claims beyond its name")]
                let mut claims = $crate::case::Claims { needs: &[], rows: &[], defects: &[] };
                $(claims.rows = &$rows;)?
                $(claims.defects = &$defects;)?
                $(claims.needs = &$needs;)?
                claims
            }),
        )*];
    };
}
pub(crate) use cases;
