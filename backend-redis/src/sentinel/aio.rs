//! The way of tasks to the master that sentinels name.

use std::sync::Arc;

use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult};
use tenure_core::{Result, Site};

use super::{Sentinels, Word, is_demoted, known, plain, unusable, wants_credentials};
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

    /// Asks the sentinels for the master.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if they do not know it by this name, `Unavailable` if none of them answers.
    pub(crate) async fn master(&self, limits: Limits) -> Result<(Address, Client)> {
        let (mut asked, mut last) = (false, None);
        for sentinel in self.sentinels.whom() {
            match self.ask(&sentinel, limits).await {
                Ok(answer) => {
                    self.sentinels.answered(&sentinel);
                    match Sentinels::word(&answer)? {
                        Word::Master(address) => {
                            let client = self.dial.client(&address)?;
                            return Ok((address, client));
                        }
                        Word::Unknown => asked = true,
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        Err(self.sentinels.nobody(asked, last))
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
    /// Whom to connect to, and as what to greet it.
    pub(crate) async fn client(&self, limits: Limits) -> Result<(Client, Option<Address>)> {
        match self {
            Self::One(client) => Ok((client.clone(), None)),
            Self::Followed(followed) => {
                let (address, client) = followed.master(limits).await?;
                Ok((client, Some(address)))
            }
        }
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
