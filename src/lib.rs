#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __macros;
pub mod aio;
#[cfg(feature = "macros")]
pub mod model;
pub mod prelude;
mod url;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use tenure_db as db;
#[cfg(any(feature = "sqlite", feature = "postgres-async", feature = "mysql-async"))]
pub use tenure_db::AsyncDb;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use tenure_db::Db;
#[cfg(feature = "fs")]
pub use tenure_fs as fs;
#[cfg(feature = "fs")]
pub use tenure_fs::Files;
#[cfg(feature = "locmem")]
pub use tenure_locmem::LocMem;
#[cfg(feature = "macros")]
#[doc(inline)]
pub use tenure_macros::{Lockable, lock, lock_model_attribute as lock_model};
#[cfg(feature = "memcached")]
pub use tenure_memcached as memcached;
#[cfg(feature = "memcached-async")]
pub use tenure_memcached::AsyncMemcached;
#[cfg(feature = "memcached")]
pub use tenure_memcached::Memcached;
#[cfg(feature = "redis")]
pub use tenure_redis as redis;
#[cfg(feature = "redis-async")]
pub use tenure_redis::AsyncRedis;
#[cfg(feature = "redis")]
pub use tenure_redis::{Quorum, Redis};

pub use tenure_core::*;

/// Opens the store that a URL names, with the settings of the environment
/// ([`Settings::from_env`]).
///
/// | URL | store |
/// |---|---|
/// | `file:` | lock files in the user's own state folder |
/// | `file:///var/lib/locks`, `file:locks` | lock files in that folder, made if need be |
/// | `mem:` | the memory of this process, for tests |
/// | `redis://[[user]:password@]host[:port][/database]` | a Redis or Valkey server (feature `redis`) |
/// | `rediss://..` | the same through TLS |
/// | `redis+unix:///path` | the same through a socket of this host |
/// | `redis+cluster://[[user]:password@]host[:port][,host[:port]..]` | a cluster, of which one node that lives is enough; `rediss+cluster:` through TLS |
/// | `redis+sentinel://[[user]:password@]host[:port][,host[:port]..]/master[/database]` | the master that sentinels name; `rediss+sentinel:` through TLS |
/// | `redis+quorum://[[user]:password@]host[:port],host[:port],host[:port][/database]` | a majority of independent servers; `rediss+quorum:` through TLS |
/// | `memcache://host[:port][,host[:port]..]` | one or several memcacheds, each with a part of the locks (feature `memcached`) |
/// | `sqlite:locks.db`, `sqlite:///var/lib/app.db` | a table in a SQLite file (feature `sqlite`) |
/// | `postgres://[user[:password]@]host[:port]/database` | a table in PostgreSQL (feature `postgres`) |
/// | `mysql://[user[:password]@]host[:port]/database` | a table in MariaDB or MySQL (feature `mysql`) |
///
/// Options of a store in Redis stand behind a `?`: `fair=1`, `guard=1`, `wake=channel`, and for a socket `user`,
/// `pass` and `db`. With `?profile=plain` or `?profile=django` a lock excludes those of other libraries; see
#[cfg_attr(feature = "redis", doc = "[`redis::Profile`]")]
#[cfg_attr(not(feature = "redis"), doc = "`redis::Profile`")]
/// (feature `redis`). `rediss:` needs the feature `redis-tls`. `memcache:` has the options `profile=django`,
/// `placement` and `quarantine=off`; see
#[cfg_attr(feature = "memcached", doc = "[`memcached`].")]
#[cfg_attr(not(feature = "memcached"), doc = "the crate `tenure-memcached`.")]
///
/// A `%` in a path stands before two hexadecimal digits, as in any URL: `%20` is a space.
///
/// # Errors
///
/// `Misconfigured` for a URL that names no store of this build, and as the store says: a folder that
/// is not safe to use, a network file system. `Unavailable` if the store cannot be reached.
pub fn connect(url: &str) -> Result<AnyBackend> {
    connect_with(url, Settings::from_env()?)
}

/// Opens the store that a URL names, with settings of the caller.
///
/// # Errors
///
/// As [`connect`].
#[allow(unused_variables, reason = "a build without any store has nothing to give them to")]
pub fn connect_with(url: &str, settings: Settings) -> Result<AnyBackend> {
    match url::parse(url)? {
        #[cfg(feature = "fs")]
        url::Store::Files => Ok(Files::connect(url, settings)?.into()),
        #[cfg(feature = "locmem")]
        url::Store::LocMem => Ok(LocMem::with_settings(settings).into()),
        #[cfg(feature = "redis")]
        url::Store::Redis => Ok(Redis::builder(url).settings(settings).connect()?.into()),
        #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
        url::Store::Db => Ok(Db::builder(url).settings(settings).connect()?.into()),
        #[cfg(feature = "redis")]
        url::Store::Quorum => Ok(Quorum::url(url)?.settings(settings).connect()?.into()),
        #[cfg(feature = "memcached")]
        url::Store::Memcached => Ok(Memcached::builder(url).settings(settings).connect()?.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_no_store_says_which_there_are_and_shows_no_password() {
        let no_schemes =
            ["nonsense", "/var/a:b", "//secret@host:6379", "redis//secret@host:6379/", "://secret@"];
        let unknown = ["etcd://me:secret@host/", "mem:x", "file://host/secret"];
        for url in no_schemes.into_iter().chain(unknown) {
            let error = connect_with(url, Settings::default()).unwrap_err();
            assert!(error.is_misconfigured(), "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[cfg(feature = "locmem")]
    #[test]
    fn memory_is_a_store() {
        let store = connect_with("mem:", Settings::default()).unwrap();
        Lock::new(&store, "x").try_acquire().unwrap().release().unwrap();
    }
}
