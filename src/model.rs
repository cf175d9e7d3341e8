//! Locks on records: of one record, or of all that have the same values in some fields.
//!
//! A type becomes lockable by saying which model its records are of, and which of its fields is the key:
//! by hand, or with [`#[derive(Lockable)]`](derive@Lockable).
//!
//! ```
//! use tenure::prelude::*;
//!
//! struct Foo { id: i64, bar: String }
//!
//! impl Lockable for Foo {
//!     const MODEL: &'static str = "shop.foo";
//!     type Key = i64;
//!     fn lock_key(&self) -> i64 { self.id }
//! }
//!
//! # fn main() -> tenure::Result<()> {
//! # tenure::install(tenure::LocMem::for_this_process_only())?;
//! let foo = Foo { id: 7, bar: "a:b".into() };
//! let held = lock_model!(foo)?;
//! assert_eq!(held.name(), "shop.foo:pk:7");
//! let held = lock_model!(foo, bar)?;
//! assert_eq!(held.name(), "shop.foo:bar:a%3Ab");
//! # Ok(())
//! # }
//! ```
//!
//! The same with a derive, and with the attribute that locks `self` while a method runs:
//!
//! ```
//! use tenure::Lockable;
//!
//! #[derive(Lockable)]
//! #[lockable(model = "shop.foo", key = id)]
//! struct Foo { id: i64, bar: String }
//!
//! impl Foo {
//!     #[tenure::lock_model]
//!     fn rename(&mut self, name: &str) -> tenure::Result<()> {
//!         self.bar = name.into();
//!         Ok(())
//!     }
//!
//!     #[tenure::lock_model(bar, blocking = false)]
//!     async fn count_all_of_that_name(&self) -> tenure::Result<usize> {
//!         Ok(1)
//!     }
//! }
//! # fn main() -> tenure::Result<()> {
//! # tenure::install(tenure::LocMem::for_this_process_only())?;
//! # tenure::aio::install(tenure::LocMem::for_this_process_only())?;
//! # let mut foo = Foo { id: 7, bar: "a".into() };
//! # foo.rename("b")?;
//! # assert_eq!(tenure::aio::block_on(foo.count_all_of_that_name())?, 1);
//! # assert_eq!(foo.bar, "b");
//! # Ok(())
//! # }
//! ```
//!
//! # Names
//!
//! | lock | name |
//! |---|---|
//! | a record | `MODEL:pk:KEY` |
//! | a record with a key of two parts | `MODEL:pk:PART:PART` |
//! | all with this value of field `bar` | `MODEL:bar:VALUE` |
//! | all with these values of `bar` and `baz` | `MODEL:bar:VALUE:baz:VALUE`, whatever the order they are given in |
//!
//! All parts are escaped as by [`Name::join`](crate::Name::join), `None` is `%none`, and a field that is
//! called `pk` is `%pk`: different records, fields and values never share a lock. That a record is locked
//! does not lock its fields, nor the reverse; they are locks of different names.
//!
//! Without macros, [`Name::of`](crate::Name::of) and [`Name::of_fields`](crate::Name::of_fields) make the
//! same names, for [`Lock::new`](crate::Lock::new).

#[doc(no_inline)]
pub use tenure_core::Lockable;
#[doc(inline)]
pub use tenure_macros::{Lockable, lock_model};
