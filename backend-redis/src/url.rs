//! What a URL says besides where the servers are: its options, and where a password in it ends.

use percent_encoding::percent_decode_str;
use tenure_core::{Error, Result};

use crate::config::Wake;
use crate::profile::Profile;

/// What the options of a URL say. What they do not say is left to the builder, which is listened to first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) profile: Option<Profile>,
    pub(crate) fair: Option<bool>,
    pub(crate) guard: Option<bool>,
    pub(crate) wake: Option<Wake>,
    /// What other URLs say before the host and behind it.
    pub(crate) socket: Login,
}

/// As whom, and in which database, a socket is spoken to.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<Box<str>>,
    pub(crate) pass: Option<Box<str>>,
    pub(crate) db: Option<i64>,
}

/// Reads the options of a URL of any kind.
///
/// # Errors
///
/// `Misconfigured` for an option or a value that nobody understands, or one that is there twice: what was
/// meant and is not in force would exclude nobody. What the URL says is never repeated, since it may be a
/// password.
pub(crate) fn options(url: &str) -> Result<Options> {
    intact(url)?;
    if url.contains('#') {
        return Err(Error::misconfigured(
            "a URL ends with its options; write a # in them as %23. There is no #insecure: a server is never \
             trusted without looking, so leave that out, and name its authority",
        ));
    }
    let is_socket = is_socket(url);
    let mut options = Options::default();
    let mut seen = Vec::new();
    let listed = url.split_once('?').map_or("", |(_, listed)| listed);
    for option in listed.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value =
            value.map_err(|_| Error::misconfigured("the value of an option in the URL is no UTF-8"))?;
        match name {
            "profile" => options.profile = Some(value.parse()?),
            "fair" => options.fair = Some(truth("fair", &value)?),
            "guard" => options.guard = Some(truth("guard", &value)?),
            "wake" => options.wake = Some(wake(&value)?),
            "user" if is_socket => options.socket.user = Some(value.into()),
            "pass" if is_socket => options.socket.pass = Some(value.into()),
            "db" if is_socket => options.socket.db = Some(database(&value)?),
            _ => return Err(unknown(name, is_socket)),
        }
        if seen.contains(&name) {
            return Err(Error::misconfigured("an option stands in the URL twice; leave one of them out"));
        }
        seen.push(name);
    }
    Ok(options)
}

/// Whether a URL names a socket of this host.
pub(crate) fn is_socket(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| {
        ["redis+unix", "valkey+unix", "unix"].iter().any(|socket| scheme.eq_ignore_ascii_case(socket))
    })
}

/// Refuses a URL with an `@` where none belongs: behind its hosts, or before the options of a socket. What
/// is taken for a host, a master or a path may then be a part of a password that was not escaped, and would
/// be shown.
///
/// # Errors
///
/// `Misconfigured`, without a word of the URL.
pub(crate) fn intact(url: &str) -> Result<()> {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let is_socket = is_socket(url);
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

fn truth(option: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Error::misconfigured(format!("the option {option} of the URL is 1 or 0"))),
    }
}

fn wake(value: &str) -> Result<Wake> {
    match value {
        "auto" => Ok(Wake::Auto),
        "channel" => Ok(Wake::Channel),
        _ => Err(Error::misconfigured("the option wake of the URL is auto or channel")),
    }
}

fn database(value: &str) -> Result<i64> {
    let number = value.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| Error::misconfigured("the option db of the URL is the number of a database"))
}

fn unknown(name: &str, is_socket: bool) -> Error {
    let text = match name {
        "user" | "pass" | "db" => {
            "the options user, pass and db are those of a socket; write redis://user:password@host/database"
        }
        "protocol" => "protocol is no option of the URL, each store chooses it for itself; leave it out",
        _ if is_socket => {
            "the URL has an option that is none of profile, fair, guard, wake, user, pass and db; write & in a \
             value as %26"
        }
        _ => "the URL has an option that is none of profile, fair, guard and wake; write & in a value as %26",
    };
    Error::misconfigured(text)
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("db", &self.db).finish_non_exhaustive()
    }
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
    fn an_option_says_what_it_says_for_every_kind_of_url() {
        for place in
            ["redis://h", "rediss://u:p@h:1/2", "redis+cluster://a,b", "redis+sentinel://a/m", "unix:/s"]
        {
            let read = |listed: &str| options(&format!("{place}?{listed}"));
            assert_eq!(options(place).unwrap(), Options::default(), "{place}");
            let all = Options {
                profile: Some(Profile::django("a&b\u{e9}", 2)),
                fair: Some(true),
                guard: Some(false),
                wake: Some(Wake::Channel),
                socket: Login::default(),
            };
            let listed = "profile=django:a%26b%C3%A9:2&fair=1&guard=false&wake=channel";
            assert_eq!(read(listed).unwrap(), all, "{place}");
        }
        let socket = options("redis+unix:///s?db=3&user=me&pass=a%2Bb+c@d").unwrap().socket;
        let login = (socket.db, socket.user.as_deref(), socket.pass.as_deref());
        assert_eq!(login, (Some(3), Some("me"), Some("a+b+c@d")));
    }

    #[test]
    fn what_nobody_understands_is_an_error_that_says_what_there_is() {
        for (url, word) in [
            ("redis://h?profil=secret", "none of profile, fair, guard and wake"),
            ("redis+cluster://h?secret&profile=plain", "none of profile"),
            ("redis+sentinel://h/m?Fair=1", "none of profile"),
            ("redis+unix:///s?secret=1", "user, pass and db"),
            ("redis://h?profile=secret", "tenure, plain, django"),
            ("redis://h?fair=secret", "fair of the URL is 1 or 0"),
            ("redis://h?fair", "fair of the URL is 1 or 0"),
            ("redis://h?guard=yes", "guard of the URL is 1 or 0"),
            ("redis://h?wake=secret", "auto or channel"),
            ("redis://h?fair=1&fair=0", "twice"),
            ("redis://h?pass=secret", "those of a socket"),
            ("redis+cluster://h?user=secret", "those of a socket"),
            ("rediss://h?db=1", "those of a socket"),
            ("unix:/s?db=secret", "number of a database"),
            ("unix:/s?db=-1", "number of a database"),
            ("redis://h?protocol=resp3", "protocol is no option"),
            ("redis+unix:///s?protocol=resp3", "protocol is no option"),
            ("rediss://h/#insecure", "#insecure"),
            ("redis://h?fair=1#secret", "%23"),
            ("redis://h?profile=django:%ff:1", "UTF-8"),
        ] {
            let error = options(url).expect_err(url);
            assert!(error.is_misconfigured() && error.to_string().contains(word), "{url}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
        }
    }
}
