//! Several locks as one value: a tuple, or a `Vec`.

use super::grip::{Grip, Holding};
use super::seat::{Seat, Seated};
use crate::{Claim, Moment, Result, Site};

/// The two ways of getting locks: by calls that block, and by futures that are polled.
pub trait Way: 'static {
    /// A seat for a lock of any type.
    type Seat: ?Sized + Seated;

    /// A held lock of any type.
    type Grip: ?Sized + Grip;
}

/// A lock that can be taken together with others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken together with other locks",
    label = "not a lock that can be taken here",
    note = "a set takes locks that are not held yet: `tenure::Lock`s into a `tenure::LockAll`, and \
            `tenure::aio::Lock`s into a `tenure::aio::LockAll`"
)]
pub trait Member<W: Way>: Clone + Send + Sync + 'static {
    /// The lock while it is held.
    type Held: Holding<W>;

    fn site(&self) -> &Site;

    /// What it will ask its store for, if that can be asked at all.
    fn claim(&self) -> Result<Claim>;

    fn erase(seat: &mut Seat<W, Self>) -> &mut W::Seat;
}

/// Makes locks of a type members.
macro_rules! member {
    ($Lock:ident, $Handle:ident, $Way:ident) => {
        impl<B: $Handle, R: Rule> Member<$Way> for $Lock<B, Unlocked<R>> {
            type Held = $Lock<B, Held<R>>;

            fn site(&self) -> &Site {
                self.site()
            }

            fn claim(&self) -> Result<Claim> {
                self.claim_as(Owner::random()).map_err(|error| error.on(self.name()))
            }

            fn erase(seat: &mut Seat<$Way, Self>) -> &mut <$Way as Way>::Seat {
                seat
            }
        }
    };
}
pub(crate) use member;

/// Locks that can be taken together.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of locks",
    label = "not locks that can be taken together",
    note = "pass a tuple of one to eight locks that are not held, or a `Vec` of such locks"
)]
pub trait Group<W: Way>: Send + Sync + 'static {
    /// The same while they are held.
    type Held: HeldGroup<W>;

    /// A seat for each.
    type Seats: Send;

    /// The moment now, in the time that the first of the stores lives in.
    fn now(&self) -> Moment;

    fn seats(&self) -> Result<Self::Seats>;

    /// The seats in the caller's order.
    fn view(seats: &mut Self::Seats) -> Vec<&mut W::Seat>;

    /// What is held, if every seat is taken.
    fn held(seats: Self::Seats) -> Option<Self::Held>;
}

/// Locks that are held together.
pub trait HeldGroup<W: Way>: Send + Sync + 'static {
    /// The members in the caller's order.
    fn view(&self) -> Vec<&W::Grip>;

    /// The same, by value.
    fn boxes(self) -> Vec<Box<W::Grip>>;
}

impl<W: Way, L: Member<W>> Group<W> for Vec<L> {
    type Held = Vec<L::Held>;
    type Seats = Vec<Seat<W, L>>;

    fn now(&self) -> Moment {
        self.first().map_or_else(Moment::now, |lock| lock.site().now())
    }

    fn seats(&self) -> Result<Self::Seats> {
        self.iter().map(Seat::new).collect()
    }

    fn view(seats: &mut Self::Seats) -> Vec<&mut W::Seat> {
        seats.iter_mut().map(L::erase).collect()
    }

    fn held(seats: Self::Seats) -> Option<Self::Held> {
        seats.into_iter().map(Seat::into_held).collect()
    }
}

impl<W: Way, H: Holding<W>> HeldGroup<W> for Vec<H> {
    fn view(&self) -> Vec<&W::Grip> {
        self.iter().map(H::erase).collect()
    }

    fn boxes(self) -> Vec<Box<W::Grip>> {
        self.into_iter().map(H::erase_boxed).collect()
    }
}

macro_rules! tuples {
    ($($($member:ident $at:tt),+;)+) => {$(
        impl<W: Way, $($member: Member<W>),+> Group<W> for ($($member,)+) {
            type Held = ($($member::Held,)+);
            type Seats = ($(Seat<W, $member>,)+);

            fn now(&self) -> Moment {
                self.0.site().now()
            }

            fn seats(&self) -> Result<Self::Seats> {
                Ok(($(Seat::new(&self.$at)?,)+))
            }

            fn view(seats: &mut Self::Seats) -> Vec<&mut W::Seat> {
                vec![$($member::erase(&mut seats.$at)),+]
            }

            fn held(seats: Self::Seats) -> Option<Self::Held> {
                Some(($(seats.$at.into_held()?,)+))
            }
        }

        impl<W: Way, $($member: Holding<W>),+> HeldGroup<W> for ($($member,)+) {
            fn view(&self) -> Vec<&W::Grip> {
                vec![$(self.$at.erase()),+]
            }

            fn boxes(self) -> Vec<Box<W::Grip>> {
                vec![$(self.$at.erase_boxed()),+]
            }
        }
    )+};
}

tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}
