//! Connections that tasks share.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use diesel::result::QueryResult;
use tenure_core::{Error, Moment, Result};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::lines::Place;
use super::link::Link;
use super::open::Opener;
use crate::failure::{self, Remedy};
use crate::pool::{Answered, PAUSE, doubtful};

/// A pool of connections. Each request is a task of the runtime that the store was opened in: whoever asks
/// may be polled by any executor, and may be dropped while the request is under way, which then goes on to
/// its end on a connection that nobody else has meanwhile.
pub(crate) struct Pool {
    runtime: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    opener: Opener,
    idle: Mutex<Vec<Idle>>,
    seats: Semaphore,
    limits: Limits,
}

/// How much a pool may have, and how long it may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) size: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) io_timeout: Duration,
}

/// A connection that nobody uses.
struct Idle {
    link: Link,
    made: Moment,
}

/// Something to be asked on a connection, perhaps several times.
pub(crate) trait Request: Send + 'static {
    type Answer: Send + 'static;

    /// Asks.
    fn ask(&mut self, link: &mut Link) -> impl Future<Output = QueryResult<Self::Answer>> + Send;
}

impl Pool {
    pub(crate) fn new(runtime: Handle, opener: Opener, limits: Limits) -> Self {
        let size = usize::try_from(limits.size).unwrap_or(Semaphore::MAX_PERMITS);
        let seats = Semaphore::new(size.min(Semaphore::MAX_PERMITS));
        Self { runtime, shared: Arc::new(Shared { opener, idle: Mutex::default(), seats, limits }) }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Asks on a connection, when the turn of all places has come, and asks again while others are in the way or
    /// connections turn out to be dead. What is asked carries a token, and is the same if it is carried out
    /// twice. Dropped before it was sent, it is never sent.
    pub(crate) async fn ask<R: Request>(
        &self,
        places: Vec<Place>,
        request: R,
    ) -> Result<Answered<R::Answer>> {
        let (mut teller, told) = oneshot::channel();
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            for place in &places {
                if while_heard(&mut teller, place.turn()).await.is_none() {
                    return;
                }
            }
            if let Some(answer) = shared.ask(&mut teller, request).await {
                let _ = teller.send(answer);
            }
            // Whoever has the next place may go on.
            drop(places);
        });
        told.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Nobody carries out requests any more.
pub(super) fn ended() -> Error {
    Error::unavailable(
        "the tokio runtime that the store was opened in has ended; keep it while there are locks",
    )
}

impl Shared {
    /// Nothing if nobody waits for the answer any more.
    async fn ask<R: Request>(
        &self,
        teller: &mut oneshot::Sender<Result<Answered<R::Answer>>>,
        mut request: R,
    ) -> Option<Result<Answered<R::Answer>>> {
        let limit = self.limits.connect_timeout;
        let seat = match while_heard(teller, timeout(limit, self.seats.acquire())).await? {
            Ok(seat) => seat,
            Err(_) => return Some(Err(self.crowded())),
        };
        let (began, mut resent) = (Moment::now(), false);
        let answer = loop {
            let mut idle = match while_heard(teller, self.get()).await? {
                Ok(idle) => idle,
                Err(error) => break Err(doubtful(error, resent)),
            };
            let old = idle.made < began;
            let failed = loop {
                // The server itself stops what takes longer than the limit.
                let asked = timeout(self.limits.io_timeout * 3 / 2, request.ask(&mut idle.link)).await;
                match asked {
                    Ok(Ok(value)) => {
                        self.put(idle);
                        return Some(Ok(Answered { value, resent }));
                    }
                    Ok(Err(error)) if failure::remedy(&error) == Remedy::Repeat => {
                        if teller.is_closed() || Moment::now().since(began) >= self.limits.io_timeout {
                            break Some(error);
                        }
                        let (least, most) = PAUSE;
                        sleep(rand::random_range(least..most)).await;
                    }
                    Ok(Err(error)) => break Some(error),
                    Err(_) => break None,
                }
            };
            match failed {
                None => break Err(Error::unavailable("the database did not answer in time")),
                // After a restart of the server every connection from before is dead; each is found out once.
                Some(failed) if old && failure::remedy(&failed) == Remedy::Reconnect => resent = true,
                Some(failed) => break Err(doubtful(failure::error(&failed), resent)),
            }
        };
        drop(seat);
        Some(answer)
    }

    /// A connection that is there, or a new one.
    async fn get(&self) -> Result<Idle> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        let made = Moment::now();
        let opened = timeout(self.limits.connect_timeout, self.opener.open()).await;
        let link = opened.unwrap_or_else(|_| {
            let limit = self.limits.connect_timeout;
            let said = format!("no connection within {limit:?}; see whether the database answers");
            Err(Error::unavailable(said).settled())
        })?;
        Ok(Idle { link, made })
    }

    fn put(&self, idle: Idle) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }

    fn crowded(&self) -> Error {
        let Limits { size, connect_timeout, .. } = self.limits;
        Error::unavailable(format!(
            "none of {size} connections was free within {connect_timeout:?}; raise pool_size, or see whether the \
             database answers"
        ))
        .settled()
    }
}

/// Goes on as long as somebody waits for the answer.
async fn while_heard<T, A>(teller: &mut oneshot::Sender<A>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match teller.poll_closed(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(context).map(Some),
    })
    .await
}
