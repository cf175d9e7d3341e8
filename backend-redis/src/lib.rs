//! Locks in Redis or Valkey, for the processes of many hosts.
//!
//! [`Redis`] is the store for threads, on a pool of connections; [`AsyncRedis`] (feature `async`) the
//! one for tasks, on one connection that all of them share. Both keep the same keys, so threads, tasks
//! and the command line exclude each other.
//!
//! ```no_run
//! use tenure_core::Lock;
//! use tenure_redis::Redis;
//!
//! let redis = Redis::connect("redis://127.0.0.1/")?;
//! let held = Lock::new(&redis, "nightly report").try_acquire()?;
//! // … alone on all hosts …
//! held.release()?;
//! # Ok::<(), tenure_core::Error>(())
//! ```
//!
//! # How it works
//!
//! Acquiring, renewing and releasing are one round trip each, as soon as the server knows the scripts: it
//! carries one out in one step. A lock's key holds the owner's token and expires with the lease; the key of
//! its fence, in the same slot, remembers the last fence for a day after the last use at least. A fence is the server's time in
//! microseconds, or one more than the last, whichever is larger. So it goes on growing when the data is
//! lost, unless the server's clock is then behind the last fence.
//!
//! A lock that is held alone is a string; one that is shared, or of which there are permits, is a sorted
//! set of tokens by the ends of their leases. Other libraries that take locks by `SET key value NX` are
//! excluded by both, and exclude both.
//!
//! Who waits is told by the server (`CLIENT TRACKING`, Redis 6 and later) as soon as a key changes,
//! whoever changes it: threads through one connection for all waiters of the process, tasks on the one that
//! they share. Older servers, and proxies that hide this, are served by a channel to which each release is
//! published ([`Wake::Channel`]). Either way a waiter looks again by itself, at the latest a fifth later than
//! [`recheck`](tenure_core::Settings::recheck). A connection that has heard nothing for ten seconds asks
//! whether the server is there, and is replaced if there is no answer; that of tasks when a request on it
//! goes unanswered.
//!
//! [`fair`](Builder::fair) locks have a queue at the server instead. A process stands in it once for all of
//! its waiters, from its first attempt on; whoever releases the lock makes the first in the queue its owner
//! in the same step, unless a [guard](Builder::restart_guard) keeps locks closed, and tells that process,
//! which begins to work at once. Readers and those who want permits
//! stand in the same queue, so nobody overtakes. A place that shows no sign of life for three times `recheck`
//! is passed over.
//!
//! [`Quorum`] is the store over several independent servers, for when locks must go on while one of them is
//! down.
//!
//! # What it guarantees
//!
//! *Exclusive* as long as the server keeps what it answered: one server that does not crash, or crashes
//! with `appendonly yes` and `appendfsync always`. *Fence-only* otherwise: a server that forgets, a
//! fail-over to a replica that had not yet heard, an evicted key or a clock that jumps ahead by the length
//! of a lease can grant a lock twice, and then only a comparison of fences at the resource keeps the first
//! holder's writes out. A [guard](Builder::restart_guard) that keeps locks closed after each start of the
//! server makes one that forgets exclusive again. [`diagnose`](tenure_core::Backend::diagnose) and
//! `tenure status` tell which of these can happen on the server as it is set up. `FAULTS.md` in this crate's
//! repository has a table of what holds under which fault, which its tests read.
//!
//! # More than one server
//!
//! **A cluster** (`redis+cluster://host,host`) is found through any of the nodes that the URL names. Each
//! lock lies at the master of its key's slot, with all that belongs to it; requests go there on a pool of
//! that node, or on one connection of it for tasks, and renewals that are due go out in one pipeline to
//! each node. Moved slots are followed; while a slot is on its way from one node to another, a lock of which
//! some keys are here and some there is `Unavailable`, after the time that an answer may take. Waiters listen at the masters of the locks that
//! they wait for: one connection to each.
//!
//! **Sentinels** (`redis+sentinel://host,host/master`) are asked who is master before each connection, and
//! what they name is asked whether it is one; if it is none, the next sentinel is asked. As soon as it is another, or a connection was silent, no
//! connection from before is used again. The credentials of the URL are for the master; a sentinel gets
//! them if it asks for some.
//!
//! A fail-over takes as long as the servers take to agree on it; meanwhile requests are `Unavailable`.
//! When another master has been found, what the old one granted is
//! [`Unknown`](tenure_core::Status::Unknown) until the next renewal, which is at once for what is kept
//! alive, and then held or lost. A master that was cut off serves those who still reach it until it
//! notices, and its replica may not have heard of the latest locks: a lock can be granted twice then, and
//! only fences tell. [`Builder::replicas`] demands that replicas acknowledge each grant and each renewal,
//! which makes that rarer and does not prevent it.
//!
//! In a cluster and with sentinels a request may take a few times the limits, where it is sent on from one
//! server to another. There [`AsyncRedis`] needs servers that know RESP3, as those since Redis 6 do.
//!
//! # What to know
//!
//! * A request takes at most the builder's time limits, 2 s each by default; then it is `Unavailable` and
//!   its connection is thrown away, so that no late answer is taken for another's. Connections that died
//!   with a restarted server are found out and replaced without an error.
//! * A user who may do no more than locks need, with the prefix of the settings in place of `lock:`, and
//!   `+select` for another database than 0:
//!
//!   ```text
//!   ACL SETUSER locks on >PASSWORD ~lock:* ~~* &~* &__redis__:invalidate +@string +@hash +@sortedset
//!       +del +exists +type +pexpire +pexpireat +pttl +scan +time +eval +evalsha +publish +subscribe
//!       +unsubscribe +punsubscribe +ping +info +command|info +config|get
//!       +client|id +client|tracking +client|caching
//!   ```
//!
//!   Beside that a cluster needs `+cluster|slots +asking`, a master that sentinels watch over `+role`, and
//!   [`Builder::replicas`] `+wait`. Sentinels that have users ask for `+sentinel|get-master-addr-by-name`.
//! * A URL's user and password are written with `%` and two hexadecimal digits where they have characters
//!   that mean something in URLs. A socket's are options: `redis+unix:///path?user=..&pass=..&db=..`.
//! * Options of a URL are `profile`, `fair`, `guard` and `wake`, of any kind of URL. One that is unknown is an
//!   error, and what a builder was told comes before it.
//! * Where the server can compare and delete in one command, most releases are that command, if the user
//!   may use it (`DELIFEQ` or `DELEX`).
//! * A name that others use as a key of another kind counts as held.
//! * Locks have a lease; there are no [session](tenure_core::SessionLocks) locks.
//!
//! # What goes together
//!
//! What cannot keep all that it promises is refused with `Misconfigured`, before anybody is connected to. A *pool*
//! is one of the package `r2d2_redis`.
//!
#![doc = include_str!("together.md")]
#![forbid(unsafe_code)]

mod acks;
#[cfg(feature = "async")]
mod aio;
mod backend;
mod choice;
mod cluster;
mod config;
mod diagnose;
mod dial;
mod ear;
#[cfg(feature = "async")]
mod ears;
mod fair;
mod inspect;
mod keys;
#[cfg(feature = "r2d2_redis")]
mod lent;
#[cfg(feature = "async")]
mod link;
mod listener;
mod listeners;
#[cfg(feature = "async")]
mod net;
mod places;
mod plan;
mod pool;
mod profile;
mod quick;
mod quorum;
mod resp;
mod script;
mod sentinel;
mod several;
mod tls;
mod together;
mod url;
mod waited;
mod wire;

#[cfg(feature = "async")]
pub use aio::AsyncRedis;
pub use backend::Redis;
pub use config::{Builder, Wake};
#[cfg(feature = "r2d2_redis")]
pub use lent::PoolBuilder;
pub use profile::Profile;
pub use quorum::{Quorum, QuorumBuilder, QuorumGrant};
