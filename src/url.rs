//! Which store a URL names.

use crate::{Error, Result};

/// The stores of this build.
pub(crate) enum Store {
    #[cfg(feature = "fs")]
    Files,
    #[cfg(feature = "locmem")]
    LocMem,
    #[cfg(feature = "redis")]
    Redis,
    #[cfg(feature = "redis")]
    Quorum,
    #[cfg(feature = "memcached")]
    Memcached,
}

/// Tells by the scheme. A URL may hold a password, so nothing but its scheme is ever repeated.
///
/// # Errors
///
/// `Misconfigured` if this build has no such store.
pub(crate) fn parse(url: &str) -> Result<Store> {
    let parts = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme));
    let Some((scheme, rest)) = parts else {
        return Err(Error::misconfigured(format!(
            "a store is named by a URL such as \"file:///var/lib/locks\"; this one has no scheme{}",
            if url.starts_with(['/', '.']) { "; put \"file:\" before a path" } else { "" }
        )));
    };
    match (scheme, rest) {
        #[cfg(feature = "fs")]
        ("file", _) => Ok(Store::Files),
        #[cfg(feature = "locmem")]
        ("mem", "") => Ok(Store::LocMem),
        #[cfg(feature = "redis")]
        (
            "redis" | "rediss" | "redis+unix" | "redis+cluster" | "rediss+cluster" | "redis+sentinel"
            | "rediss+sentinel",
            _,
        ) => Ok(Store::Redis),
        #[cfg(feature = "redis")]
        ("redis+quorum", _) => Ok(Store::Quorum),
        #[cfg(feature = "memcached")]
        ("memcache", _) => Ok(Store::Memcached),
        ("mem", _) => Err(Error::misconfigured("\"mem:\" is the whole URL of a store in memory")),
        _ => Err(Error::misconfigured(format!(
            "this build knows no store {:?}; it knows {}",
            format!("{scheme}:"),
            SCHEMES.join(", ")
        ))),
    }
}

/// Whether this is a scheme as RFC 3986 has it; anything else before a `:` may be half a password.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The schemes of this build.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "fs")]
    "file:",
    #[cfg(feature = "locmem")]
    "mem:",
    #[cfg(feature = "redis")]
    "redis:",
    #[cfg(feature = "redis")]
    "rediss:",
    #[cfg(feature = "redis")]
    "redis+unix:",
    #[cfg(feature = "redis")]
    "redis+cluster:",
    #[cfg(feature = "redis")]
    "rediss+cluster:",
    #[cfg(feature = "redis")]
    "redis+sentinel:",
    #[cfg(feature = "redis")]
    "rediss+sentinel:",
    #[cfg(feature = "redis")]
    "redis+quorum:",
    #[cfg(feature = "memcached")]
    "memcache:",
];

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::prelude::*;

    fn urls() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,20}",
            "[a-z+.:/@ -]{0,5}(//)[a-z]{0,3}:?hunter2[a-z:]{0,3}@\\PC{0,9}",
            "(rediss?(\\+cluster|\\+sentinel)?|redis\\+quorum|postgres|memcache|mem|sqlite|MEM)(:|://|//)([a-z]{0,2}:)?hunter2@[a-z]{0,5}(:[0-9]{1,4})?",
            "(file|mem):\\PC{0,9}",
        ]
    }

    proptest! {
        #[test]
        fn any_text_names_a_store_or_is_refused_without_a_password(url in urls()) {
            match parse(&url) {
                #[cfg(feature = "fs")]
                Ok(Store::Files) => prop_assert!(url.starts_with("file:")),
                #[cfg(feature = "locmem")]
                Ok(Store::LocMem) => prop_assert_eq!(url, "mem:"),
                #[cfg(feature = "redis")]
                Ok(Store::Redis) => prop_assert!(url.starts_with("redis")),
                #[cfg(feature = "redis")]
                Ok(Store::Quorum) => prop_assert!(url.starts_with("redis+quorum:")),
                #[cfg(feature = "memcached")]
                Ok(Store::Memcached) => prop_assert!(url.starts_with("memcache:")),
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    prop_assert!(error.is_misconfigured() && !shown.contains("hunter2"), "{url}: {shown}");
                }
            }
        }
    }
}
