//! What the options of a URL say.

use percent_encoding::percent_decode_str;
use tenure_core::{Error, Result};

use crate::profile::Profile;

/// The options that we understand, and those of the `redis` crate.
const KNOWN: &[&str] = &["profile", "fair", "protocol", "db", "user", "pass"];

/// The profile that a URL asks for, if it does.
///
/// # Errors
///
/// `Misconfigured` for an option that nobody understands: a profile that was meant and is not in force
/// would exclude nobody. What the URL says is never repeated, since it may be a password.
pub(crate) fn profile(url: &str) -> Result<Option<Profile>> {
    let whole = url.split('#').next().unwrap_or_default();
    let options = whole.split_once('?').map_or("", |(_, options)| options);
    let mut profile = None;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if !KNOWN.contains(&name) {
            return Err(Error::misconfigured(format!(
                "the URL has an option that is none of {}",
                KNOWN.join(", ")
            )));
        }
        if name == "profile" {
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Error::misconfigured("the profile in the URL is no UTF-8"))?;
            profile = Some(value.parse()?);
        }
    }
    Ok(profile)
}

/// Whether a URL has an `@` where none belongs: behind its host, or before the options of a socket. What
/// is taken for the host or the path may then be a part of a password that was not escaped.
pub(crate) fn is_torn(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let from = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let to = if scheme.contains("unix") { rest.find('?').unwrap_or(rest.len()) } else { rest.len() };
    rest[from.min(to)..to].contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_half_a_password_is_no_host() {
        for url in [
            "redis://:a/b@h",
            "redis://u:a?b@h/1",
            "rediss://a#b@h",
            "redis+unix:///:secret@tmp/s",
            "redis://h/?profile=django:a@b:1",
        ] {
            assert!(is_torn(url), "{url}");
        }
        for url in
            ["redis://u:p@h:1/2?profile=plain", "redis+unix:///tmp/s?pass=a@b", "redis+unix:///a%40b", "x"]
        {
            assert!(!is_torn(url), "{url}");
        }
    }

    #[test]
    fn a_profile_that_is_asked_for_is_in_force_or_an_error() {
        for (url, expected) in [
            ("redis://h", None),
            ("redis://:p@h:1/2", None),
            ("redis://h/?profile=plain", Some(Profile::Plain)),
            ("redis+unix:///s?db=1&profile=django:shop:2&pass=x", Some(Profile::django("shop", 2))),
            ("rediss://h/?profile=django:a%26b%C3%A9:2#insecure", Some(Profile::django("a&b\u{e9}", 2))),
        ] {
            assert_eq!(profile(url).unwrap(), expected, "{url}");
        }
        for url in ["redis://h/?profil=plain", "redis://h/?profile=plane", "redis://h/?secret&profile=plain"]
        {
            let error = profile(url).unwrap_err();
            assert!(error.is_misconfigured() && !error.to_string().contains("secret"), "{error}");
        }
    }
}
