//! Which store a URL names.

use crate::{Error, Result};

/// The stores of this build.
pub(crate) enum Store {
    #[cfg(feature = "fs")]
    Files,
    #[cfg(feature = "locmem")]
    LocMem,
}

/// Tells by the scheme. A URL may hold a password, so nothing but its scheme is ever repeated.
///
/// # Errors
///
/// `Misconfigured` if this build has no such store.
pub(crate) fn parse(url: &str) -> Result<Store> {
    let Some((scheme, rest)) = url.split_once(':') else {
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
        ("mem", _) => Err(Error::misconfigured("\"mem:\" is the whole URL of a store in memory")),
        _ => Err(Error::misconfigured(format!(
            "this build knows no store {:?}; it knows {}",
            format!("{scheme}:"),
            SCHEMES.join(", ")
        ))),
    }
}

/// The schemes of this build.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "fs")]
    "file:",
    #[cfg(feature = "locmem")]
    "mem:",
];
