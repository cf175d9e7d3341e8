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
        Err(source) => {
            Err(Error::misconfigured("the path of a \"file:\" URL must be UTF-8").with_source(source))
        }
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
}
