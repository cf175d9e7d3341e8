//! What is asked of whom in what order, from an acquire to a release.

use std::time::Duration;

use tenure_core::{
    Attempt, Cause, Claim, Denied, Error, Fence, Granted, Lease, Moment, Release, Renewal, Result, Watch,
};

use super::ask::Ask;
use super::gather::{self, Ballot, Gather, Patience, Votes, gather};
use super::node::Node;
use super::tally::{self, Acquired, Said, Split};
use super::{Quorum, QuorumGrant, chance};
use crate::script::{Attempted, How};

/// For how long who has the first of the servers goes on asking the others, from which those who gave way
/// take back what they have.
fn insists(split: Split) -> Duration {
    match split {
        // On a machine that is busy, those who give way may take as long to do so.
        Split::Ours => Duration::from_millis(100),
        Split::Hardly => Duration::from_millis(25),
        Split::No | Split::Theirs => Duration::ZERO,
    }
}

/// How long it waits in between, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(4));

impl Quorum {
    pub(super) async fn acquire(&self, claim: &Claim) -> Result<Attempt<QuorumGrant>> {
        Self::check(claim.key())?;
        let began = Moment::now();
        let mut pause = PAUSE.0;
        loop {
            let sent = Moment::now();
            let votes = self.request(claim, How::Try, sent).await;
            match tally::acquired(&votes, self.majority(), chance(), self.0.site.settings().sleep()) {
                Acquired::Held { fence, agreed } => {
                    return self.confirm(claim, &votes, fence, agreed, sent).await;
                }
                Acquired::Denied(_, split) if sent.since(began) < insists(split) => {
                    self.pause(&votes, pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                Acquired::Denied(denied, _) => {
                    self.take_back(claim, &votes, sent);
                    return Ok(Attempt::Denied(denied));
                }
                Acquired::Failed(error) => {
                    self.take_back(claim, &votes, sent);
                    return Err(error);
                }
            }
        }
    }

    pub(super) async fn take_up(&self, claim: &Claim) -> Result<Granted<QuorumGrant>> {
        Self::check(claim.key())?;
        let sent = Moment::now();
        let votes = self.request(claim, How::Restore, sent).await;
        match tally::acquired(&votes, self.majority(), chance(), self.0.site.settings().sleep()) {
            Acquired::Held { fence, agreed: true } => Ok(granted(claim, fence, sent)),
            Acquired::Held { agreed: false, .. } => {
                // A majority had the fence when it was granted. Servers that came later have larger ones.
                let fence = tally::smallest(&votes);
                self.raise(claim, &votes, fence).await?;
                Ok(granted(claim, fence, sent))
            }
            Acquired::Denied(..) => Err(Error::lost(Cause::Superseded)),
            Acquired::Failed(error) => Err(error),
        }
    }

    /// Waits a while, timed by the thread of a server that answers.
    async fn pause(&self, votes: &Votes<Said>, time: Duration) {
        let answers = |(_, vote): &(&Node, &Option<Result<Said>>)| matches!(vote, Some(Ok(_)));
        if let Some((node, _)) = self.nodes().iter().zip(votes).find(answers) {
            let (pause, over) = gather::pause();
            node.close_at(Moment::now() + time, over);
            pause.await;
        }
    }

    fn request(&self, claim: &Claim, how: How, sent: Moment) -> Gather<Said> {
        let attempt = Attempted::at(sent);
        self.ask_all(Patience::Grace, |ballot| Ask::Acquire { claim: claim.clone(), how, attempt, ballot })
    }

    /// A majority has granted it: it is held once a majority knows its fence, if there is time left then.
    async fn confirm(
        &self,
        claim: &Claim,
        votes: &Votes<Said>,
        fence: Fence,
        agreed: bool,
        sent: Moment,
    ) -> Result<Attempt<QuorumGrant>> {
        let raised = if agreed { Ok(()) } else { self.raise(claim, votes, fence).await };
        let ends = claim.term().ttl().map_or(sent, |ttl| sent.valid_for(ttl.get()));
        let error = match raised {
            Ok(()) if ends > Moment::now() => return Ok(Attempt::Granted(granted(claim, fence, sent))),
            Ok(()) => Error::unavailable(
                "the servers answered after the lease had already run out; use a longer ttl",
            ),
            // It ended, or was broken, in between.
            Err(error) if error.is_lost() => {
                self.take_back_all(claim, sent);
                return Ok(Attempt::Denied(Denied::new()));
            }
            Err(error) => error,
        };
        self.take_back_all(claim, sent);
        Err(error)
    }

    /// Lets a majority know the fence of a grant, so that all later ones are above it.
    async fn raise(&self, claim: &Claim, votes: &Votes<Said>, fence: Fence) -> Result<()> {
        let (answers, ballots) = gather(self.nodes().len(), self.majority(), Patience::Majority);
        for ((node, vote), ballot) in self.nodes().iter().zip(votes).zip(ballots) {
            // Who has granted it, or may have.
            match vote {
                Some(Ok(said @ (Said::No(_) | Said::Gone(_)))) => drop(ballot.cast(Ok(*said))),
                _ => {
                    let (key, owner) = (claim.key().into(), Some(claim.owner()));
                    node.ask(Ask::Raise { key, owner, fence, ballot });
                }
            }
        }
        tally::owned(&answers.await, self.majority(), |_| false)
    }

    /// Takes back what was granted, or may have been. What comes later is taken back as it comes.
    fn take_back(&self, claim: &Claim, votes: &Votes<Said>, sent: Moment) {
        for (node, vote) in self.nodes().iter().zip(votes) {
            let granted = match vote {
                Some(Ok(said)) => matches!(said, Said::Yes(_)),
                Some(Err(error)) => !error.is_settled(),
                None => false,
            };
            if granted {
                node.ask(Ask::TakeBack { claim: claim.clone(), attempt: Attempted::at(sent) });
            }
        }
    }

    /// The same where a majority had granted it, and what comes later would be kept.
    fn take_back_all(&self, claim: &Claim, sent: Moment) {
        for node in self.nodes() {
            node.ask(Ask::TakeBack { claim: claim.clone(), attempt: Attempted::at(sent) });
        }
    }

    pub(super) async fn extend(&self, due: Renewal<'_, QuorumGrant>) -> Result<()> {
        let votes = self.request_renewal(due).await;
        self.extended(due, &votes)
    }

    /// All requests are there before the first answer is waited for, and go out together.
    pub(super) async fn extend_many(&self, due: &[Renewal<'_, QuorumGrant>]) -> Vec<Result<()>> {
        let asked: Vec<_> = due.iter().map(|due| self.request_renewal(*due)).collect();
        let mut answers = Vec::with_capacity(due.len());
        for (due, votes) in due.iter().zip(asked) {
            answers.push(self.extended(*due, &votes.await));
        }
        answers
    }

    fn request_renewal(&self, due: Renewal<'_, QuorumGrant>) -> Gather<Said> {
        let ttl = due.ttl();
        self.ask_all(Patience::Grace, |ballot| Ask::Renew { claim: due.claim().clone(), ttl, ballot })
    }

    fn extended(&self, due: Renewal<'_, QuorumGrant>, votes: &Votes<Said>) -> Result<()> {
        tally::owned(votes, self.majority(), |_| false)?;
        // It is held, so it may be taken too where it was lost, or never was. Never for longer than asked.
        let claim = due.claim();
        if claim.term().ttl().is_some_and(|ttl| ttl.get() <= due.ttl()) {
            for (node, vote) in self.nodes().iter().zip(votes) {
                if matches!(vote, Some(Ok(Said::Gone(Cause::Superseded)))) {
                    let (attempt, ballot) = (Attempted::at(Moment::now()), Ballot::of_nobody());
                    node.ask(Ask::Acquire { claim: claim.clone(), how: How::Try, attempt, ballot });
                }
            }
        }
        Ok(())
    }

    pub(super) async fn end(&self, end: Release<'_, QuorumGrant>) -> Result<()> {
        let keep = end.keep();
        let ask = |ballot| Ask::Release { claim: end.claim().clone(), keep, ballot: Some(ballot) };
        let votes = self.ask_all(Patience::Grace, ask).await;
        let grant = end.grant();
        for (server, vote) in votes.iter().enumerate() {
            match vote {
                Some(Ok(Said::Yes(_))) => QuorumGrant::add(&grant.released, server),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => QuorumGrant::add(&grant.asked, server),
            }
        }
        // A release that was carried out and not answered is found to be nobody's when it is repeated.
        let before = |server| {
            let gone = matches!(votes.get(server), Some(Some(Ok(Said::Gone(Cause::Superseded)))));
            QuorumGrant::is_in(&grant.released, server) || gone && QuorumGrant::is_in(&grant.asked, server)
        };
        tally::owned(&votes, self.majority(), before)
    }

    pub(super) async fn leave(&self, claim: &Claim) {
        let ask = |ballot| Ask::Release { claim: claim.clone(), keep: None, ballot: Some(ballot) };
        self.ask_all(Patience::Grace, ask).await;
    }

    pub(super) async fn listen(&self, claim: &Claim) -> Result<Watch> {
        let votes = self.ask_all(Patience::Grace, |ballot| Ask::Watch { claim: claim.clone(), ballot }).await;
        let watches: Vec<Watch> = votes.into_iter().flatten().flatten().collect();
        match watches.is_empty() {
            true => Err(Error::unavailable("none of the servers tells of changes").settled()),
            false => Ok(Watch::armed(watches)),
        }
    }
}

fn granted(claim: &Claim, fence: Fence, sent: Moment) -> Granted<QuorumGrant> {
    let lease = claim.term().ttl().map_or(Lease::Session, |ttl| Lease::For(ttl.get()));
    Granted::new(QuorumGrant::default(), fence, lease).since(sent)
}
