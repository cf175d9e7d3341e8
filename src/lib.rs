#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "fs")]
pub use tenure_fs as fs;
#[cfg(feature = "fs")]
pub use tenure_fs::Files;
#[cfg(feature = "locmem")]
pub use tenure_locmem::LocMem;

pub use tenure_core::*;

/// Opens the store that a URL names, with the settings of the environment
/// ([`Settings::from_env`]).
///
/// | URL | store |
/// |---|---|
/// | `file:` | lock files in the user's own state folder |
/// | `file:///var/lib/locks`, `file:locks` | lock files in that folder, made if need be |
/// | `mem:` | the memory of this process, for tests |
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
pub fn connect_with(url: &str, settings: Settings) -> Result<AnyBackend> {
    // A URL may hold a password: nothing but its scheme is ever repeated.
    let parts = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme));
    let Some((scheme, rest)) = parts else {
        return Err(Error::misconfigured(format!(
            "a store is named by a URL such as \"file:///var/lib/locks\"; this one has no scheme{}",
            if url.starts_with(['/', '.']) { "; put \"file:\" before a path" } else { "" }
        )));
    };
    match (scheme, rest) {
        #[cfg(feature = "fs")]
        ("file", _) => Ok(Files::connect(url, settings)?.into()),
        #[cfg(feature = "locmem")]
        ("mem", "") => Ok(LocMem::with_settings(settings).into()),
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_no_store_says_which_there_are_and_shows_no_password() {
        let no_schemes =
            ["nonsense", "/var/a:b", "//secret@host:6379", "redis//secret@host:6379/", "://secret@"];
        let unknown = ["redis://me:secret@host/", "mem:x", "file://host/secret"];
        for url in no_schemes.into_iter().chain(unknown) {
            let error = connect_with(url, Settings::default()).unwrap_err();
            assert!(error.is_misconfigured(), "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        /// Nothing here opens a folder: what begins with `file:` names a host, and is refused.
        fn urls() -> impl Strategy<Value = String> {
            prop_oneof![
                "\\PC{0,20}",
                "[a-z+.:/@ -]{0,5}(//)[a-z]{0,3}:?hunter2[a-z:]{0,3}@\\PC{0,9}",
                "(rediss?|postgres|memcache|mem|sqlite|MEM)(:|://|//)([a-z]{0,2}:)?hunter2@[a-z]{0,5}(:[0-9]{1,4})?",
                "file://[a-z]{0,3}:?hunter2@[a-z]{0,5}(:[0-9]{1,4})?(/\\PC{0,9})?",
            ]
            .prop_filter("it would make a folder", |url| !url.starts_with("file:") || url.contains("hunter2@"))
        }

        proptest! {
            #[test]
            fn any_text_names_a_store_or_is_refused_without_a_password(url in urls()) {
                match connect_with(&url, Settings::default()) {
                    Ok(_) => prop_assert_eq!(url, "mem:"),
                    Err(error) => {
                        let shown = format!("{error} {error:?}");
                        prop_assert!(error.is_misconfigured() && !shown.contains("hunter2"), "{url}: {shown}");
                    }
                }
            }
        }
    }

    #[cfg(feature = "locmem")]
    #[test]
    fn memory_is_a_store() {
        let store = connect_with("mem:", Settings::default()).unwrap();
        Lock::new(&store, "x").try_acquire().unwrap().release().unwrap();
    }
}
