//! The connection to a server that all tasks share.
//!
//! One task owns it. It sends what has come meanwhile in one go, in the order in which it came, and waits for
//! all answers before it sends more; so what one caller asked for before is carried out before what the same
//! one asks for later, whatever becomes of their futures.

use std::io::Error as IoError;
use std::sync::Arc;
use std::time::Duration;

use memcache::exp::{AsyncMetaConnection, Error as WireError};
use tenure_core::{Error, Moment, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Limits;
use crate::pool::{is_closed, no_connection, unanswered};
use crate::wire::{Answer, Answers, Request, Said};

/// Hands requests to the task that owns the connection, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    requests: mpsc::UnboundedSender<Asked>,
}

struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<Said>>,
}

/// How many requests are sent in one go.
const TOGETHER: usize = 128;

impl Link {
    pub(crate) fn new(address: &str, limits: Limits, runtime: &Handle) -> Self {
        let (requests, asked) = mpsc::unbounded_channel();
        let line = Line { address: address.into(), limits, open: None };
        runtime.spawn(line.serve(asked));
        Self { requests }
    }

    /// Sends a request, and waits for its answers.
    pub(crate) async fn exchange(&self, request: Request) -> Result<Said> {
        let over =
            || Error::unavailable("the tokio runtime of the store has ended; connect it in one that lasts");
        let (answer, told) = oneshot::channel();
        self.requests.send(Asked { request, answer }).map_err(|_| over().settled())?;
        told.await.map_err(|_| over())?
    }
}

struct Line {
    address: Arc<str>,
    limits: Limits,
    open: Option<Open>,
}

struct Open {
    writer: TcpStream,
    reader: AsyncMetaConnection,
    made: Moment,
}

impl Line {
    async fn serve(mut self, mut asked: mpsc::UnboundedReceiver<Asked>) {
        let mut batch = Vec::new();
        while asked.recv_many(&mut batch, TOGETHER).await > 0 {
            self.answer(std::mem::take(&mut batch)).await;
        }
    }

    async fn answer(&mut self, batch: Vec<Asked>) {
        let (limit, old, mut resent) = (self.limits.io, self.open.is_some(), false);
        let mut left = batch.into_iter();
        loop {
            let open = match self.open().await {
                Ok(open) => open,
                Err(error) => {
                    return left
                        .for_each(|asked| tell(asked, Err(no_connection(&error.to_string())), resent));
                }
            };
            let (all, stale): (Vec<Asked>, Vec<Asked>) =
                left.partition(|asked| asked.request.fits(open.made));
            stale.into_iter().for_each(|asked| tell(asked, Ok(Said::Stale { resent }), resent));
            let (rest, failed) = open.exchange(all, limit, resent).await;
            let Some(source) = failed else { return };
            self.open = None;
            let closed = is_closed(&source);
            // A connection that had been idle may have died with a restarted server.
            if !closed || !old || resent {
                let error = unanswered(source, closed);
                return rest
                    .into_iter()
                    .for_each(|asked| tell(asked, Err(crate::backend::again(&error)), false));
            }
            resent = true;
            left = rest.into_iter();
        }
    }

    async fn open(&mut self) -> std::io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => dial(&self.address, self.limits.connect).await?,
        };
        Ok(self.open.insert(open))
    }
}

/// Answers one; nobody may be there any more to hear it.
fn tell(asked: Asked, said: Result<Said>, resent: bool) {
    let said = said.map_err(|error| crate::pool::doubtful(error, resent));
    let _ = asked.answer.send(said);
}

async fn dial(address: &str, limit: Duration) -> std::io::Result<Open> {
    let stream = timeout(limit, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(timed_out()))?;
    stream.set_nodelay(true)?;
    // What the crate has no word for is written past it.
    let reader = stream.into_std()?;
    let writer = TcpStream::from_std(reader.try_clone()?)?;
    let reader = AsyncMetaConnection::from_stream(TcpStream::from_std(reader)?);
    Ok(Open { writer, reader, made: Moment::now() })
}

fn timed_out() -> IoError {
    std::io::ErrorKind::TimedOut.into()
}

impl Open {
    /// Sends requests and tells their answers; returns those that got none, and why.
    async fn exchange(
        &mut self,
        all: Vec<Asked>,
        limit: Duration,
        resent: bool,
    ) -> (Vec<Asked>, Option<WireError>) {
        let (deadline, sent) = (Instant::now() + limit, Moment::now());
        let bytes: Vec<u8> = all.iter().flat_map(|asked| asked.request.bytes()).copied().collect();
        let written =
            timeout_at(deadline, self.writer.write_all(&bytes)).await.unwrap_or_else(|_| Err(timed_out()));
        if let Err(error) = written {
            return (all, Some(error.into()));
        }
        let mut all = all.into_iter();
        while let Some(asked) = all.next() {
            let read = timeout_at(deadline, self.read(&asked.request)).await;
            match read.unwrap_or_else(|_| Err(timed_out().into())) {
                Ok(answers) => tell(asked, Ok(Said::Answered(Answers { sent, resent, ..answers })), resent),
                Err(error) => return (std::iter::once(asked).chain(all).collect(), Some(error)),
            }
        }
        (Vec::new(), None)
    }

    async fn read(&mut self, request: &Request) -> memcache::exp::Result<Answers> {
        let mut answers = Answers::new(self.made);
        while answers.replies.len() < request.answers() {
            answers.replies.push(self.reader.receive().await.and_then(Answer::read)?);
        }
        Ok(answers)
    }
}
