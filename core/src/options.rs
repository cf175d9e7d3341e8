//! What is the same for a lock that is not held, whether acquiring it blocks or is awaited: options,
//! name, claims.

use std::panic::Location;
use std::sync::Arc;

use crate::claim::Target;
use crate::lock::Plan;
use crate::{Claim, Owner, Result, Site};

impl<B> Plan<B> {
    /// Sets an option; what a clone of the lock shares stays as it is.
    pub(crate) fn set(&mut self, set: impl FnOnce(&mut Target)) {
        match Arc::get_mut(&mut self.target) {
            Some(target) => set(target),
            None => {
                let mut target = self.target.fork();
                set(&mut target);
                self.target = Arc::new(target);
            }
        }
    }

    pub(crate) fn claim(
        &self,
        site: &Site,
        owner: Owner,
        place: &'static Location<'static>,
    ) -> Result<Claim> {
        Claim::new(self.target.clone(), site, owner, place).map_err(|error| error.at(site.label()))
    }
}

/// Writes it for a type of lock over a kind of store.
macro_rules! lock_options {
    ($Lock:ident, $Handle:ident) => {
        /// Options. Each takes the place of what the store's [`Settings`](crate::Settings) say.
        impl<B: $Handle, R: Rule> $Lock<B, Unlocked<R>> {
            /// Gives the lock a fixed lifetime, 10 ms to the settings' `max_ttl`, after which the store
            /// frees it whatever the holder does.
            ///
            /// Without it, the lock is kept alive: a background thread renews a short lease (the settings'
            /// `lease`) until the lock is released, dropped or lost.
            pub fn ttl(self, ttl: Duration) -> Self {
                self.option(|target| target.ttl = Some(ttl))
            }

            /// Keeps the lock alive although it has a [`ttl`](Self::ttl).
            pub fn keep_alive(self) -> Self {
                self.option(|target| target.keep_alive = true)
            }

            /// Holds the lock without a lease, for as long as the store sees the holder alive. A holder
            /// that hangs keeps it for ever.
            pub fn session(self) -> Self
            where
                B: SessionLocks,
            {
                self.option(|target| target.session = true)
            }

            /// Sets the pause between two looks at a store that cannot notify. Other stores are not polled
            /// and do not heed it.
            pub fn sleep(self, pause: Duration) -> Self {
                self.option(|target| target.sleep = pause)
            }

            /// Sets whether dropping the held lock releases it, `true` by default.
            ///
            /// With `false`, a lock that is dropped unreleased stays taken until its lease ends or somebody
            /// [restores](Self::restore) it by its owner token, even if this process ends.
            pub fn release_on_drop(self, release: bool) -> Self {
                self.option(|target| target.release_on_drop = release)
            }

            /// Keeps the name taken for at least this long after the grant, even when the lock is released
            /// sooner and the process ends; at most the settings' `max_ttl`.
            ///
            /// For a job that is due on several hosts at about the same time: it then runs once although
            /// the hosts' clocks differ and the work takes no time. A holder that crashes does not keep the
            /// name.
            pub fn hold_at_least(self, least: Duration) -> Self {
                self.option(|target| target.hold_at_least = Some(least))
            }

            /// Sets who the holder is, as shown to people; by default host name and process id.
            pub fn label(self, label: impl Into<Box<str>>) -> Self {
                self.option(|target| target.label = Some(label.into()))
            }

            pub(crate) fn option(mut self, set: impl FnOnce(&mut Target)) -> Self {
                self.data.set(set);
                self
            }

            /// The name, without the settings' prefix.
            #[must_use]
            pub fn name(&self) -> &str {
                self.data.target.name()
            }

            /// The store.
            #[must_use]
            pub fn store(&self) -> &B {
                &self.data.backend
            }

            /// The claim that an acquisition with this owner token makes, for those who test a store: the
            /// same one can be handed to [`Backend::try_acquire`](crate::Backend::try_acquire) or
            /// [`AsyncBackend::try_acquire`](crate::aio::AsyncBackend::try_acquire) twice.
            ///
            /// # Errors
            ///
            /// `InvalidName` and `Misconfigured`, as [`try_acquire`](Self::try_acquire).
            #[track_caller]
            pub fn claim_as(&self, owner: Owner) -> Result<Claim> {
                self.claim(owner, Location::caller())
            }

            pub(crate) fn claim(&self, owner: Owner, place: &'static Location<'static>) -> Result<Claim> {
                self.data.claim(self.site(), owner, place)
            }

            pub(crate) fn site(&self) -> &Site {
                self.data.backend.site()
            }

            /// When a request that goes out now was sent; a store inside the process counts by itself.
            pub(crate) fn sent(&self) -> Option<Moment> {
                (!self.site().is_direct()).then(|| self.site().now())
            }

            pub(crate) fn error(&self, error: Error) -> Error {
                error.at(self.site().label()).on(self.name())
            }
        }

        impl<B: $Handle, R: Rule> Clone for $Lock<B, Unlocked<R>> {
            fn clone(&self) -> Self {
                Self { data: self.data.clone() }
            }
        }

        impl<B: $Handle, R: Rule> fmt::Debug for $Lock<B, Unlocked<R>> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Lock")
                    .field("store", &self.site().label())
                    .field("name", &self.name())
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use lock_options;
