//! The servers of a store for tasks: one, or the nodes of a cluster.

use std::sync::Arc;

use tenure_core::Result;
use tokio::runtime::Handle;

use crate::acks::Acks;
use crate::cluster::Address;
use crate::cluster::aio::Cluster;
use crate::dial::Dial;
use crate::ears::Ears;
use crate::link::{Limits, Link};
use crate::resp::Reply;
use crate::script::{self, By, Call};
use crate::sentinel::aio::Source;
use crate::wire::Timed;

/// Which servers there are.
#[cfg_attr(
    feature = "tls",
    expect(clippy::large_enum_variant, reason = "one for each store, and not for long")
)]
pub(crate) enum Servers {
    /// With another way of speaking to it, for one that does not know RESP3.
    One(Source, Option<Timed>),
    Cluster(Vec<Address>, Dial),
}

/// The way of tasks to the servers.
pub(crate) struct Net {
    pub(crate) runtime: Handle,
    way: Way,
}

enum Way {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

/// How calls are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) by: By,
    /// Whether the server is to tell of changes of the keys that they read.
    pub(crate) track: bool,
    /// Whether the node is one that does not have the slot yet.
    pub(crate) asking: bool,
    pub(crate) acks: Option<Acks>,
}

impl Manner {
    pub(crate) fn plain() -> Self {
        Self { by: By::Digest, track: false, asking: false, acks: None }
    }
}

impl Net {
    /// Connects. Tells whether the servers tell of changed keys.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nobody answers; `Misconfigured` if these are no such servers.
    pub(crate) async fn open(
        servers: Servers,
        runtime: Handle,
        limits: Limits,
        ears: Arc<Ears>,
    ) -> Result<(Self, bool)> {
        match servers {
            Servers::One(source, plain) => {
                source.tell(ears.waited.site());
                let link = Link::new(source, plain, runtime.clone(), limits, ears);
                let tracks = link.tracks().await?;
                Ok((Self { runtime, way: Way::One(Arc::new(link)) }, tracks))
            }
            Servers::Cluster(seeds, dial) => {
                let cluster = Cluster::open(seeds, dial, runtime.clone(), limits, ears).await?;
                let mut tracks = Err(script::no_answer());
                for node in cluster.parts().await? {
                    tracks = node.tracks().await;
                    if tracks.is_ok() {
                        break;
                    }
                }
                Ok((Self { runtime, way: Way::Cluster(Box::new(cluster)) }, tracks?))
            }
        }
    }

    /// Sends a call. Tells whether it was sent twice, because the connection turned out to be dead.
    pub(crate) async fn exchange(&self, call: &Call, manner: Manner) -> Result<(Reply, bool)> {
        let (mut replies, resent) = match &self.way {
            Way::One(link) => link.exchange(&[call], manner).await?,
            Way::Cluster(cluster) => cluster.exchange(call, manner).await?,
        };
        Ok((replies.pop().ok_or_else(script::no_answer)?, resent))
    }

    /// Sends calls in as few goes as there are servers. Answers in the same order.
    pub(crate) async fn exchange_each(&self, calls: &[&Call], manner: Manner) -> Vec<Result<Reply>> {
        match &self.way {
            Way::One(link) => match link.exchange(calls, manner).await {
                Ok((replies, _)) => replies.into_iter().map(Ok).collect(),
                Err(error) => calls.iter().map(|_| Err(script::unanswered(&error))).collect(),
            },
            Way::Cluster(cluster) => cluster.exchange_each(calls, manner).await,
        }
    }

    /// Asks any of the servers.
    pub(crate) async fn ask(&self, question: &[&[u8]]) -> Result<Reply> {
        let question: Vec<Vec<u8>> = question.iter().map(|word| word.to_vec()).collect();
        self.parts().await?.first().ok_or_else(script::no_answer)?.ask(&question).await
    }

    /// Listens to a channel at the server of a key; what is published in a cluster is heard at all nodes.
    pub(crate) async fn listen(&self, key: &[u8], channel: &[u8]) -> Result<()> {
        match &self.way {
            Way::One(link) => link.listen(channel).await,
            Way::Cluster(cluster) => cluster.link(key)?.listen(channel).await,
        }
    }

    /// All servers that hold a part of the keys.
    pub(crate) async fn parts(&self) -> Result<Vec<Arc<Link>>> {
        match &self.way {
            Way::One(link) => Ok(vec![link.clone()]),
            Way::Cluster(cluster) => cluster.parts().await,
        }
    }
}
