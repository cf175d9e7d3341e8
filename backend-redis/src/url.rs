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

/// Refuses a URL with an `@` where none belongs: behind its hosts, or before the options of a socket. What
/// is taken for a host, a master or a path may then be a part of a password that was not escaped, and would
/// be shown.
///
/// # Errors
///
/// `Misconfigured`, without a word of the URL.
pub(crate) fn intact(url: &str) -> Result<()> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let is_socket = scheme.contains("unix");
    let (from, to) = match is_socket {
        true => (0, rest.find('?').unwrap_or(rest.len())),
        false => (rest.find(['/', '?', '#']).unwrap_or(rest.len()), rest.len()),
    };
    if !rest[from..to].contains('@') {
        return Ok(());
    }
    Err(Error::misconfigured(match is_socket {
        true => {
            "the user and the password of a socket are options, ?user=..&pass=..; in a path write @ as %40"
        }
        false => {
            "there is an @ where none belongs; in a user or a password write / as %2F, ? as %3F and # as %23, \
             and in an option write @ as %40"
        }
    }))
}

/// The user and the password of several hosts, and the hosts.
///
/// # Errors
///
/// `Misconfigured` if it cannot be told where one ends and the other begins, without a word of the URL.
pub(crate) fn credentials(authority: &str) -> Result<(Option<&str>, &str)> {
    let Some((user, hosts)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    if user.contains(['@', ',']) {
        return Err(Error::misconfigured(
            "the user and the password of all hosts stand before the first one; in them write @ as %40 and , as %2C",
        ));
    }
    Ok((Some(user).filter(|user| !user.is_empty()), hosts))
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
            "redis+unix://me:secret@localhost/tmp/s",
            "redis://h/?profile=django:a@b:1",
            "redis+sentinel://u:1/b/3?c@h/master",
            "redis+cluster://u:1,b#c@h",
        ] {
            assert!(intact(url).is_err_and(|error| error.is_misconfigured()), "{url}");
        }
        for url in
            ["redis://u:p@h:1/2?profile=plain", "redis+unix:///tmp/s?pass=a@b", "redis+unix:///a%40b", "x"]
        {
            assert!(intact(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn several_hosts_have_one_user_who_stands_before_all_of_them() {
        assert_eq!(credentials("u:p:q@a,b:1").unwrap(), (Some("u:p:q"), "a,b:1"));
        assert_eq!(credentials("@a").unwrap(), (None, "a"));
        assert_eq!(credentials("a,b").unwrap(), (None, "a,b"));
        for authority in ["u:a@b@h", "u:a,b@h", "u:a@h1,u:a@h2", "h1,u:a@h2"] {
            assert!(credentials(authority).is_err_and(|error| error.is_misconfigured()), "{authority}");
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
