//! Locks in memcached, for the processes of many hosts.
//!
//! [`Memcached`] is the store for threads, on a pool of connections; [`AsyncMemcached`] (feature `async`) the
//! one for tasks, on one connection that all of them share. Both keep the same keys, so threads, tasks and
//! the command line exclude each other.
//!
//! ```no_run
//! use tenure_core::Lock;
//! use tenure_memcached::Memcached;
//!
//! let cache = Memcached::connect("memcache://127.0.0.1:11211")?;
//! let held = Lock::new(&cache, "nightly report").try_acquire()?;
//! // … alone on all hosts …
//! held.release()?;
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! # A lock that saves work
//!
//! memcached is a cache. It may forget what it was given: when it is restarted, when it is flushed, and when it
//! needs the memory. A lock in it is for efficiency, as a report that should not be made twice at once, and not
//! for correctness; where a second holder would do damage, compare [fences](tenure_core::Fence) at the place
//! where the damage would be done, or use a store that forgets nothing.
//!
//! # How it works
//!
//! Acquiring, being denied, renewing and releasing are one round trip each. A lock's value tells its owner, its
//! lifetime, its fence and its label; every change of it is made on the condition that its CAS number, by which
//! the server tells any two values apart, is still the one that was read. So a release deletes the value that
//! was meant, or nothing. A server that is started anew counts from the beginning; so a number is said only on a
//! connection that is older than it, and what it stands for is looked at again where there is none.
//!
//! Writes are the `add` and `cas` of the text protocol and not the meta command `ms`: on a server that has no
//! memory left, `ms` deletes the value that is there, even when it was told to store only where there is none,
//! and so whoever asks in vain for a lock would free it (seen on memcached 1.6.18). Reads and deletions are
//! meta commands.
//!
//! **Leases.** The server counts whole seconds, from any part of one, so it is told to keep a value for four more
//! than its lease, rounded up: one for the fraction, three for a server that stands still meanwhile, whose
//! clock then is behind. A lease ends when asked nevertheless: whoever has looked at one and the same value
//! for as long as its lease lasts knows that it was not renewed, and replaces it. No clocks need to agree for
//! that. Who has not looked before waits as long, or until the server deletes the value.
//!
//! **Fences.** The server numbers all changes of all values. A fence is the epoch, in microseconds since 1970, that
//! lies under the key `~tenure` since the server was started or emptied, and the number of changes since then.
//! It does not change with renewals. It goes back only if a server is started with its host's clock behind,
//! or after more than a million changes in every second of its life, or if the list of servers is
//! changed, which moves locks from one to another. It is on no disk
//! ([`DurableFence`](tenure_core::DurableFence) is not implemented).
//!
//! **Waiting.** The server cannot notify. One thread, or one task, looks for all waiters of a process: first after
//! some round trips, then in pauses that are half as long again each, up to an eighth of how long the lock is
//! usually held and at most 50 ms, each by up to a half shorter or longer at random. A waiter for a lock that is
//! held for long costs the server some 22 requests a second, and so do 64 of one process. A lock that is held for
//! 1, 10, 60 or 260 ms was handed on after 0.6, 1.7, 6 or 16 ms (medians of 828, 230, 44 and 14; 4, 6, 15 and 42 ms at the 99th percentile;
//! `cargo bench --package tenure-bench-memcached -- handoff waiting`). Processes that wait leave a mark, and one
//! that gets a lock again and again steps back for them.
//!
//! # What it guarantees
//!
//! *Exclusive* as long as the server evicts nothing and stands still for no more than three seconds. *Fence-only*
//! otherwise: then a lock can be granted twice, and only a comparison of fences at the resource keeps the
//! first holder's writes out. What is in between:
//!
//! | what happens | what holds |
//! |---|---|
//! | the server is killed and started anew, or flushed | exclusive: it grants nothing until the longest lease (`max_ttl`) is over; fence-only with [`without_quarantine`](Builder::without_quarantine) |
//! | the server evicts the key `~tenure` | exclusive: as after a flush; held locks stay held |
//! | the server evicts a lock | fence-only: its holder finds out with its next renewal |
//! | a server with `-M` is full | exclusive: new locks are `Unavailable`; what is held stays so until its lease ends, and is renewed as soon as there is memory |
//! | a connection is cut, an answer is lost | exclusive: the same claim asks again and gets the true answer |
//! | the server's clock, or a client's, is set | exclusive: leases are counted by clocks that cannot be set |
//!
//! `stats reset` hides from a process that comes new whether the server was flushed or evicted anything.
//! [`diagnose`](tenure_core::Backend::diagnose) and `tenure status` tell which of these can happen on the servers
//! as they are set up: best is a memcached for locks alone, started with `-M`.
//!
//! # What to know
//!
//! * `memcache://host[:port][,host[:port]..]`, port 11211 unless it says another. With several servers each lock
//!   lies on one of them ([`Placement`]); all who share the locks must name the same servers in the same words.
//!   A lock is never looked for on another server than its own, so one that is down takes its locks with it.
//! * TCP only: no TLS, no passwords, no sockets of the host. Anybody who reaches the server can break locks.
//! * memcached 1.6.18 or later, without `-C`; others are refused when the store is opened. No proxy that keeps its
//!   clients' connections when the server behind it is restarted.
//! * A host name must be that of one server; one with several addresses is refused.
//! * The longest lease is 30 days less four seconds.
//! * A request takes at most the builder's time limits, 2 s each by default; then it is `Unavailable` and
//!   its connection is thrown away, so that no late answer is taken for another's. Connections that died with a
//!   restarted server are found out and replaced without an error.
//! * A key that memcached does not take is shortened to a part of it and its SHA-256, and the whole one is kept in
//!   the value and compared. Keys that begin with `~` are this library's.
//! * [Listing](tenure_core::Inspect::list) walks through all keys of the servers, whosever they are.
//! * How much longer a lease lasts is told from outside by the wall clocks of holder and observer, corrected by
//!   the server's seconds: wrong clocks make it wrong by up to two seconds. Nothing is decided by that.
//! * There are no shared locks and no permits, which would need several values that change at once, and no
//!   [session](tenure_core::SessionLocks) locks.
//! * [`Profile`] excludes the locks of django-cache-lock.

#![forbid(unsafe_code)]

#[cfg(feature = "async")]
mod aio;
mod backend;
mod config;
mod diagnose;
mod dialect;
mod guard;
mod inspect;
#[cfg(feature = "async")]
mod link;
mod lookout;
mod pace;
mod placement;
mod pool;
mod profile;
mod record;
mod seen;
mod stats;
mod talk;
mod url;
mod wire;

#[cfg(feature = "async")]
pub use aio::AsyncMemcached;
pub use backend::Memcached;
pub use config::Builder;
pub use placement::Placement;
pub use profile::Profile;
pub use talk::Grant;
