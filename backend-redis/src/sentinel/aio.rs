//! The way of tasks to the master that sentinels name.

use std::sync::Arc;

use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult};
use tenure_core::{Error, Result, Site};

use super::{Search, Sentinels, is_demoted, known, plain, unusable, wants_credentials};
use crate::cluster::Address;
use crate::dial::Dial;
use crate::link::Limits;
use crate::resp::Reply;
use crate::wire::reply;

/// The sentinels, and how what they name is reached; clones share it.
#[derive(Clone)]
pub(crate) struct Followed {
    sentinels: Arc<Sentinels>,
    dial: Dial,
}

impl Followed {
    pub(crate) fn new(sentinels: Sentinels, dial: Dial) -> Self {
        Self { sentinels: Arc::new(sentinels), dial }
    }

    /// Whether what was connected to is the master.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it is none.
    pub(crate) fn greeted(&self, address: &Address, role: &Reply) -> Result<()> {
        self.sentinels.greeted(address, role).map(drop)
    }

    /// Whether an answer shows that it is the master no more.
    pub(crate) fn is_over(&self, replies: &[Reply]) -> bool {
        replies.iter().any(is_demoted)
    }

    async fn ask(&self, sentinel: &Address, limits: Limits) -> RedisResult<Reply> {
        let limit = self.sentinels.share(limits.connect);
        let limits = Limits { connect: limit, io: limit };
        let client = self.dial.client(sentinel).map_err(|_| unusable())?;
        match self.ask_as(&plain(&client)?, limits).await {
            Err(error) if wants_credentials(&error) => self.ask_as(&known(&client)?, limits).await,
            answer => answer,
        }
    }

    async fn ask_as(&self, client: &Client, limits: Limits) -> RedisResult<Reply> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits.connect))
            .set_response_timeout(Some(limits.io));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = Cmd::new();
        self.sentinels.question().iter().for_each(|word| {
            question.arg(*word);
        });
        Ok(reply(connection.send_packed_command(&question).await?.extract_error()?))
    }
}

/// How tasks reach a server.
#[derive(Clone)]
pub(crate) enum Source {
    /// It is always the same.
    One(Client),
    /// Sentinels name it.
    Followed(Followed),
}

impl From<Client> for Source {
    fn from(client: Client) -> Self {
        Self::One(client)
    }
}

impl Source {
    /// Begins a search for the server.
    pub(crate) fn candidates(&self) -> Candidates<'_> {
        let whom = match self {
            Self::One(_) => Vec::new(),
            Self::Followed(followed) => followed.sentinels.whom(),
        };
        Candidates { source: self, whom: whom.into_iter(), asked: None, search: Search::default() }
    }

    /// Tells of another server from now on.
    pub(crate) fn tell(&self, site: &Site) {
        if let Self::Followed(followed) = self {
            followed.sentinels.tell(site);
        }
    }

    /// Takes in what the server says it is.
    pub(crate) fn greeted(&self, address: &Address, role: &Reply) -> Result<()> {
        match self {
            Self::One(_) => Ok(()),
            Self::Followed(followed) => followed.greeted(address, role),
        }
    }

    /// Whether answers show that another server is to be asked from now on.
    pub(crate) fn is_over(&self, replies: &[Reply]) -> bool {
        matches!(self, Self::Followed(followed) if followed.is_over(replies))
    }
}

/// Whom to connect to, in turn, until one is the server.
pub(crate) struct Candidates<'s> {
    source: &'s Source,
    whom: std::vec::IntoIter<Address>,
    /// The sentinel that named the last one.
    asked: Option<Address>,
    search: Search,
}

impl Candidates<'_> {
    /// Whom to connect to next, and as what to greet it.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the sentinels do not know it by its name. `Unavailable` if none of them answers,
    /// or nobody whom they name is a master.
    pub(crate) async fn next(&mut self, limits: Limits) -> Result<(Client, Option<Address>)> {
        let followed = match self.source {
            Source::One(client) => return Ok((client.clone(), None)),
            Source::Followed(followed) => followed,
        };
        for sentinel in self.whom.by_ref() {
            if let Some(address) = self.search.heard(followed.ask(&sentinel, limits).await) {
                self.asked = Some(sentinel);
                return Ok((followed.dial.client(&address)?, Some(address)));
            }
        }
        Err(std::mem::take(&mut self.search).failure(&followed.sentinels))
    }

    /// The last one was not it.
    ///
    /// # Errors
    ///
    /// That of the last one, if there is no other.
    pub(crate) fn failed(&mut self, error: Error) -> Result<()> {
        if let Source::One(_) = self.source {
            return Err(error);
        }
        self.search.failed(error);
        Ok(())
    }

    /// The last one was.
    pub(crate) fn found(self) {
        if let (Source::Followed(followed), Some(sentinel)) = (self.source, &self.asked) {
            followed.sentinels.answered(sentinel);
        }
    }
}
