//! A store as it is to be opened: what a builder and its URL say, checked once.

use std::sync::Arc;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use tenure_core::{Error, Result, Site};

use crate::backend::{Redis, can_track};
use crate::choice::{Choice, Chosen};
use crate::cluster::Cluster;
use crate::dial::Dial;
use crate::pool::Pool;
use crate::script::Dialect;
use crate::sentinel::{Followed, Sentinels};
use crate::several::{Kind, Several};
use crate::tls::{self, Trust};
use crate::together::Part;
use crate::url::{self, Login, Options};
use crate::wire::Timed;

/// A store that can be opened, again and again.
#[derive(Clone)]
pub(crate) struct Plan {
    place: Place,
    label: Box<str>,
    chosen: Chosen,
    trust: Trust,
}

#[derive(Clone)]
enum Place {
    One(ConnectionInfo),
    Several(Several),
}

impl Plan {
    /// The store that a URL names.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if it cannot work; its text never repeats the URL, which may hold a password.
    pub(crate) fn new(url: &str, choice: Choice, trust: Trust) -> Result<Self> {
        let options = url::options(url)?;
        let (place, label, servers) = match Several::parse(url)? {
            Some(several) => {
                let servers = if several.kind == Kind::Cluster { Part::Cluster } else { Part::Sentinels };
                let label = several.label.clone();
                (Place::Several(several), label, servers)
            }
            None => {
                let info = one(url, &options.socket)?;
                let label = label(&info);
                (Place::One(info), label, Part::One)
            }
        };
        let label = label.into_boxed_str();
        let at = |error: Error| error.at(&label);
        let chosen = choice.or(options).with(servers).map_err(at)?;
        let plan = Self { place, label: label.clone(), chosen, trust };
        plan.reachable().map_err(at)?;
        Ok(plan)
    }

    /// One of the servers of a quorum, whose options are those of all of them.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and for options that are not a socket's own.
    pub(crate) fn member(url: &str, chosen: Chosen, trust: Trust) -> Result<Self> {
        let options = url::options(url)?;
        if (Options { socket: Login::default(), ..options.clone() }) != Options::default() {
            return Err(Error::misconfigured(
                "the options of a quorum are those of all of its servers; leave them out of the URL of each",
            ));
        }
        let info = one(url, &options.socket)?;
        let label: Box<str> = label(&info).into();
        let plan = Self { place: Place::One(info), label: label.clone(), chosen, trust };
        plan.reachable().map_err(|error| error.at(&label))?;
        Ok(plan)
    }

