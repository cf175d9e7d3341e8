//! Stores named by URLs.

use std::path::PathBuf;

use tenure_core::{Error, Result};

/// The folder that a `file:` URL names; `None` for the user's own.
pub(crate) fn folder(url: &str) -> Result<Option<PathBuf>> {
    let rest = url.strip_prefix("file:").ok_or_else(|| {
        Error::misconfigured("a URL of lock files begins with \"file:\", as in \"file:///var/lib/locks\"")
    })?;
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
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    match String::from_utf8(decoded) {
        Ok(path) if path.contains('\0') => {
            Err(Error::misconfigured("a path cannot hold the character U+0000"))
        }
        Ok(path) if path.is_empty() => Ok(None),
        Ok(path) => Ok(Some(path.into())),
        // Without the bytes: what was meant for another kind of URL may hold a password.
        Err(source) => Err(Error::misconfigured("the path of a \"file:\" URL must be UTF-8")
            .with_source(source.utf8_error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_folder() {
        assert_eq!(folder("file:").unwrap(), None);
        assert_eq!(folder("file:///var/a%20b").unwrap(), Some(PathBuf::from("/var/a b")));
        assert_eq!(folder("file://localhost/x").unwrap(), Some(PathBuf::from("/x")));
        assert_eq!(folder("file:locks").unwrap(), Some(PathBuf::from("locks")));
        for bad in ["file://host/x", "file:a%00b", "file:%ff", "/x"] {
            assert!(folder(bad).is_err_and(|error| error.is_misconfigured()), "{bad}");
        }
    }

    #[test]
    fn a_url_that_is_not_utf_8_is_not_shown_even_to_debuggers() {
        let error = folder("file:me:A@host/%ff").unwrap_err();
        assert!(!format!("{error:?}").contains("65"), "{error:?}");
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    const SECRET: &str = "hunter2";

    fn urls() -> impl Strategy<Value = String> {
        let authority =
            format!("file:/{{0,3}}[a-z%]{{0,3}}:?{SECRET}@?(localhost|[a-z%/]{{0,4}})(/\\.\\.|%ff|%00)?");
        prop_oneof![
            any::<String>(),
            any::<String>().prop_map(|rest| format!("file:{rest}")),
            "file:(//)?(localhost)?/?([a-z./]|%[0-9a-fA-F]{2}|%|%00|\\PC){0,12}",
            proptest::string::string_regex(&authority).expect("it is a regular expression"),
        ]
    }

    proptest! {
        #[test]
        fn any_text_names_a_folder_or_is_refused_and_never_repeated(url in urls()) {
            match folder(&url) {
                Ok(None) => prop_assert!(["file:", "file://", "file://localhost"].contains(&url.as_str())),
                Ok(Some(path)) => {
                    let path = path.to_str().expect("it is UTF-8");
                    prop_assert!(!path.is_empty() && !path.contains('\0'));
                }
                Err(error) => {
                    prop_assert!(error.is_misconfigured());
                    // Nor as the numbers of its bytes, where the source is shown.
                    let shown = format!("{error} {error:?}");
                    prop_assert!(!shown.contains(SECRET) && !shown.contains("104, 117, 110"), "{shown}");
                }
            }
        }

        #[test]
        fn a_path_is_read_back_from_its_url(path in "[^\0]{1,40}", absolute: bool) {
            let encoded = utf8_percent_encode(&path, NON_ALPHANUMERIC);
            let (url, path) = match absolute {
                true => (format!("file:///{encoded}"), format!("/{path}")),
                false => (format!("file:{encoded}"), path.clone()),
            };
            prop_assert_eq!(folder(&url).ok(), Some(Some(PathBuf::from(path))));
        }

        #[test]
        fn a_host_is_never_a_folder(host in "[a-z0-9.:@%-]{1,12}", path in "(/[a-z]{0,5}){0,3}") {
            prop_assume!(host != "localhost");
            let url = format!("file://{host}{path}");
            prop_assert!(folder(&url).is_err(), "{url}");
        }
    }
}
