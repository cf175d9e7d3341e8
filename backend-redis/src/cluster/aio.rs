//! The way of tasks through a cluster: a connection to each node.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tenure_core::{Error, Moment, Result};
use tokio::runtime::Handle;

use super::known::{Known, Route, Step};
use super::slots::{self, Address, Redirect, Slots};
use super::{Part, told};
use crate::dial::Dial;
use crate::ears::Ears;
use crate::link::{Limits, Link};
use crate::net::Manner;
use crate::pool::doubtful;
use crate::resp::Reply;
use crate::script::{self, Call};

/// The way of tasks to all nodes.
pub(crate) struct Cluster {
    known: Known<Arc<Link>>,
    limits: Limits,
    runtime: Handle,
}

impl Cluster {
    /// Asks the nodes which of them serves what.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if they are no cluster, `Unavailable` if none of them answers.
    pub(crate) async fn open(
        seeds: Vec<Address>,
        dial: Dial,
        runtime: Handle,
        limits: Limits,
        ears: Arc<Ears>,
    ) -> Result<Self> {
        let (on, site) = (runtime.clone(), ears.waited.site().clone());
        let open = move |address: &Address| {
            Ok(Arc::new(Link::new(dial.client(address)?.into(), None, on.clone(), limits, ears.clone())))
        };
        let cluster = Self { known: Known::new(seeds, open), limits, runtime };
        let whom = cluster.known.whom();
        cluster.look(&whom).await?;
        cluster.known.tell(&site);
        Ok(cluster)
    }

    /// Asks nodes in turn which of them serves what, until one answers or the time for one is over.
    async fn look(&self, whom: &[Address]) -> Result<()> {
        let began = Moment::now();
        let mut last = None;
        for address in whom {
            match self.look_at(address).await {
                Ok(slots) => {
                    self.known.learn(slots);
                    return Ok(());
                }
                Err(error) => {
                    self.known.failed(address);
                    last = Some(error);
                }
            }
            if Moment::now().since(began) > self.limits.io {
                break;
            }
        }
        Err(last.unwrap_or_else(|| Error::unavailable("no node of the cluster answers").settled()))
    }

    async fn look_at(&self, address: &Address) -> Result<Slots> {
        let question: Vec<Vec<u8>> = slots::QUESTION.iter().map(|word| word.to_vec()).collect();
        told(&self.known.node(address)?.ask(&question).await?, address)
    }

    async fn refresh(&self) {
        if let Some(whom) = self.known.due(Moment::now()) {
            // As long as nobody knows better, what is known is all there is.
            let _ = self.look(&whom).await;
        }
    }

    /// As [`Link::exchange`], for one call.
    pub(crate) async fn exchange(&self, call: &Call, manner: Manner) -> Result<(Vec<Reply>, bool)> {
        self.refresh().await;
        let mut route = Route::new(&self.known, call.key(), Moment::now() + self.limits.io)?;
        let mut resent = false;
        loop {
            let manner = Manner { asking: route.is_asking(), ..manner };
            match route.node()?.exchange(&[call], manner).await {
                Ok((replies, again)) => {
                    resent |= again;
                    match route.answered(&replies, Moment::now()) {
                        Ok(Step::Done) => return Ok((replies, resent)),
                        Ok(Step::Again) => {}
                        Ok(Step::After(pause)) => {
                            let slept = {
                                let _entered = self.runtime.enter();
                                tokio::time::sleep(pause)
                            };
                            slept.await;
                        }
                        Err(error) => return Err(doubtful(error, resent)),
                    }
                }
                Err(error) => {
                    let looked = match route.unanswered(&error, Moment::now()) {
                        Some(whom) => self.look(&whom).await.is_ok(),
                        None => false,
                    };
                    if !looked || !route.changes() {
                        return Err(doubtful(error, resent));
                    }
                }
            }
        }
    }

    /// Sends calls of any slots, in one go to each node.
    pub(crate) async fn exchange_each(&self, calls: &[&Call], manner: Manner) -> Vec<Result<Reply>> {
        self.refresh().await;
        let parts = Part::split(&self.known, calls.iter().map(|call| call.key()));
        let mut answers: Vec<Result<Reply>> = Vec::new();
        answers.resize_with(calls.len(), || Err(Error::unavailable("no node of the cluster serves it")));
        let parted = all(parts.iter().map(|part| self.send_part(part, calls, manner))).await;
        for (part, sent) in parts.iter().zip(parted) {
            for (place, answer) in part.places.iter().zip(sent) {
                answers[*place] = answer;
            }
        }
        answers
    }

    async fn send_part(&self, part: &Part, all: &[&Call], manner: Manner) -> Vec<Result<Reply>> {
        let calls: Vec<&Call> = part.places.iter().map(|place| all[*place]).collect();
        let sent = match self.known.node(&part.address) {
            Ok(link) => link.exchange(&calls, manner).await,
            Err(error) => Err(error),
        };
        let replies = match sent {
            Ok((replies, _)) => replies,
            Err(error) => {
                self.known.failed(&part.address);
                return calls.iter().map(|_| Err(script::unanswered(&error))).collect();
            }
        };
        let mut answers = Vec::with_capacity(calls.len());
        // Those whose slot is elsewhere by now find their own way.
        for (reply, call) in replies.into_iter().zip(calls) {
            answers.push(match Redirect::of(&reply, &part.address.host) {
                None => Ok(reply),
                Some(_) => {
                    let alone = self.exchange(call, manner).await;
                    alone.map(|(mut replies, _)| replies.pop().unwrap_or(Reply::Nil))
                }
            });
        }
        answers
    }

    /// The way to the node that has a key.
    pub(crate) fn link(&self, key: &[u8]) -> Result<Arc<Link>> {
        Route::new(&self.known, key, Moment::now() + self.limits.io)?.node()
    }

    /// The nodes that hold a part of the keys each.
    pub(crate) async fn parts(&self) -> Result<Vec<Arc<Link>>> {
        self.refresh().await;
        self.known.masters().iter().map(|address| self.known.node(address)).collect()
    }
}

/// What several futures give, which wait side by side.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(Running::new).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for one in &mut running {
            waits |= one.poll(cx).is_pending();
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|one| one.output).collect()
}

/// A future, and what it gave.
struct Running<F: Future> {
    future: Pin<Box<F>>,
    output: Option<F::Output>,
}

impl<F: Future> Running<F> {
    fn new(future: F) -> Self {
        Self { future: Box::pin(future), output: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.output.is_none() {
            match self.future.as_mut().poll(cx) {
                Poll::Ready(output) => self.output = Some(output),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}
