//! What is the same for a lock that is held, whether releasing it blocks or is awaited: what is known
//! of it without asking the store.

/// Writes it for a type of lock over a kind of store.
macro_rules! lock_holding {
    ($Lock:ident, $Handle:ident, $Port:ident) => {
        /// Holding.
        ///
        /// A held lock says that it *was granted*. That it still is, is known up to its
        /// [`deadline`](Self::deadline) only, and [`status`](Self::status) tells; a program that is paused
        /// between asking and acting can always be late. What must never be written twice has to compare
        /// [`fence`](Self::fence) at the place where it is written.
        impl<B: $Handle, R: Rule> $Lock<B, Held<R>> {
            /// The number of this grant, larger than that of every earlier grant of the name.
            #[must_use]
            pub fn fence(&self) -> Fence {
                self.lease().fence()
            }

            /// The token that makes the lock this holder's; with it, it can be
            /// [restored](Lock::restore).
            #[must_use]
            pub fn owner(&self) -> Owner {
                self.lease().claim().owner()
            }

            /// The name, without the settings' prefix.
            #[must_use]
            pub fn name(&self) -> &str {
                self.lease().claim().name()
            }

            /// Until when the lock is certainly held if nothing is renewed: one percent and two
            /// milliseconds before the lease ends. `None` if it has no lease.
            #[must_use]
            pub fn deadline(&self) -> Option<Moment> {
                self.lease().deadline()
            }

            /// How long the lock is certainly held if nothing is renewed; `None` if it has no lease.
            #[must_use]
            pub fn remaining(&self) -> Option<Duration> {
                self.deadline().map(|deadline| deadline.since(self.lease().now()))
            }

            /// What is known of the lock now, without asking the store.
            ///
            /// Never [`Status::Held`] after the deadline, even in a process that was stopped and woke up.
            #[must_use]
            pub fn status(&self) -> Status {
                self.lease().status()
            }

            /// Whether the lock is certainly held now, or was at the last answer and its lease has not
            /// ended.
            #[must_use]
            pub fn is_held(&self) -> bool {
                self.status().is_believed()
            }

            /// Calls `callback` once when the lock is lost, at once if it is already; never after a
            /// release.
            ///
            /// Callbacks of all locks run one after another on one thread and should not block for long.
            pub fn on_lost(&self, callback: impl FnOnce(Cause) + Send + 'static) {
                self.lease().on_lost(Box::new(callback));
            }

            /// Renews the lock in the background until it is released or lost, whatever its lifetime was.
            pub fn keep_alive(&self) {
                self.lease().keep_alive();
            }

            /// What the backend keeps of the grant.
            #[must_use]
            pub fn grant(&self) -> &B::Grant {
                self.lease().grant()
            }

            fn lease(&self) -> &Arc<Lease<$Port<B>>> {
                self.data.0.lease()
            }
        }

        impl<B: $Handle, R: Rule> fmt::Debug for $Lock<B, Held<R>> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Lock")
                    .field("name", &self.name())
                    .field("fence", &self.fence())
                    .field("deadline", &self.deadline())
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use lock_holding;
