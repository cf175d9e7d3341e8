//! The macros of `tenure`. Use them through that crate, which has everything that they expand to.

#![forbid(unsafe_code)]

mod derive;
mod diesel;
mod function;
mod model;
mod options;
mod template;

use proc_macro::TokenStream;
use syn::parse::{ParseStream, Parser};

use crate::function::Function;
use crate::options::{Options, Style};
use crate::template::LockName;

/// Locks a record, or all records that have the same values in some fields.
///
/// The record is of a type that is `Lockable`, or a reference to one. The macro waits for the lock and
/// is a `Result<Lock<_, Held>, tenure::Error>`; the lock is released when the value is dropped, so bind
/// it to a name.
///
/// ```
/// use std::time::Duration;
/// use tenure::prelude::*;
///
/// #[derive(Lockable)]
/// #[lockable(model = "shop.order", key = id)]
/// struct Order { id: i64, customer: i64, day: String }
///
/// # fn main() -> tenure::Result<()> {
/// # let store = tenure::LocMem::for_this_process_only();
/// # let mem = tenure::LocMem::for_this_process_only();
/// tenure::install(store)?;                  // once, at the start of `main`
/// # let order = Order { id: 7, customer: 3, day: "monday".into() };
///
/// let held = lock_model!(order)?;
/// assert_eq!(held.name(), "shop.order:pk:7");
///
/// let held = lock_model!(order, customer)?;           // all orders of this customer
/// assert_eq!(held.name(), "shop.order:customer:3");
///
/// let held = lock_model!(order, day, customer)?;      // in whatever order the fields are given
/// assert_eq!(held.name(), "shop.order:customer:3:day:monday");
///
/// let held = lock_model!(order, on = &mem, blocking = false)?;
/// let busy = lock_model!(order, on = &mem, wait = Duration::from_millis(10));
/// assert!(busy.is_err_and(|error| error.is_timed_out()));
/// # Ok(())
/// # }
/// ```
///
/// The value of a field is read when the lock is taken. A field must be a `KeyPart`: a number, `bool`,
/// `char`, text, or an `Option` of these. Another one that has `Display` is written `%field`.
///
/// # Options
///
/// They stand behind the fields, by name, in any order:
///
/// | option | meaning |
/// |---|---|
/// | `on = &store` | the store, instead of the default of the process (`tenure::install`) |
/// | `blocking = false` | does not wait: an error of kind `Contended` if the lock is taken |
/// | `wait = duration` | waits no longer than that: an error of kind `TimedOut` |
/// | `ttl = duration` | a fixed lifetime instead of being kept alive |
/// | `name = "audit"` | stands in the lock's name in place of the model |
/// | `refresh = order.reload(&db)` | done once the lock is held; see below |
/// | `label = "importer"` | who the holder is, as shown to people |
/// | `crate = path` | the crate `tenure`, if it has another name |
///
/// # Reloading the record
///
/// What was read before the lock was got may be old by now. `refresh` is an expression that is
/// evaluated once the lock is held, and is a `Result`. If it is an `Err`, the lock is released and the
/// macro is that error, of whatever type `E: From<tenure::Error>`:
///
/// ```
/// # use tenure::prelude::*;
/// # #[derive(Lockable)]
/// # #[lockable(model = "shop.order", key = id)]
/// # struct Order { id: i64, total: i64 }
/// # struct Database;
/// # #[derive(Debug)]
/// # enum AppError { Lock(tenure::Error), NoSuchOrder }
/// # impl From<tenure::Error> for AppError {
/// #     fn from(error: tenure::Error) -> Self { Self::Lock(error) }
/// # }
/// impl Order {
///     fn reload(&mut self, db: &Database) -> Result<(), AppError> {
/// #       self.total = 100;
///         // ..
///         Ok(())
///     }
/// }
///
/// # fn demo(db: Database) -> Result<(), AppError> {
/// # let store = tenure::LocMem::for_this_process_only();
/// # let mut order = Order { id: 7, total: 0 };
/// let held = lock_model!(order, on = &store, refresh = order.reload(&db))?;
/// assert_eq!(order.total, 100);
/// # Ok(())
/// # }
/// # demo(Database).unwrap();
/// ```
///
/// The lock's name keeps the values from before: after locking by a field and reloading, see whether
/// the field still has its value.
///
/// # Errors
///
/// As those of `Lock::acquire`, `acquire_for` and `try_acquire`. `NoDefault` without `on` if no default
/// store is installed.
///
/// # Where it is
///
/// In `tenure::prelude` and in `tenure::model`. The attribute of the same name, which locks `self` while
/// a method runs, is `#[tenure::lock_model]`: one path cannot lead to both. The form for asynchronous
/// code is `tenure::aio::lock_model!`.
#[proc_macro]
pub fn lock_model(input: TokenStream) -> TokenStream {
    call(input, Style::Blocking)
}

