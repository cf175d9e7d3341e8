//! Looking at locks from outside, and breaking them.

use std::collections::BTreeMap;

use tenure_core::aio::{AsyncInspect, block_on};
use tenure_core::{Advice, Breaking, Fence, Holder, Inspect, Name, Result};

use super::Quorum;
use super::ask::Ask;
use super::gather::{Patience, Votes, gather};
use super::tally;
use crate::inspect::key_of;

impl Inspect for Quorum {
    fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        block_on(self.look(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        block_on(self.search(prefix))
    }

    fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        block_on(self.take_away(name, breaking, reason))
    }
}

impl AsyncInspect for Quorum {
    async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        self.look(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        self.search(prefix).await
    }

    async fn force_release(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        self.take_away(name, breaking, reason).await
    }
}

impl Quorum {
    async fn look(&self, name: &Name) -> Result<Option<Holder>> {
        Self::check(&key_of(&self.0.site, name))?;
        let votes = self.ask_all(Patience::All, |ballot| Ask::Look { name: name.clone(), ballot }).await;
        self.seen(name, &votes)
    }

    async fn search(&self, prefix: &str) -> Result<Vec<Holder>> {
        let votes = self.ask_all(Patience::All, |ballot| Ask::List { prefix: prefix.into(), ballot }).await;
        let lists = self.majority_of(&votes)?;
        let mut names: BTreeMap<&Name, Vec<&[Holder]>> = BTreeMap::new();
        for list in &lists {
            for holder in list.iter() {
                names.entry(holder.name()).or_default().push(std::slice::from_ref(holder));
            }
        }
        let holder = |(name, mut seen): (&Name, Vec<&[Holder]>)| {
            // Those that do not list it have it free.
            seen.resize(lists.len(), &[]);
            tally::holder(name, &seen, self.nodes().len(), self.majority())
        };
        Ok(names.into_iter().filter_map(holder).collect())
    }

    async fn take_away(&self, name: &Name, breaking: Breaking, reason: &str) -> Result<Option<Holder>> {
        let key = key_of(&self.0.site, name);
        Self::check(&key)?;
        let force = |ballot| Ask::Force { name: name.clone(), breaking, reason: reason.into(), ballot };
        let votes = self.ask_all(Patience::All, force).await;
        let holder = self.seen(name, &votes)?;
        if let Some(holder) = &holder {
            // Each server has moved its fence by itself; the largest becomes that of all.
            let votes = self.ask_all(Patience::All, |ballot| Ask::Look { name: name.clone(), ballot }).await;
            let moved = self.seen(name, &votes)?.map_or(holder.fence(), |moved| moved.fence());
            self.lift(&key, moved).await?;
            self.0.site.force_released(holder, breaking, reason);
            self.0.site.notify(&key);
        }
        Ok(holder)
    }

    /// Raises the last fence of a name on a majority, whoever holds it.
    async fn lift(&self, key: &str, fence: Fence) -> Result<()> {
        let (answers, ballots) = gather(self.nodes().len(), self.majority(), Patience::Majority);
        for (node, ballot) in self.nodes().iter().zip(ballots) {
            node.ask(Ask::Raise { key: key.into(), owner: None, fence, ballot });
        }
        tally::owned(&answers.await, self.majority(), |_| false)
    }

    fn seen(&self, name: &Name, votes: &Votes<Vec<Holder>>) -> Result<Option<Holder>> {
        let seen = self.majority_of(votes)?;
        Ok(tally::holder(name, &seen, self.nodes().len(), self.majority()))
    }

    /// What the servers have seen, if a majority of them answered.
    fn majority_of<'v>(&self, votes: &'v Votes<Vec<Holder>>) -> Result<Vec<&'v [Holder]>> {
        let seen: Vec<&[Holder]> = votes.iter().flatten().flatten().map(Vec::as_slice).collect();
        match seen.len() < self.majority() {
            true => Err(tally::unanswered(votes, self.majority())),
            false => Ok(seen),
        }
    }

    pub(super) async fn advise(&self) -> Vec<Advice> {
        let votes = self.ask_all(Patience::All, |ballot| Ask::Diagnose { ballot }).await;
        let mut advice = Vec::new();
        for (node, vote) in self.nodes().iter().zip(votes) {
            match vote {
                Some(Ok(of_server)) => advice.extend(of_server.iter().map(|of_server| {
                    Advice::new(format!("{}: {}", node.label(), of_server.risk()), of_server.remedy())
                })),
                Some(Err(_)) | None => advice.push(Advice::new(
                    format!("{}: the server does not answer, and fewer others may fail", node.label()),
                    "see whether it runs, and whether the URL names it",
                )),
            }
        }
        advice
    }
}
