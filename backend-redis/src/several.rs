//! URLs of more than one server.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use tenure_core::{Error, Result};

use crate::cluster::Address;
use crate::url;

/// What a URL names that names several servers.
#[derive(Clone)]
pub(crate) struct Several {
    pub(crate) kind: Kind,
    pub(crate) addresses: Vec<Address>,
    /// The first of them, with the credentials for all.
    pub(crate) info: ConnectionInfo,
    /// The URL without what is secret.
    pub(crate) label: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cluster,
    /// The servers are sentinels that watch over a master of this name.
    Sentinel(Box<str>),
}

impl Several {
    /// Reads a URL; `None` if it names one server.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if it cannot work; its text never repeats the URL, which may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Option<Self>> {
        let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
        let (plain, port, bad) = match scheme {
            "redis+cluster" => ("redis", 6379, CLUSTER),
            "rediss+cluster" => ("rediss", 6379, CLUSTER),
            "redis+sentinel" => ("redis", 26379, SENTINEL),
            "rediss+sentinel" => ("rediss", 26379, SENTINEL),
            _ => return Ok(None),
        };
        url::intact(url)?;
        let wrong = |what: &str| Error::misconfigured(format!("{what}; write {bad}"));
        let rest = rest.split('?').next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = url::credentials(authority)?;
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let (kind, database) = match bad {
            CLUSTER => (Kind::Cluster, path),
            _ => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() || !name.bytes().all(is_of_a_name) {
                    return Err(wrong("the URL does not name the master that the sentinels watch over"));
                }
                (Kind::Sentinel(name.into()), database)
            }
        };
        if kind == Kind::Cluster && !matches!(database, "" | "0") {
            return Err(wrong("a cluster has no databases but 0"));
        }
        let mut all = Vec::new();
        for host in hosts.split(',') {
            let named = host.rfind(':').is_some_and(|colon| !host[colon..].contains(']'));
            let host = if named { host.to_owned() } else { format!("{host}:{port}") };
            let one = format!("{plain}://{user}{host}/{database}");
            let info = one.into_connection_info();
            all.push(info.map_err(|_| wrong("a host, a port or a part beside them is none"))?);
        }
        let addresses: Option<Vec<Address>> = all.iter().map(address).collect();
        let addresses = addresses.ok_or_else(|| wrong("a host is missing"))?;
        let info = all.swap_remove(0);
        if !info.addr().is_supported() {
            return Err(crate::tls::missing());
        }
        let hosts: Vec<String> = addresses.iter().map(Address::to_string).collect();
        let path = match (&kind, info.redis_settings().db()) {
            (Kind::Cluster, _) => String::new(),
            (Kind::Sentinel(name), 0) => format!("/{name}"),
            (Kind::Sentinel(name), database) => format!("/{name}/{database}"),
        };
        let label = format!("{scheme}://{}{path}", hosts.join(","));
        Ok(Some(Self { kind, addresses, info, label }))
    }
}

const CLUSTER: &str =
    "redis+cluster://[[user]:password@]host[:port][,host[:port]..], or rediss+cluster:// for TLS";

const SENTINEL: &str = "redis+sentinel://[[user]:password@]host[:port][,host[:port]..]/master[/database], \
                        or rediss+sentinel:// for TLS";

/// What sentinels accept in the name of a master.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

fn address(info: &ConnectionInfo) -> Option<Address> {
    let (host, port) = match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host, *port),
        _ => return None,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then(|| Address { host: host.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Several {
        Several::parse(url).expect("it is one").expect("it names several servers")
    }

    #[test]
    fn hosts_have_the_credentials_and_the_database_of_all() {
        let several = read("redis+sentinel://me:a%2Fb@h1:1,h2,[::1],[::1]:4/my-master/3");
        assert_eq!(several.kind, Kind::Sentinel("my-master".into()));
        let addresses: Vec<_> = several.addresses.iter().map(Address::to_string).collect();
        assert_eq!(addresses, ["h1:1", "h2:26379", "[::1]:26379", "[::1]:4"]);
        let settings = several.info.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("me"), Some("a/b"), 3));
        assert_eq!(several.label, "redis+sentinel://h1:1,h2:26379,[::1]:26379,[::1]:4/my-master/3");
        let several = read("redis+cluster://:pw@a,b:7/");
        assert_eq!((several.kind, several.label), (Kind::Cluster, "redis+cluster://a:6379,b:7".into()));
        assert_eq!(several.info.redis_settings().password(), Some("pw"));
    }

    #[test]
    fn one_server_is_not_several() {
        for url in ["redis://h", "rediss://h", "redis+unix:///s", "nonsense", "redis+clusters://h"] {
            assert!(Several::parse(url).is_ok_and(|several| several.is_none()), "{url}");
        }
    }

    #[test]
    fn what_cannot_work_says_what_to_write_and_no_password() {
        for (url, word) in [
            ("redis+cluster://", "redis+cluster://[["),
            ("redis+cluster://u:hunter2@", "redis+cluster://[["),
            ("redis+cluster://u:hunter2@a,,b", "host"),
            ("redis+cluster://u:hunter2@a:x", "port"),
            ("redis+cluster://u:hunter2@a:70000", "port"),
            ("redis+cluster://u:hunter2@a/1", "databases"),
            ("redis+sentinel://u:hunter2@a", "master"),
            ("redis+sentinel://u:hunter2@a/", "master"),
            ("redis+sentinel://u:hunter2@a/m/hunter2", "redis+sentinel://[["),
            ("redis+sentinel://u:hunter2@a/hunter2@b", "%2F"),
            ("redis+sentinel://u:1/hunter2/3?x@a/master", "%2F"),
            ("redis+sentinel://u:p@hunter2/x#y@a/master", "%2F"),
            ("redis+cluster://u:1,hunter2#x@a", "%2F"),
            ("redis+cluster://u:x@y,hunter2@a", "%40"),
            ("redis+cluster://u:hunter2@a,u:hunter2@b", "before the first"),
        ] {
            let error = Several::parse(url).map(drop).expect_err(url);
            let shown = format!("{error} {error:?}");
            assert!(error.is_misconfigured() && shown.contains(word), "{url}: {shown}");
            assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
    }
}
