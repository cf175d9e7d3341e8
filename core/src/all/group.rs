//! Several locks as one value: a tuple, or a `Vec`.

use super::grip::{Grip, Holding};
use super::seat::Seat;
use crate::{Claim, Result, Site};

/// A lock that can be taken together with others.
pub trait Member: Clone + Send + Sync + 'static {
    /// The lock while it is held.
    type Held: Holding;

    /// A seat without the type of its lock.
    type Seat: ?Sized;

    fn site(&self) -> &Site;

    /// What it will ask its store for, if that can be asked at all.
    fn claim(&self) -> Result<Claim>;

    fn erase(seat: &mut Seat<Self>) -> &mut Self::Seat;
}

/// Makes locks of a type members.
macro_rules! member {
    ($Lock:ident, $Handle:ident, $Seat:ident) => {
        impl<B: $Handle, R: Rule> Member for $Lock<B, Unlocked<R>> {
            type Held = $Lock<B, Held<R>>;
            type Seat = dyn $Seat;

            fn site(&self) -> &Site {
                self.site()
            }

            fn claim(&self) -> Result<Claim> {
                self.claim_as(Owner::random()).map_err(|error| error.on(self.name()))
            }

            fn erase(seat: &mut Seat<Self>) -> &mut Self::Seat {
                seat
            }
        }
    };
}
pub(crate) use member;

/// Locks that can be taken together.
pub trait Group: Send + Sync + 'static {
    /// The same while they are held.
    type Held: HeldGroup;

    /// A seat for each.
    type Seats: Send;

    /// A seat of any of them.
    type Seat: ?Sized;

    fn seats(&self) -> Result<Self::Seats>;

    /// The seats in the caller's order.
    fn view(seats: &mut Self::Seats) -> Vec<&mut Self::Seat>;

    /// What is held, if every seat is taken.
    fn held(seats: Self::Seats) -> Option<Self::Held>;
}

/// Locks that are held together.
pub trait HeldGroup: Send + Sync + 'static {
    /// Any of them.
    type Grip: ?Sized + Grip;

    /// The members in the caller's order.
    fn view(&self) -> Vec<&Self::Grip>;

    /// The same, by value.
    fn boxes(self) -> Vec<Box<Self::Grip>>;
}

impl<L: Member> Group for Vec<L> {
    type Held = Vec<L::Held>;
    type Seats = Vec<Seat<L>>;
    type Seat = L::Seat;

    fn seats(&self) -> Result<Self::Seats> {
        self.iter().map(Seat::new).collect()
    }

    fn view(seats: &mut Self::Seats) -> Vec<&mut L::Seat> {
        seats.iter_mut().map(L::erase).collect()
    }

    fn held(seats: Self::Seats) -> Option<Self::Held> {
        seats.into_iter().map(Seat::into_held).collect()
    }
}

impl<H: Holding> HeldGroup for Vec<H> {
    type Grip = H::Grip;

    fn view(&self) -> Vec<&H::Grip> {
        self.iter().map(H::erase).collect()
    }

    fn boxes(self) -> Vec<Box<H::Grip>> {
        self.into_iter().map(H::erase_boxed).collect()
    }
}

macro_rules! tuples {
    ($($($member:ident $at:tt),+;)+) => {$(
        impl<S, D, $($member),+> Group for ($($member,)+)
        where
            S: ?Sized,
            D: ?Sized + Grip,
            $($member: Member<Seat = S, Held: Holding<Grip = D>>,)+
        {
            type Held = ($($member::Held,)+);
            type Seats = ($(Seat<$member>,)+);
            type Seat = S;

            fn seats(&self) -> Result<Self::Seats> {
                Ok(($(Seat::new(&self.$at)?,)+))
            }

            fn view(seats: &mut Self::Seats) -> Vec<&mut S> {
                vec![$($member::erase(&mut seats.$at)),+]
            }

            fn held(seats: Self::Seats) -> Option<Self::Held> {
                Some(($(seats.$at.into_held()?,)+))
            }
        }

        impl<D: ?Sized + Grip, $($member: Holding<Grip = D>),+> HeldGroup for ($($member,)+) {
            type Grip = D;

            fn view(&self) -> Vec<&D> {
                vec![$(self.$at.erase()),+]
            }

            fn boxes(self) -> Vec<Box<D>> {
                vec![$(self.$at.erase_boxed()),+]
            }
        }
    )+};
}

tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, E 3;
    A 0, B 1, C 2, E 3, F 4;
    A 0, B 1, C 2, E 3, F 4, G 5;
    A 0, B 1, C 2, E 3, F 4, G 5, H 6;
    A 0, B 1, C 2, E 3, F 4, G 5, H 6, I 7;
}