/// Locks a record in asynchronous code: `lock_model!` as a future.
///
/// ```
/// use tenure::aio;
/// use tenure::prelude::*;
///
/// #[derive(Lockable)]
/// #[lockable(model = "shop.order", key = id)]
/// struct Order { id: i64, customer: i64 }
///
/// # async fn demo(order: Order, store: tenure::LocMem) -> tenure::Result<()> {
/// let held = aio::lock_model!(order, on = &store).await?;
/// let other = aio::lock_model!(order, customer, on = &store, blocking = false).await?;
/// held.release().await?;
/// # Ok(())
/// # }
/// # let order = Order { id: 7, customer: 3 };
/// # aio::block_on(demo(order, tenure::LocMem::for_this_process_only())).unwrap();
/// ```
///
/// Record and options are those of the blocking form. They are evaluated at once, and the future owns
/// what it needs of them; nothing is asked of the store before it is polled. Without `on`, the store is
/// that of `tenure::aio::install`. With `refresh`, the future borrows what that expression names, which
/// may await: `refresh = order.reload(&db).await`.
///
/// # Errors
///
/// As for the blocking form.
///
/// # Cancel safety
///
/// The future can be dropped at any point; it leaves nothing behind, and a lock that it had got already
/// is released in the background.
#[proc_macro]
pub fn aio_lock_model(input: TokenStream) -> TokenStream {
    call(input, Style::Async)
}

fn call(input: TokenStream, style: Style) -> TokenStream {
    let call = model::Call::parse.parse(input);
    call.map_or_else(syn::Error::into_compile_error, |call| call.expand(style)).into()
}

/// Locks the record `self` while a method runs: `#[tenure::lock_model]`.
///
/// ```
/// use tenure::Lockable;
///
/// #[derive(Lockable)]
/// #[lockable(model = "shop.order", key = id)]
/// struct Order { id: i64, shelf: u32, total: i64 }
///
/// impl Order {
///     #[tenure::lock_model]
///     fn pay(&mut self) -> tenure::Result<i64> {
///         Ok(self.total)
///     }
///
///     #[tenure::lock_model(shelf, blocking = false)]
///     async fn pack(&self) -> tenure::Result<()> {
///         Ok(())
///     }
///
///     #[tenure::lock_model(refresh = self.reload())]
///     fn cancel(&mut self) -> tenure::Result<()> {
///         Ok(())
///     }
///
///     fn reload(&mut self) -> tenure::Result<()> {
///         Ok(())
///     }
/// }
/// # fn main() -> tenure::Result<()> {
/// # tenure::install(tenure::LocMem::for_this_process_only())?;
/// # tenure::aio::install(tenure::LocMem::for_this_process_only())?;
/// # let mut order = Order { id: 7, shelf: 2, total: 5 };
/// # assert_eq!(order.pay()?, 5);
/// # order.cancel()?;
/// # tenure::aio::block_on(order.pack())
/// # }
/// ```
///
/// Without fields it is the record's key that is locked, with fields all records that have the same
/// values in them, as in `lock_model!`. The options are those of `lock_model!`, and `held`, as in
/// `#[tenure::lock]`, where also is said what a method may look like and when it fails.
///
/// A method that calls another one under the same lock waits for ever, or fails with `blocking = false`:
/// locks are not re-entrant.
///
/// # Where it is
///
/// At the root of `tenure`. The macro `lock_model!(order)` comes from `tenure::prelude::*`: one path
/// cannot lead to both.
#[proc_macro_attribute]
pub fn lock_model_attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(item, |function| model::OnMethod::parse.parse(arguments)?.expand(function))
}

