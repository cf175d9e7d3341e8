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
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(Error::misconfigured(format!(
            "a store is named by a URL such as \"file:///var/lib/locks\"; this one has no scheme{}",
            if url.starts_with(['/', '.']) { "; put \"file:\" before a path" } else { "" }
        )));
    };
    match (scheme, rest) {
        #[cfg(feature = "fs")]
        ("file", rest) => Ok(match path(rest)? {
            Some(folder) => Files::builder(folder).settings(settings).open()?.into(),
            None => Files::user_default(settings)?.into(),
        }),
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

/// The schemes of this build.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "fs")]
    "file:",
    #[cfg(feature = "locmem")]
    "mem:",
];

/// The folder that a `file:` URL names; `None` for the user's own.
#[cfg(feature = "fs")]
fn path(rest: &str) -> Result<Option<std::path::PathBuf>> {
    let text = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(Error::misconfigured(
                    "a \"file:\" URL cannot name another host; write \"file:///absolute/path\" or \"file:relative\"",
                ));
            }
            path
        }
    };
    let decoded = percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    match String::from_utf8(decoded) {
        Ok(path) if path.contains('\0') => {
            Err(Error::misconfigured("a path cannot hold the character U+0000"))
        }
        Ok(path) if path.is_empty() => Ok(None),
        Ok(path) => Ok(Some(path.into())),
        Err(source) => {
            Err(Error::misconfigured("the path of a \"file:\" URL must be UTF-8").with_source(source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_no_store_says_which_there_are_and_shows_no_password() {
        for url in ["nonsense", "/var/lib/locks", "redis://me:secret@host/", "mem:x", "file://host/secret"] {
            let error = connect_with(url, Settings::default()).unwrap_err();
            assert!(error.is_misconfigured(), "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[cfg(feature = "fs")]
    #[test]
    fn a_file_url_names_a_folder() {
        use std::path::PathBuf;

        assert_eq!(path("").unwrap(), None);
        assert_eq!(path("///var/a%20b").unwrap(), Some(PathBuf::from("/var/a b")));
        assert_eq!(path("//localhost/x").unwrap(), Some(PathBuf::from("/x")));
        assert_eq!(path("locks").unwrap(), Some(PathBuf::from("locks")));
        assert!(path("//host/x").is_err() && path("a%00b").is_err() && path("%ff").is_err());
    }

    #[cfg(feature = "locmem")]
    #[test]
    fn memory_is_a_store() {
        let store = connect_with("mem:", Settings::default()).unwrap();
        Lock::new(&store, "x").try_acquire().unwrap().release().unwrap();
    }
}
