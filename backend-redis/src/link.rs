//! The connection that the tasks of a program share.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, Value};
use tenure_core::{Error, Result};
use tokio::runtime::Handle;

use crate::acks;
use crate::cluster::{ASKING, Address, behind_asking};
use crate::ears::Ears;
use crate::listener::Listener;
use crate::net::Manner;
use crate::pool::{doubtful, no_connection};
use crate::resp::{Commands, Reply};
use crate::script::{self, Call};
use crate::sentinel::aio::Source;
use crate::wire::{Timed, reply};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) io: Duration,
}

/// The connection, made when it is needed and thrown away when it fails.
pub(crate) struct Link {
    source: Source,
    /// For a server that does not speak RESP3, on which a connection that listens can do nothing else.
    plain: Option<Timed>,
    runtime: Handle,
    limits: Limits,
    ears: Arc<Ears>,
    /// What listens to such a server.
    thread: OnceLock<Listener>,
    open: tokio::sync::Mutex<Option<Open>>,
}

/// The number of the next connection: those from before have smaller ones.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What came back.
struct Sent {
    /// The answers, or what the server said instead.
    replies: std::result::Result<Vec<Reply>, Reply>,
    /// The number of the connection.
    number: u64,
    /// Whether it was sent twice, because the connection turned out to be dead.
    resent: bool,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    number: u64,
    /// Whether it can tell something unasked.
    tells: bool,
    /// Whether the server tells of changed keys.
    tracks: bool,
    /// Whether it is subscribed to the channel of the ears.
    hears: bool,
}

impl Link {
    pub(crate) fn new(
        source: Source,
        plain: Option<Timed>,
        runtime: Handle,
        limits: Limits,
        ears: Arc<Ears>,
    ) -> Self {
        let open = tokio::sync::Mutex::new(None);
        Self { source, plain, runtime, limits, ears, thread: OnceLock::new(), open }
    }

    /// Whether the server tells of changed keys.
    pub(crate) async fn tracks(&self) -> Result<bool> {
        Ok(self.connection().await?.tracks)
    }

    /// Sends calls in one go, and waits for their answers. Tells whether they were sent twice, because
    /// the connection turned out to be dead.
    pub(crate) async fn exchange(&self, calls: &[&Call], manner: Manner) -> Result<(Vec<Reply>, bool)> {
        let write = |open: &Open, pipeline: &mut Pipeline| {
            if manner.track && open.tracks {
                pipeline.push(&[b"CLIENT", b"CACHING", b"YES"]);
            }
            let skip = pipeline.len();
            if manner.asking {
                pipeline.push(ASKING);
            }
            calls.iter().for_each(|call| call.write(manner.by, pipeline));
            if let Some(acks) = manner.acks {
                acks.write(pipeline);
            }
            skip
        };
        let sent = self.send(write).await?;
        let replies = match sent.replies {
            Ok(replies) if manner.asking => behind_asking(replies),
            Ok(replies) => replies,
            Err(refused) => return Ok((vec![refused; calls.len()], sent.resent)),
        };
        if self.source.is_over(&replies) {
            self.discard(sent.number).await;
        }
        Ok((acks::judged(replies, manner.acks), sent.resent))
    }

    /// Sends one plain command.
    pub(crate) async fn ask(&self, arguments: &[Vec<u8>]) -> Result<Reply> {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let write = |_: &Open, pipeline: &mut Pipeline| {
            pipeline.push(&arguments);
            0
        };
        let sent = self.send(write).await?;
        let reply = sent.replies.map(|mut replies| replies.pop());
        reply.unwrap_or_else(Some).ok_or_else(script::no_answer)
    }

    /// Sends what is written for a connection, and waits for the answers, without as many of the first as
    /// the writer says. A connection from before that turns out to be dead is tried again on another; one
    /// that was made for this is not.
    async fn send(&self, write: impl Fn(&Open, &mut Pipeline) -> usize) -> Result<Sent> {
        let fresh = NEXT.load(Ordering::Relaxed);
        let mut pipeline = Pipeline::new();
        let mut resent = false;
        loop {
            let open = self.connection().await.map_err(|error| doubtful(error, resent))?;
            pipeline.clear();
            let skip = write(&open, &mut pipeline);
            let (mut connection, count) = (open.connection.clone(), pipeline.len());
            let error = match self.within(connection.send_packed_commands(&pipeline, 0, count)).await {
                Ok(values) => {
                    let replies = Ok(values.into_iter().skip(skip).map(reply).collect());
                    return Ok(Sent { replies, number: open.number, resent });
                }
                Err(error) => match error.code() {
                    Some(code) => {
                        let refused = Reply::refusal(code, error.detail());
                        return Ok(Sent { replies: Err(refused), number: open.number, resent });
                    }
                    None => error,
                },
            };
            self.discard(open.number).await;
            if error.is_timeout() || open.number >= fresh {
                let message = if error.is_timeout() {
                    "the server did not answer in time"
                } else {
                    "the server closed the connection before it answered"
                };
                return Err(Error::unavailable(message).with_source(error));
            }
            resent = true;
        }
    }

