//! What is the same for a set whether its calls block or are awaited.

/// Writes it for a type of set over a kind of lock, which has `lost`, `renew` and `release` of its
/// own.
macro_rules! set_holding {
    ($LockAll:ident, $Members:ident, $Lock:ident, $Handle:ident) => {
        impl<M: $Members> $LockAll<M> {
            /// The locks, as they were given.
            #[must_use]
            pub fn members(&self) -> &M {
                &self.data
            }
        }

        impl<M: $Members + Clone> Clone for $LockAll<M> {
            fn clone(&self) -> Self {
                Self { data: self.data.clone() }
            }
        }

        impl<M: $Members + fmt::Debug> fmt::Debug for $LockAll<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("LockAll").field(&self.data).finish()
            }
        }

        /// Holding all.
        ///
        /// The set is held as long as every one of its locks is. What `Held` promises, and what it does
        /// not, is said at the single lock.
        impl<M: $Members> $LockAll<M, Held> {
            /// The held locks, as they were given: a tuple or a `Vec`. A reference to one of them is the
            /// proof that it is held.
            #[must_use]
            pub fn members(&self) -> &M::Held {
                self.data.members()
            }

            /// The held locks, each by itself from now on.
            #[must_use = "the locks are released when they are dropped"]
            pub fn into_members(self) -> M::Held {
                self.data.into_members()
            }

            /// The fence of each, in the order in which the locks were given.
            #[must_use]
            pub fn fences(&self) -> Vec<Fence> {
                self.data.fences()
            }

            /// Until when all are certainly held if nothing is renewed: the earliest
            /// [`deadline`](crate::Lock::deadline) of any. `None` if none of them has a lease.
            #[must_use]
            pub fn deadline(&self) -> Option<Moment> {
                self.data.deadline()
            }

            /// How long all are certainly held if nothing is renewed; `None` if none of them has a lease.
            #[must_use]
            pub fn remaining(&self) -> Option<Duration> {
                self.data.remaining()
            }

            /// The worst that is known of any of them, without asking the stores: lost if one is, unknown
            /// if a renewal of one went unanswered.
            #[must_use]
            pub fn status(&self) -> Status {
                self.data.status()
            }

            /// Whether none of them is lost.
            #[must_use]
            pub fn is_held(&self) -> bool {
                self.status().is_believed()
            }

            /// Calls `callback` once when the first of them is lost, at once if one is already, with an
            /// error of kind `Lost` that names it; never after a release.
            ///
            /// Callbacks of all locks run one after another on one thread and should not block for long.
            pub fn on_lost(&self, callback: impl FnOnce(Error) + Send + 'static) {
                self.data.on_lost(callback);
            }
        }

        impl<B: $Handle, R: Rule> $LockAll<Vec<$Lock<B, Unlocked<R>>>, Held> {
            /// The held lock of this name, without the settings' prefix; the first one given if several
            /// stores have the name.
            #[must_use]
            pub fn named(&self, name: &str) -> Option<&$Lock<B, Held<R>>> {
                self.members().iter().find(|member| member.name() == name)
            }
        }

        impl<M: $Members> crate::testing::HeldLock for $LockAll<M, Held> {
            fn status(&self) -> Status {
                self.status()
            }

            fn name(&self) -> &str {
                self.data.worst()
            }
        }

        impl<M: $Members<Held: fmt::Debug>> fmt::Debug for $LockAll<M, Held> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("LockAll").field(self.members()).finish()
            }
        }
    };
}
pub(crate) use set_holding;
