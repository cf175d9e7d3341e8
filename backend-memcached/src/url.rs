//! What a URL says.

use percent_encoding::percent_decode_str;
use tenure_core::{Error, Result};

use crate::placement::Placement;
use crate::profile::Profile;

/// `memcache://host[:port][,host[:port]..][/][?option=value&..]`
#[derive(Debug)]
pub(crate) struct Url {
    /// Each with its port.
    pub(crate) servers: Vec<Box<str>>,
    pub(crate) profile: Option<Profile>,
    pub(crate) placement: Option<Placement>,
    pub(crate) quarantine: Option<bool>,
}

const PORT: &str = "11211";

impl Url {
    /// # Errors
    ///
    /// `Misconfigured`. What the URL says is not repeated, since it may be a password that was meant for
    /// something else.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let bad = || {
            Error::misconfigured(
                "this is no URL of memcached servers; write memcache://host[:port][,host[:port]..][?option=value]",
            )
        };
        let rest = text.strip_prefix("memcache://").ok_or_else(bad)?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(Error::misconfigured(
                "memcached is spoken to without a user and a password here; leave what is before the @ out",
            ));
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        let mut servers: Vec<Box<str>> = Vec::new();
        for server in place.split(',') {
            let server = server_of(server).ok_or_else(bad)?;
            if servers.contains(&server) {
                return Err(Error::misconfigured(format!(
                    "the URL names the server {server} twice; name each once, since every lock has one place"
                )));
            }
            servers.push(server);
        }
        let mut url = Self { servers, profile: None, placement: None, quarantine: None };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            url.option(option)?;
        }
        Ok(url)
    }

    fn option(&mut self, option: &str) -> Result<()> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| Error::misconfigured("an option in the URL is no UTF-8"))?;
        match name {
            "profile" => self.profile = Some(value.parse()?),
            "placement" => self.placement = Some(value.parse()?),
            "quarantine" => {
                self.quarantine = Some(match &*value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(Error::misconfigured("quarantine in the URL is neither on nor off")),
                });
            }
            // A profile that was meant and is not in force would exclude nobody.
            _ => {
                return Err(Error::misconfigured(
                    "the URL has an option that is none of profile, placement, quarantine",
                ));
            }
        }
        Ok(())
    }
}

/// A server with its port: a name, an IPv4 address, or an IPv6 address in brackets.
fn server_of(text: &str) -> Option<Box<str>> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, rest) = rest.split_once(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            (&text[..inner.len() + 2], rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(PORT))?)
        }
        None => text.split_once(':').unwrap_or((text, PORT)),
    };
    let named = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if !host.starts_with('[') && !named(host) {
        return None;
    }
    let number: u16 = port.parse().ok().filter(|number| *number > 0)?;
    Some(format!("{host}:{number}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_their_ports() {
        for (url, servers) in [
            ("memcache://localhost", &["localhost:11211"][..]),
            ("memcache://127.0.0.1:5/", &["127.0.0.1:5"]),
            ("memcache://a,b:2,[::1],[::1]:3?profile=django", &["a:11211", "b:2", "[::1]:11211", "[::1]:3"]),
        ] {
            let read = Url::read(url).unwrap();
            assert!(
                read.servers.iter().map(|server| &**server).eq(servers.iter().copied()),
                "{url}: {read:?}"
            );
        }
    }

    #[test]
    fn options_are_read_or_refused() {
        let url =
            Url::read("memcache://h?profile=django:a%26b:2&placement=pymemcache&quarantine=off").unwrap();
        assert_eq!(url.profile, Some(Profile::django("a&b", 2)));
        assert_eq!((url.placement, url.quarantine), (Some(Placement::Pymemcache), Some(false)));
        for wrong in ["profil=django", "profile=dj", "placement=ketama", "quarantine=maybe", "x"] {
            let read = Url::read(&format!("memcache://h?{wrong}"));
            assert!(read.is_err_and(|error| error.is_misconfigured()), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_repeated() {
        for wrong in [
            "memcache:hunter2",
            "memcache://",
            "memcache:///hunter2",
            "memcache://h:0",
            "memcache://h:99999",
            "memcache://h,,hunter2",
            "memcache://h,h:11211",
            "memcache://u:hunter2@h",
            "memcache://hunter2/x",
            "memcache://[::1",
            "memcache://[hunter2]",
            "memcache://h?hunter2=1",
            "redis://hunter2",
        ] {
            let error = Url::read(wrong).unwrap_err();
            assert!(error.is_misconfigured() && !error.to_string().contains("hunter2"), "{wrong}: {error}");
        }
    }
}
