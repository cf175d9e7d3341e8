//! What is the same for a store whose type is known only at run time, whether it blocks or is awaited:
//! what it was recorded to be able to do.

/// Writes it for a kind of store. What speaks to the store, and how it is inspected, stands beside.
macro_rules! any_backend {
    ($(#[$docs:meta])* $Handle:ident, $Inspect:ident, $Restore:ident) => {
        $(#[$docs])*
        #[derive(Clone)]
        pub struct AnyBackend {
            store: Arc<dyn Erased>,
            inspect: Option<Arc<dyn $Inspect>>,
            restore: Option<Arc<dyn ErasedRestore>>,
            sessions: bool,
            shared: bool,
            permits: bool,
        }

        impl AnyBackend {
            /// Erases a store that has no capabilities to record.
            #[must_use]
            pub fn new<B: $Handle>(store: B) -> Self {
                Self::erase(store).build()
            }

            /// Erases a store, recording what else it can do.
            ///
            /// ```ignore
            /// AnyBackend::erase(store).inspect().restore().build()
            /// ```
            #[must_use]
            pub fn erase<B: $Handle>(store: B) -> Erase<B> {
                let erased = Self {
                    store: Arc::new(Typed(store.clone())),
                    inspect: None,
                    restore: None,
                    sessions: false,
                    shared: false,
                    permits: false,
                };
                Erase { store, erased }
            }

            /// The store as one whose locks can be taken up again by their owner tokens, if they can.
            #[must_use]
            pub fn restorable(&self) -> Option<AnyRestore> {
                let restore = self.restore.clone()?;
                Some(AnyRestore { any: self.clone(), restore })
            }

            /// The store as one that can hold a lock without a lease, if it can.
            #[must_use]
            pub fn sessions(&self) -> Option<AnySessions> {
                self.sessions.then(|| AnySessions { any: self.clone() })
            }

            /// The store as one whose locks readers can share, if they can.
            #[must_use]
            pub fn shared(&self) -> Option<AnyShared> {
                self.shared.then(|| AnyShared { any: self.clone() })
            }

            /// The store as one that counts permits, if it can.
            #[must_use]
            pub fn permits(&self) -> Option<AnyPermits> {
                self.permits.then(|| AnyPermits { any: self.clone() })
            }
        }

        /// Records what a store can do while its type is still known.
        pub struct Erase<B> {
            store: B,
            erased: AnyBackend,
        }

        impl<B: $Handle> Erase<B> {
            /// Records that locks can be restored.
            #[must_use]
            pub fn restore(mut self) -> Self
            where
                B: $Restore,
            {
                self.erased.restore = Some(Arc::new(Typed(self.store.clone())));
                self
            }

            /// Records that it has locks without a lease.
            #[must_use]
            pub fn sessions(mut self) -> Self
            where
                B: SessionLocks,
            {
                self.erased.sessions = true;
                self
            }

            /// Records that readers can share its locks.
            #[must_use]
            pub fn shared(mut self) -> Self
            where
                B: SharedLocks,
            {
                self.erased.shared = true;
                self
            }

            /// Records that it counts permits.
            #[must_use]
            pub fn permits(mut self) -> Self
            where
                B: Permits,
            {
                self.erased.permits = true;
                self
            }

            /// The erased store.
            #[must_use]
            pub fn build(self) -> AnyBackend {
                self.erased
            }
        }

        impl<B: $Handle> fmt::Debug for Erase<B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.erased.fmt(f)
            }
        }

        /// An [`AnyBackend`] whose locks can be taken up again; see [`AnyBackend::restorable`].
        #[derive(Clone)]
        pub struct AnyRestore {
            any: AnyBackend,
            restore: Arc<dyn ErasedRestore>,
        }

        /// An [`AnyBackend`] that can hold a lock without a lease; see [`AnyBackend::sessions`].
        #[derive(Clone)]
        pub struct AnySessions {
            any: AnyBackend,
        }

        impl SessionLocks for AnySessions {}

        /// An [`AnyBackend`] whose locks readers can share; see [`AnyBackend::shared`].
        #[derive(Clone)]
        pub struct AnyShared {
            any: AnyBackend,
        }

        impl SharedLocks for AnyShared {}

        /// An [`AnyBackend`] that counts permits; see [`AnyBackend::permits`].
        #[derive(Clone)]
        pub struct AnyPermits {
            any: AnyBackend,
        }

        impl Permits for AnyPermits {}

        any_backend!(@debug AnyBackend, AnyRestore, AnySessions, AnyShared, AnyPermits);
    };
    (@debug $($store:ident),*) => {$(
        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($store)).field("store", &self.site().label()).finish_non_exhaustive()
            }
        }
    )*};
}
pub(crate) use any_backend;
