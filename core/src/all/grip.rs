//! A held member of a set, whatever its type.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::group::Way;
use crate::{Cause, Error, Fence, Moment, Owner, Status};

/// A lock that is held.
pub trait Holding<W: Way>: Send + Sync + 'static {
    fn erase(&self) -> &W::Grip;

    fn erase_boxed(self) -> Box<W::Grip>;

    /// Says that nothing was done under it: however it ends now, its name is free at once, whatever
    /// the lock's options say.
    fn disuse(&mut self);
}

/// What a held lock of any type can do without speaking to its store.
pub trait Grip: Send + Sync {
    fn owner(&self) -> Owner;

    fn fence(&self) -> Fence;

    fn status(&self) -> Status;

    fn name(&self) -> &str;

    fn deadline(&self) -> Option<Moment>;

    fn remaining(&self) -> Option<Duration>;

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
    ($Lock:ident, $Handle:ident, $Way:ident) => {
        impl<B: $Handle, R: Rule> Holding<$Way> for $Lock<B, Held<R>> {
            fn erase(&self) -> &<$Way as Way>::Grip {
                self
            }

            fn erase_boxed(self) -> Box<<$Way as Way>::Grip> {
                Box::new(self)
            }

            fn disuse(&mut self) {
                self.data.0.disuse();
            }
        }

        impl<B: $Handle, R: Rule> Grip for $Lock<B, Held<R>> {
            fn owner(&self) -> Owner {
                self.owner()
            }

            fn fence(&self) -> Fence {
                self.fence()
            }

            fn status(&self) -> Status {
                self.status()
            }

            fn name(&self) -> &str {
                self.name()
            }

            fn deadline(&self) -> Option<Moment> {
                self.deadline()
            }

            fn remaining(&self) -> Option<Duration> {
                self.remaining()
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
