//! The states of a lock, and what it can be held as: types only, without values.

use std::marker::PhantomData;

/// The state of a lock that is not held.
#[derive(Debug)]
pub struct Unlocked<R: Rule = Exclusive>(PhantomData<R>);

/// The state of a lock that is held: exclusively, unless the parameter says otherwise.
#[derive(Debug)]
pub struct Held<R: Rule = Exclusive>(PhantomData<R>);

/// Held by one alone.
#[derive(Debug)]
pub enum Exclusive {}

/// Held together with other readers.
#[derive(Debug)]
pub enum Shared {}

/// One of a limited number of permits.
#[derive(Debug)]
pub enum Permit {}

/// The states of a [`Lock`](crate::Lock), of an [`aio::Lock`](crate::aio::Lock) and of a set of
/// them: [`Unlocked`] and [`Held`].
pub trait State: sealed::State {}

/// What a lock is held as: [`Exclusive`], [`Shared`] or [`Permit`].
pub trait Rule: sealed::Rule + 'static {}

impl<R: Rule> State for Unlocked<R> {}
impl<R: Rule> State for Held<R> {}
impl Rule for Exclusive {}
impl Rule for Shared {}
impl Rule for Permit {}

mod sealed {
    use crate::Handle;
    use crate::aio::AsyncHandle;
    use crate::all::{Group, Together, Way};
    use crate::lock::Plan;

    pub trait State {
        type Data<B: Handle>;
        type AsyncData<B: AsyncHandle>;
        type All<W: Way, M: Group<W>>;
    }

    pub trait Rule {}

    impl<R: super::Rule> State for super::Unlocked<R> {
        type Data<B: Handle> = Plan<B>;
        type AsyncData<B: AsyncHandle> = Plan<B>;
        type All<W: Way, M: Group<W>> = M;
    }

    impl<R: super::Rule> State for super::Held<R> {
        type Data<B: Handle> = crate::held::Data<B>;
        type AsyncData<B: AsyncHandle> = crate::aio::Data<B>;
        type All<W: Way, M: Group<W>> = Together<W, M::Held>;
    }

    impl Rule for super::Exclusive {}
    impl Rule for super::Shared {}
    impl Rule for super::Permit {}
}
