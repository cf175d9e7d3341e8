//! Locks for asynchronous code.

pub use tenure_core::aio::*;
#[cfg(feature = "macros")]
#[doc(inline)]
pub use tenure_macros::aio_lock_model as lock_model;

use crate::{Result, Settings};

/// Opens the store that a URL names, for asynchronous code, with the settings of the environment.
///
/// The URLs are those of [`tenure::connect`](crate::connect).
///
/// # Errors
///
/// As [`tenure::connect`](crate::connect).
///
/// # Cancel safety
///
/// Dropped half-way, it has opened nothing that stays open.
pub async fn connect(url: &str) -> Result<AnyBackend> {
    connect_with(url, Settings::from_env()?).await
}

/// Opens the store that a URL names, for asynchronous code, with settings of the caller.
///
/// # Errors
///
/// As [`tenure::connect`](crate::connect).
///
/// # Cancel safety
///
/// As [`connect`].
#[allow(unused_variables, reason = "a build without any store has nothing to give them to")]
pub async fn connect_with(url: &str, settings: Settings) -> Result<AnyBackend> {
    match crate::url::parse(url)? {
        #[cfg(feature = "fs")]
        crate::url::Store::Files => crate::Files::connect(url, settings).map(Into::into),
        #[cfg(feature = "locmem")]
        crate::url::Store::LocMem => Ok(crate::LocMem::with_settings(settings).into()),
        #[cfg(any(feature = "sqlite", feature = "postgres-async", feature = "mysql-async"))]
        crate::url::Store::Db => Ok(crate::Db::builder(url).settings(settings).connect_async().await?.into()),
        #[cfg(all(
            any(feature = "postgres", feature = "mysql"),
            not(any(feature = "sqlite", feature = "postgres-async", feature = "mysql-async"))
        ))]
        crate::url::Store::Db => Err(crate::Error::misconfigured(
            "this build speaks to databases from threads alone; add the feature `postgres-async` or `mysql-async` \
             of tenure",
        )),
        #[cfg(feature = "redis")]
        crate::url::Store::Quorum => {
            Ok(crate::Quorum::url(url)?.settings(settings).connect_async().await?.into())
        }
        #[cfg(feature = "redis-async")]
        crate::url::Store::Redis => {
            Ok(crate::Redis::builder(url).settings(settings).connect_async().await?.into())
        }
        #[cfg(all(feature = "redis", not(feature = "redis-async")))]
        crate::url::Store::Redis => Err(crate::Error::misconfigured(
            "this build speaks to Redis from threads alone; add the feature `redis-async` of tenure",
        )),
        #[cfg(feature = "memcached-async")]
        crate::url::Store::Memcached => {
            Ok(crate::Memcached::builder(url).settings(settings).connect_async().await?.into())
        }
        #[cfg(all(feature = "memcached", not(feature = "memcached-async")))]
        crate::url::Store::Memcached => Err(crate::Error::misconfigured(
            "this build speaks to memcached from threads alone; add the feature `memcached-async` of tenure",
        )),
    }
}