/// Holds a lock while a function runs; its name is made of the arguments: `#[tenure::lock("order:{id}")]`.
///
/// ```
/// use std::time::Duration;
/// use tenure::{LocMem, Result};
///
/// # #[derive(Debug)]
/// # struct AppError;
/// # impl From<tenure::Error> for AppError {
/// #     fn from(_: tenure::Error) -> Self { Self }
/// # }
/// #[tenure::lock("order:{id}")]
/// fn ship(id: u64) -> Result<(), AppError> {
///     // No other thread, process or host ships this order now.
///     Ok(())
/// }
///
/// struct Shop { store: LocMem, region: String }
///
/// impl Shop {
///     #[tenure::lock("stock:{self.region}:{article}", on = &self.store, wait = Duration::from_secs(2))]
///     async fn restock(&self, article: u32) -> Result<u32> {
///         Ok(article)
///     }
/// }
///
/// #[tenure::lock("report", blocking = false, held = held)]
/// fn report() -> Result<u64> {
///     Ok(held.fence().get())
/// }
/// # fn main() {
/// # tenure::install(LocMem::for_this_process_only()).unwrap();
/// # ship(7).unwrap();
/// # assert!(report().unwrap() > 0);
/// # let shop = Shop { store: LocMem::for_this_process_only(), region: "north".into() };
/// # assert_eq!(tenure::aio::block_on(shop.restock(4)).unwrap(), 4);
/// # }
/// ```
///
/// # The name
///
/// Text stands in the name as it is. A placeholder is an argument, or a field of one or of `self`:
/// `{id}`, `{order.id}`, `{self.region}`. An empty one takes the next expression behind the text:
/// `"order:{}", order.number()`. What stands behind a `:` is the format, as in `format!`: `{id:08}`.
///
/// Values are escaped as by `Name::join`, and there must be a `:` between two of them, so that no two
/// lists of arguments make one name. `"shop.order:pk:{id}"` is the name that `lock_model!` gives to a
/// record.
///
/// In place of the text, an expression can give a name that was made elsewhere:
/// `#[tenure::lock(self.lock_name())]`.
///
/// # Options
///
/// `on`, `blocking`, `wait`, `ttl`, `label` and `crate` as for `lock_model!`; they are evaluated when the
/// function is called, and can use its arguments. `held = held` gives the held lock a name in the body.
///
/// # What the function returns
///
/// A `Result<_, E>` with `E: From<tenure::Error>`, such as `tenure::Result<_>`. It is an error
///
/// * if the lock is not got; the body is not run then;
/// * of kind `Lost` if the body was `Ok`, but the lock was lost while it ran: somebody else may have run
///   at the same time. An error of the body wins over that.
///
/// A release that the store did not answer is no error: the body had the lock to itself, and the lock
/// is freed at the end of its lease if not before.
///
/// # What runs under the lock
///
/// The whole body, to its end, an early `return` or `?`, or a panic. In an `async fn`, everything that it
/// awaits; a future that is dropped half-way releases the lock in the background. What the function
/// *returns* does not: an iterator that still reads what was locked is read without the lock. A function
/// that returns a future instead of being an `async fn` is refused; so is what `#[async_trait]` makes of an
/// `async fn`, where the lock is taken inside, with `tenure::aio::Lock`.
///
/// A function that calls itself under the same name waits for ever, or fails with `blocking = false`:
/// locks are not re-entrant.
///
/// The attribute stands before functions and methods with a body, but not before a `const fn`, an
/// `unsafe fn` or an `extern fn`.
#[proc_macro_attribute]
pub fn lock(arguments: TokenStream, item: TokenStream) -> TokenStream {
    const OPTIONS: &[&str] = &["on", "blocking", "wait", "ttl", "label", "held", "crate"];
    let parse =
        |input: ParseStream<'_>| Ok((LockName::parse(input)?, Options::parse(input, "`#[lock]`", OPTIONS)?));
    attribute(item, |function| {
        let (name, options) = parse.parse(arguments)?;
        function.check()?;
        let name = name.expand(function, &options)?;
        Ok(function.wrapped(&name, &options))
    })
}

/// Replaces a function; one that cannot be replaced stays as it is, so that nothing but that is reported.
fn attribute(
    item: TokenStream,
    expand: impl FnOnce(&Function) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    match syn::parse(item.clone()).and_then(|function| expand(&function)) {
        Ok(wrapped) => wrapped.into(),
        Err(error) => {
            let (error, item) = (error.into_compile_error(), proc_macro2::TokenStream::from(item));
            quote::quote!(#error #[allow(unused)] #item).into()
        }
    }
}

/// Makes the records of a struct lockable.
///
/// ```
/// use tenure::{Lockable, Name};
///
/// #[derive(Lockable)]
/// #[lockable(model = "shop.order", key = id)]
/// struct Order { id: i64, total: i64 }
///
/// #[derive(Lockable)]
/// #[lockable(model = "shop.item")]
/// struct Item {
///     #[lockable(key)]
///     order: i64,
///     #[lockable(key)]
///     line: u32,
///     text: String,
/// }
///
/// assert_eq!(Order::MODEL, "shop.order");
/// let item = Item { order: 7, line: 2, text: "tea".into() };
/// assert_eq!(Name::of(&item)?.as_str(), "shop.item:pk:7:2");
/// # let _ = (Order { id: 1, total: 1 }.total, item.text);
/// # Ok::<(), tenure::Error>(())
/// ```
///
/// `model` is what no other kind of record is called; two programs that mean the same records must give
/// them the same model. The key is named at the struct, `key = id` or `key = (order, line)`, or marked at
/// its fields, in the order of the fields. It is cloned to make a name.
///
/// A key must be a `KeyPart`: a number, `bool`, `char`, text, or an `Option` of these. One that is not but
/// has `Display`, such as a UUID, is marked `#[lockable(key, display)]`.
///
/// # Records of diesel
///
/// What diesel's attributes say need not be said again: the model is the table's name, without its module
/// or schema, and the key is the primary key, which is `id` if nothing else is said.
///
/// ```
/// # use tenure::{Lockable, Name};
/// #[derive(Lockable)] // and Identifiable, Queryable, ..
/// #[diesel(table_name = order_lines, primary_key(order_id, line))]
/// struct Line {
///     order_id: i64,
///     #[diesel(column_name = line)]
///     number: i32,
/// }
///
/// assert_eq!(Name::of(&Line { order_id: 7, number: 2 })?.as_str(), "order_lines:pk:7:2");
/// # Ok::<(), tenure::Error>(())
/// ```
///
/// Two databases that share a store of locks may each have a table of that name: give the model then.
#[proc_macro_derive(Lockable, attributes(lockable, diesel))]
pub fn lockable(input: TokenStream) -> TokenStream {
    let derived = syn::parse(input).and_then(|input| derive::expand(&input));
    derived.unwrap_or_else(syn::Error::into_compile_error).into()
}
