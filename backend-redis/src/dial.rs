//! Reaching servers that are found out on the way: the nodes of a cluster, the master that sentinels
//! name.

use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo};
use tenure_core::Result;

use crate::cluster::Address;
use crate::tls::Trust;
use crate::wire::Timed;

/// How a server is reached by its address alone: with the credentials, the limits and the kind of
/// connection of all of them.
#[derive(Clone)]
pub(crate) struct Dial {
    trust: Trust,
    like: ConnectionInfo,
    connect_timeout: Duration,
    io_timeout: Duration,
}

impl Dial {
    /// Reaches servers as this one, within these limits.
    pub(crate) fn new(
        trust: Trust,
        like: ConnectionInfo,
        connect_timeout: Duration,
        io_timeout: Duration,
    ) -> Self {
        Self { trust, like, connect_timeout, io_timeout }
    }

    pub(crate) fn client(&self, address: &Address) -> Result<Client> {
        let (host, port) = (address.host.to_string(), address.port);
        let addr = match self.like.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.trust.client(self.like.clone().set_addr(addr))
    }

    pub(crate) fn timed(&self, address: &Address) -> Result<Timed> {
        Ok(Timed {
            client: self.client(address)?,
            connect_timeout: self.connect_timeout,
            io_timeout: self.io_timeout,
        })
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) fn io_timeout(&self) -> Duration {
        self.io_timeout
    }
}