    /// The URL without what is secret.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn site(&self) -> Site {
        self.chosen.site(&self.label)
    }

    /// What is said to the servers.
    pub(crate) fn dialect(&self, tracks: bool) -> Dialect {
        self.chosen.dialect(tracks)
    }

    /// Opens the store for threads.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nobody answers, `Misconfigured` if it is the wrong one, or does not let us.
    pub(crate) fn open(&self, site: Site) -> Result<Redis> {
        self.opened(site).map_err(|error| error.at(&self.label))
    }

    fn opened(&self, site: Site) -> Result<Redis> {
        let Chosen { pool_size, connect_timeout, .. } = self.chosen;
        match &self.place {
            Place::One(info) => {
                let timed = self.timed(self.client(info, ProtocolVersion::RESP2)?);
                let transport = Pool::new(timed.clone(), pool_size, connect_timeout);
                let dialect = self.dialect(can_track(&transport)?);
                Ok(Redis::new(site, Box::new(transport), Arc::new(timed), dialect))
            }
            Place::Several(several) => {
                let dial = self.dial(several, ProtocolVersion::RESP2);
                let addresses = several.addresses.clone();
                match &several.kind {
                    Kind::Cluster => {
                        let cluster = Cluster::open(addresses, dial, pool_size)?;
                        cluster.tell(&site);
                        let dialect = self.dialect(can_track(&cluster)?);
                        Ok(Redis::new(site, Box::new(cluster.clone()), Arc::new(cluster), dialect))
                    }
                    Kind::Sentinel(name) => {
                        let followed = Followed::new(Sentinels::new(addresses, name.clone()), dial);
                        // Said here what is wrong; in the pool it would be that there is no connection.
                        drop(followed.reach()?);
                        followed.tell(&site);
                        let transport = Pool::new(followed.clone(), pool_size, connect_timeout);
                        let dialect = self.dialect(can_track(&transport)?);
                        Ok(Redis::new(site, Box::new(transport), Arc::new(followed), dialect))
                    }
                }
            }
        }
    }

    /// Opens the store for tasks.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(feature = "async")]
    pub(crate) async fn open_async(&self) -> Result<crate::AsyncRedis> {
        let servers = self.servers().map_err(|error| error.at(&self.label))?;
        let limits = crate::link::Limits { connect: self.chosen.connect_timeout, io: self.chosen.io_timeout };
        let opened = crate::AsyncRedis::open(servers, self.site(), limits, |tracks| self.dialect(tracks));
        opened.await.map_err(|error| error.at(&self.label))
    }

    #[cfg(feature = "async")]
    fn servers(&self) -> Result<crate::net::Servers> {
        use crate::net::Servers;
        use crate::sentinel::aio::{Followed, Source};

        Ok(match &self.place {
            Place::One(info) => {
                let plain = self.timed(self.client(info, ProtocolVersion::RESP2)?);
                Servers::One(self.client(info, ProtocolVersion::RESP3)?.into(), Some(plain))
            }
            Place::Several(several) => {
                let dial = self.dial(several, ProtocolVersion::RESP3);
                let addresses = several.addresses.clone();
                match &several.kind {
                    Kind::Cluster => Servers::Cluster(addresses, dial),
                    Kind::Sentinel(name) => {
                        let followed = Followed::new(Sentinels::new(addresses, name.clone()), dial);
                        Servers::One(Source::Followed(followed), None)
                    }
                }
            }
        })
    }

    /// Whether clients of all servers can be made.
    fn reachable(&self) -> Result<()> {
        match &self.place {
            Place::One(info) => self.client(info, ProtocolVersion::RESP2).map(drop),
            Place::Several(several) => {
                let dial = self.dial(several, ProtocolVersion::RESP2);
                several.addresses.iter().try_for_each(|address| dial.client(address).map(drop))
            }
        }
    }

    fn client(&self, info: &ConnectionInfo, protocol: ProtocolVersion) -> Result<Client> {
        self.trust.client(speaking(info, protocol))
    }

    fn dial(&self, several: &Several, protocol: ProtocolVersion) -> Dial {
        let Chosen { connect_timeout, io_timeout, .. } = self.chosen;
        Dial::new(self.trust.clone(), speaking(&several.info, protocol), connect_timeout, io_timeout)
    }

    fn timed(&self, client: Client) -> Timed {
        let Chosen { connect_timeout, io_timeout, .. } = self.chosen;
        Timed { client, connect_timeout, io_timeout }
    }
}

/// Each kind of store chooses how it speaks.
fn speaking(info: &ConnectionInfo, protocol: ProtocolVersion) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(protocol);
    info.clone().set_redis_settings(settings)
}

/// The server that a URL names, if it names one.
fn one(url: &str, socket: &Login) -> Result<ConnectionInfo> {
    if tls::is_asked_for(url) && !cfg!(feature = "tls") {
        return Err(tls::missing());
    }
    // A URL may hold a password, and so may the crate's own words about it.
    let bad = "this is no URL of a Redis server; write redis://[[user]:password@]host[:port][/database], \
               rediss:// for TLS, redis+unix:///path, redis+cluster:// or redis+sentinel://";
    let place = url.split('?').next().unwrap_or_default();
    let info = place.into_connection_info().map_err(|_| Error::misconfigured(bad))?;
    let mut settings = info.redis_settings().clone();
    if let Some(user) = &socket.user {
        settings = settings.set_username(&**user);
    }
    if let Some(pass) = &socket.pass {
        settings = settings.set_password(&**pass);
    }
    if let Some(db) = socket.db {
        settings = settings.set_db(db);
    }
    Ok(info.set_redis_settings(settings))
}

fn label(info: &ConnectionInfo) -> String {
    let database = info.redis_settings().db();
    let database = if database == 0 { String::new() } else { format!("/{database}") };
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}{database}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}{database}"),
        ConnectionAddr::Unix(path) => format!("redis+unix://{}{database}", path.display()),
        _ => "redis:".into(),
    }
}
