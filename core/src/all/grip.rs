//! A held member of a set, whatever its type.

use std::future::Future;
use std::pin::Pin;

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

/// What a held lock of any type can do without speaking to its store.
pub trait Grip: Send + Sync {
    fn fence(&self) -> Fence;

    fn status(&self) -> Status;

    fn deadline(&self) -> Option<Moment>;

    fn keep_alive(&self);

    fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>);

    fn lost(&self) -> Soon<'_, Cause>;

    /// An error of this lock.
    fn error(&self, error: Error) -> Error;
}

/// A future of a member of any type.
pub(crate) type Soon<'l, T> = Pin<Box<dyn Future<Output = T> + Send + 'l>>;

/// Makes held locks of a type members.
macro_rules! grip {
    ($Lock:ident, $Handle:ident, $Grip:ident) => {
        impl<B: $Handle, R: Rule> Holding for $Lock<B, Held<R>> {
            type Grip = dyn $Grip;

            fn erase(&self) -> &Self::Grip {
                self
            }

            fn erase_boxed(self) -> Box<Self::Grip> {
                Box::new(self)
            }

            fn disuse(&mut self) {
                self.data.0.disuse();
            }
        }

        impl<B: $Handle, R: Rule> Grip for $Lock<B, Held<R>> {
            fn fence(&self) -> Fence {
                self.fence()
            }

            fn status(&self) -> Status {
                self.status()
            }

            fn deadline(&self) -> Option<Moment> {
                self.deadline()
            }

            fn keep_alive(&self) {
                self.keep_alive();
            }

            fn on_lost(&self, callback: Box<dyn FnOnce(Cause) + Send>) {
                self.on_lost(callback);
            }

            fn lost(&self) -> Soon<'_, Cause> {
                Box::pin(self.data.0.lease().until_lost())
            }

            fn error(&self, error: Error) -> Error {
                self.data.0.lease().error(error)
            }
        }
    };
}
pub(crate) use grip;