    async fn connection(&self) -> Result<Open> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut candidates = self.source.candidates();
        let (mut connection, tells) = loop {
            let (client, master) = self.within(candidates.next(self.limits)).await?;
            match self.dial(&client, master).await {
                Ok(connected) => break connected,
                Err(error) => candidates.failed(error)?,
            }
        };
        candidates.found();
        let mut tracking = Cmd::new();
        tracking.arg("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN").arg("NOLOOP");
        let tracks = tells && {
            let answer = self.within(connection.send_packed_command(&tracking)).await;
            answer.is_ok_and(|value| !matches!(value, Value::ServerError(_)))
        };
        let hears = match self.ears.wanted() {
            Some(channel) if tells => self.within(connection.subscribe(channel)).await.is_ok(),
            _ => false,
        };
        let fresh = Open { connection, number, tells, tracks, hears };
        *open = Some(fresh.clone());
        drop(open);
        // What happened before the connection was there was heard by nobody.
        self.ears.waited.all_changed();
        Ok(fresh)
    }

    /// Connects to a server, and greets it if it is to be a master. Tells whether it can tell something
    /// unasked.
    async fn dial(&self, client: &Client, master: Option<Address>) -> Result<(MultiplexedConnection, bool)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limits.connect))
            .set_response_timeout(Some(self.limits.io));
        let hearing = config.clone().set_push_sender(self.ears.clone().pushes());
        let connect = client.get_multiplexed_async_connection_with_config(&hearing);
        let mut connected = self.within(connect).await;
        let mut tells = true;
        if let Some(plain) = self.plain.as_ref().filter(|_| connected.as_ref().is_err_and(knows_no_resp3)) {
            connected = self.within(plain.client.get_multiplexed_async_connection_with_config(&config)).await;
            tells = false;
        }
        let mut connection = connected.map_err(|source| match knows_no_resp3(&source) {
            true => Error::misconfigured(
                "the server knows no RESP3, which tasks need in a cluster and behind sentinels; it comes with \
                 Redis 6, and the store for threads does without it",
            )
            .with_source(source.to_string()),
            false => no_connection(&source.to_string()),
        })?;
        if let Some(address) = master {
            let role = self.within(connection.send_packed_command(&redis::cmd("ROLE"))).await;
            self.source.greeted(&address, &role.map_or(Reply::Nil, reply)).map_err(Error::settled)?;
        }
        Ok((connection, tells))
    }

    /// Listens to a channel, on this connection and on those that come after it.
    pub(crate) async fn listen(&self, channel: &[u8]) -> Result<()> {
        self.ears.want();
        let mut heard = self.connection().await?;
        if heard.hears {
            return Ok(());
        }
        if let Some(plain) = self.plain.as_ref().filter(|_| !heard.tells) {
            if self.thread.get().is_none() {
                // Two that start at once are one too many for a moment.
                let _ = self.thread.set(Listener::start(Arc::new(plain.clone()), 0, self.ears.apart())?);
            }
            return Ok(());
        }
        if let Err(source) = self.within(heard.connection.subscribe(channel)).await {
            if source.code().is_none() {
                self.discard(heard.number).await;
            }
            return Err(Error::unavailable("no connection to listen on").with_source(source).settled());
        }
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_mut().filter(|open| open.number == heard.number) {
            open.hears = true;
        }
        drop(open);
        self.ears.waited.all_changed();
        Ok(())
    }

    async fn discard(&self, number: u64) {
        let mut open = self.open.lock().await;
        if open.as_ref().is_some_and(|open| open.number == number) {
            *open = None;
        }
    }

    /// Polls a future of the client in the runtime that its timers belong to.
    fn within<F: Future>(&self, future: F) -> Within<'_, F> {
        Within { runtime: &self.runtime, future: Box::pin(future) }
    }
}

struct Within<'r, F> {
    runtime: &'r Handle,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = self.runtime.enter();
        self.future.as_mut().poll(cx)
    }
}

/// Whether a server refused the command that asks for RESP3, as those before Redis 6 do.
fn knows_no_resp3(error: &RedisError) -> bool {
    let said = error.detail().unwrap_or_default().to_ascii_lowercase();
    error.kind() == ErrorKind::RESP3NotSupported || (error.code().is_some() && said.contains("hello"))
}

impl Commands for Pipeline {
    fn push(&mut self, arguments: &[&[u8]]) {
        let mut command = Cmd::new();
        for argument in arguments {
            command.arg(*argument);
        }
        self.add_command(command);
    }
}
