//! Locks in a database: SQLite, PostgreSQL, MariaDB or MySQL, beside the tables of any application.
//!
//! [`Db`] is the store. It needs a table, which it makes, and connections of its own; the connections and the
//! transactions of the application are never touched.
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use tenure_core::Lock;
//! use tenure_db::Db;
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let url = format!("sqlite:{}", folder.path().join("app.db").display());
//! let db = Db::connect(&url)?;       // "sqlite:app.db", "postgres://host/app", "mysql://host/app"
//! let held = Lock::new(&db, "nightly report").try_acquire()?;
//! // … alone among all who use the database …
//! held.release()?;
//! # }
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! # How it works
//!
//! Each name is a row: the owner's token, the end of the lease by the server's clock in microseconds, and the
//! last fence. Each request is one statement in a transaction of its own, which decides in the database and
//! is right whatever else happens at the same time. An acquisition is two on MySQL, which returns nothing of what
//! it updates, and for threads on MariaDB, which does not say that it will when a statement is prepared; tasks need
//! one there, and MariaDB 10.5 or later. No statement fails because a lock is taken, so nothing is aborted, and the
//! server's log stays empty. Many renewals that are due are one statement.
//!
//! A fence is the clock in microseconds, or one more than the last, whichever is larger. Names unused for a day
//! are [forgotten](Db::forget_unused), and the highest fence among them is not.
//!
//! Who waits is told when a lock may be free:
//!
//! | database | how |
//! |---|---|
//! | SQLite | by a file beside the database, `..-wake`, that waiters watch with inotify |
//! | PostgreSQL | by `NOTIFY` in the statement that releases, if somebody is known to wait; one connection listens for all waiters of a process |
//! | MariaDB, MySQL | by a named lock (`GET_LOCK`) that the holder has and the first of those who wait waits for, in the order in which they came; one connection for each name that a process waits for, 64 at most |
//!
//! Either way a waiter looks again after [`recheck`](tenure_core::Settings::recheck) at the latest. The first to
//! wait for a lock of MariaDB or MySQL that nobody waited for before asks at growing intervals, up to
//! [`sleep`](tenure_core::Settings::sleep), until the holder asks for the lock next or renews it.
//!
//! # What it guarantees
//!
//! *Exclusive* as long as the database keeps what it answered, which it does by default: a crash of the server
//! loses no grant. Releases of PostgreSQL need not be on disk (`synchronous_commit = off` for them alone): a
//! crash that forgets one costs the rest of the lease.
//!
//! | setting | what a crash does | remedy |
//! |---|---|---|
//! | PostgreSQL `synchronous_commit = off`, MariaDB and MySQL `innodb_flush_log_at_trx_commit = 0` | forgets the grants of the last second, which can be given again | [`restart_guard`](Builder::restart_guard) |
//! | `innodb_flush_log_at_trx_commit = 2` | the same, if the machine crashes | the same |
//! | PostgreSQL, an `UNLOGGED` table | forgets all grants | the same |
//! | PostgreSQL `fsync = off` | can damage the database, if the machine crashes | none |
//! | SQLite `synchronous = NORMAL`, as this crate sets it for files in WAL mode | nothing: a reboot voids all grants | none is needed |
//!
//! With these, and over a fail-over to a replica that was behind, it is *fence-only*: a lock can be granted
//! twice, and only a comparison of fences at the resource keeps the first holder's writes out, which a [`Gate`]
//! makes. [`diagnose`](tenure_core::Backend::diagnose) and `tenure status` tell which of these can happen;
//! [`Db::durable`] refuses them.
//!
//! SQLite's leases are judged by the clock of the host, which runs on while it sleeps and cannot be set, and
//! end with its boot. The file must be on a file system of the host. Open the store after forking: SQLite remembers
//! in the process which files it has locked, a forked child has a copy of that, and its parent's locks it has not;
//! a store that was opened before is refused there as `Misconfigured`.
//!
//! # Beside an application
//!
//! * Isolation levels, time zones, modes and time limits of the server's defaults do not matter: each
//!   connection of ours sets its own. Serialization failures and deadlocks are repeated.
//! * A transaction that keeps a lock's row, or the table, locked makes requests `Unavailable` within
//!   [`io_timeout`](Builder::io_timeout), never busy. So does whoever writes to a SQLite file for longer than
//!   that: do not ask for a lock from inside of a writing transaction on the same file.
//! * A server that is down or silent is `Unavailable` in time. The client libraries would wait for ever; on Linux
//!   this crate finds their sockets and hangs up.
//! * Behind a pooler that changes connections between transactions, such as pgbouncer, each request is a
//!   transaction of several statements, and waiters ask now and then. It is noticed by itself.
//! * URLs with `sslmode` above `prefer` encrypt requests, but nobody listens there: waiters ask now and then.
//! * Keys are compared byte by byte. Those longer than 255 bytes are found by their SHA-256, stand whole
//!   beside it, and are compared.
//! * Locks that readers share, and permits, are rows of their own beside the lock's. Taking and ending one is a
//!   transaction of several statements. A reader does not come in while somebody is known to wait to have the lock
//!   alone. Who waits for a share of MariaDB or MySQL is not told by a named lock, and asks at growing intervals, up
//!   to [`sleep`](tenure_core::Settings::sleep).
//! * Locks have a lease; there are no [session](tenure_core::SessionLocks) locks in rows.
//!
//! # Tables
//!
//! [`tenure_lock`](Builder::table) holds the locks, `tenure_lock_meta` the version of the tables,
//! `tenure_lock_guard` (not in SQLite) what a crash empties, and `tenure_lock_share` readers and those who have
//! permits. [`Db::migrate`] makes them, and so does opening a store unless it is told [not to](Builder::migrate).
//! They are also in `migrations/` of this crate's repository, for `diesel migration`, and as plain SQL from
//! [`schema_sql`]. A user needs SELECT, INSERT, UPDATE and DELETE on them. Tables of a newer version than this
//! library knows are refused.
//!
//! # Building
//!
//! Feature `sqlite` brings SQLite itself and needs a C compiler. Features `postgres` and `mysql` need the client
//! libraries of the system (Debian: `libpq-dev`, `libmariadb-dev`). With `postgres-bundled` and `mysql-bundled` they
//! are compiled from their sources, into the program; that takes minutes and `libssl-dev`, for MySQL `cmake` and a
//! C++ compiler too. What is compiled is PostgreSQL's libpq, and Oracle's client of MySQL, which is under the GPL
//! with its "Universal FOSS Exception": see whether that suits what you distribute.

#![forbid(unsafe_code)]

#[cfg(any(feature = "sqlite", feature = "async"))]
mod aio;
mod answer;
mod backend;
mod batch;
mod boot;
mod collect;
mod config;
mod course;
mod diagnose;
mod dialect;
mod durable;
mod failure;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod foreign;
mod gate;
mod hangup;
mod inspect;
mod key;
mod link;
mod lock_in;
mod pool;
mod reload;
mod renew;
mod schema;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod session;
mod statement;
mod table;
mod url;
mod wake;

#[cfg(any(feature = "sqlite", feature = "async"))]
pub use aio::AsyncDb;
pub use backend::Db;
pub use config::Builder;
pub use durable::Durable;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub use foreign::{ForeignLocks, ForeignTable};
pub use gate::Gate;
pub use lock_in::{Borrowed, LockIn};
pub use reload::{Reload, ReloadError};
pub use schema::schema_sql;
#[cfg(all(feature = "async", any(feature = "postgres", feature = "mysql")))]
pub use session::AsyncSessions;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub use session::{SessionGrant, Sessions, SessionsBuilder};
