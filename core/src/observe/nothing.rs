//! What stands in for a feature that is off: types without content, functions that do nothing.

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
pub(super) mod acquiring {
    use crate::{Claim, Result, Site};

    pub(crate) struct Acquiring;

    impl Acquiring {
        #[inline(always)]
        pub(crate) fn begin(_: &Site, _: &Claim) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn run<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
            work()
        }
    }

    /// The work itself, so that no future grows.
    macro_rules! acquiring {
        ($site:expr, $claim:expr, { $($work:tt)* }) => {{ $($work)* }};
    }
    pub(crate) use acquiring;
}

#[cfg(not(any(feature = "tracing", feature = "metrics")))]
pub(super) mod tally {
    use crate::{Fence, Moment, Site};

    #[derive(Clone)]
    pub(crate) struct Tally;

    impl Tally {
        #[inline(always)]
        pub(crate) fn begin(_: &Site) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn asked(&self) {}

        #[inline(always)]
        pub(crate) fn granted(&self, _: Fence) {}

        #[inline(always)]
        pub(crate) fn is_first_denial(&self) -> bool {
            false
        }

        #[inline(always)]
        pub(crate) fn is_first_quarantine(&self) -> bool {
            false
        }
    }

    #[derive(Clone, Copy, Default)]
    pub(crate) struct HeldFor;

    impl HeldFor {
        #[inline(always)]
        pub(crate) fn since(_: Option<Moment>, _: impl FnOnce() -> Moment) -> Self {
            Self
        }
    }

    const _: () = assert!(size_of::<Tally>() == 0 && size_of::<HeldFor>() == 0);
}

#[cfg(not(feature = "tracing"))]
pub(super) mod spans {
    #[cfg(feature = "metrics")]
    pub(crate) use span::Span;

    use crate::observe::Event;
    use crate::{Breaking, Claim, Holder, Site};

    #[inline(always)]
    pub(crate) fn tell(_: &Site, _: &Claim, _: &Event<'_>) {}

    #[inline(always)]
    pub(crate) fn force_released(_: &Site, _: &Holder, _: Breaking, _: &str) {}

    #[cfg(feature = "metrics")]
    mod span {
        use crate::{Claim, Error, Fence, Site};

        #[derive(Clone)]
        pub(crate) struct Span;

        impl Span {
            pub(crate) fn acquire(_: &Site, _: &Claim) -> Self {
                Self
            }

            pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
                work()
            }

            pub(crate) fn instrument<F: Future>(self, future: F) -> F {
                future
            }

            pub(crate) fn granted(&self, _: Fence) {}

            pub(crate) fn refused(&self, _: &Error) {}

            pub(crate) fn abandoned(&self) {}
        }
    }
}

#[cfg(not(feature = "metrics"))]
pub(super) mod meters {
    use crate::observe::{Event, HeldFor};
    use crate::{Claim, Site};

    #[inline(always)]
    pub(crate) fn describe() {}

    #[inline(always)]
    pub(crate) fn tell(_: &Site, _: &Claim, _: &Event<'_>) {}

    #[inline(always)]
    pub(crate) fn force_released(_: &Site) {}

    pub(crate) struct Waiting;

    impl Waiting {
        #[inline(always)]
        pub(crate) fn begin(_: &Site) -> Self {
            Self
        }
    }

    pub(crate) struct Hold;

    impl Hold {
        #[inline(always)]
        pub(crate) fn begin(_: &Site) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn over(&self, _: &Site, _: HeldFor) {}
    }

    const _: () = assert!(size_of::<Waiting>() == 0 && size_of::<Hold>() == 0);
}
