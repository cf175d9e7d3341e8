//! A held member of a set, whatever its type.

use crate::{Cause, Error, Fence, Moment, Status};

/// A lock that is held.
pub trait Holding: Send + Sync + 'static {
    /// A held lock of any type.
    type Grip: ?Sized + Grip;

    fn erase(&self) -> &Self::Grip;

    fn erase_boxed(self) -> Box<Self::Grip>;

    /// Says that nothing was done under it: however it ends now, its name is free at once, whatever
    /// the lock's options say.
    fn disuse(&mut self);
}

/// What a held lock of any type can do without waiting.
pub trait Grip: Send + Sync {
    fn fence(&self) -> Fence;

    fn status(&self) -> Status;

    fn deadline(&self) -> Option<Moment>;

    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>);

    /// The error that tells of the loss of this lock.
    fn loss(&self, cause: Cause) -> Error;

    fn keep_alive(&self);
}
