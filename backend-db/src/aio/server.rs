//! The store for tasks on a server that is spoken to by futures.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::aio::Task;
use tenure_core::{
    Advice, Attempt, Breaking, Claim, Error, Granted, Holder, Mode, Name, Release, Renewal, Resolved, Result,
    Site, Watch,
};

use super::lines::Lines;
use super::pool::{Pool, ended};
use super::request::{Act, Do, Follow, Look, Pick, Question, Renew, Run, Tell, Version};
use crate::answer::{self, Answer, Seen};
use crate::backend::{PATIENCE, check};
use crate::batch::MOST;
use crate::collect::{self, Broom};
use crate::course::Course;
use crate::diagnose;
use crate::dialect::{Deed, Dialect};
use crate::inspect::{LOOKS, after, breaking_values, holders_of, whole_key};
use crate::key::Key;
use crate::pool::Answered;
use crate::renew::{is_single, unanswered};
use crate::schema;
use crate::statement::{Text, Values, micros};
use crate::table::Table;
use crate::wake::{self, Wake};

#[derive(Clone)]
pub(super) struct Server(Arc<Inner>);

struct Inner {
    site: Site,
    pool: Pool,
    lines: Arc<Lines>,
    dialect: Arc<Dialect>,
    table: Table,
    wake: Arc<dyn Wake>,
    channel: String,
    broom: Broom,
    guard: bool,
}

/// What a store is made of.
pub(super) struct Parts {
    pub(super) site: Site,
    pub(super) pool: Pool,
    pub(super) dialect: Dialect,
    pub(super) table: Table,
    pub(super) wake: Arc<dyn Wake>,
    pub(super) guard: bool,
}

impl Server {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { site, pool, dialect, table, wake, guard } = parts;
        let channel = wake::channel(&table);
        let (lines, dialect) = (Arc::default(), Arc::new(dialect));
        Self(Arc::new(Inner { site, pool, lines, dialect, table, wake, channel, broom: Broom::new(), guard }))
    }

    pub(super) async fn migrate(&self) -> Result<()> {
        let table = &self.0.table;
        let asked = self.0.pool.ask(Vec::new(), Version(schema::version_text(table))).await;
        match asked {
            Ok(Answered { value: version, .. }) if version > 0 => schema::check(version, table),
            Err(error) if error.is_unavailable() => Err(error),
            _ => {
                let statements = schema::statements(self.0.dialect.kind, table);
                self.0.pool.ask(Vec::new(), Run(statements)).await?;
                self.check().await
            }
        }
    }

    /// Whether the tables are there, and of a version that this library knows.
    pub(super) async fn check(&self) -> Result<()> {
        let asked = Version(schema::version_text(&self.0.table));
        let version = self.0.pool.ask(Vec::new(), asked).await?.value;
        schema::check(version, &self.0.table)
    }

    pub(super) async fn forget_unused(&self, idle: Duration) -> Result<u64> {
        let values = collect::values(idle)?;
        // First, so that no name is forgotten whose next fence could be lower.
        self.act(|dialect| &dialect.raise, values.clone()).await?;
        self.act(|dialect| &dialect.shares.forget, values.clone()).await?;
        let mut all = 0;
        loop {
            let some = self.act(|dialect| &dialect.forget, values.clone()).await?;
            all += some as u64;
            if some == 0 {
                return Ok(all);
            }
        }
    }

    /// Forgets unused names now and then, in the background.
    fn sweep_now_and_then(&self) {
        if self.0.broom.is_due() {
            let own = self.clone();
            drop(self.0.pool.runtime().spawn(async move { own.forget_unused(collect::IDLE).await }));
        }
    }

    async fn act(&self, text: Pick<Text>, values: Values) -> Result<usize> {
        let act = Act { dialect: self.0.dialect.clone(), text, values };
        Ok(self.0.pool.ask(Vec::new(), act).await?.value)
    }

    pub(super) fn site(&self) -> &Site {
        &self.0.site
    }

    pub(super) async fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        check(claim)?;
        let key = self.key(claim)?;
        self.know(&key).await?;
        let answer = self.ask(claim, &key).await?;
        match answer {
            Some(Answer { code: Answer::DONE, awaited, .. }) => {
                match claim.mode() {
                    Mode::Exclusive => self.0.wake.granted(&key, awaited > 0),
                    // Others may have it too, and must not wait until this one lets go.
                    _ => self.0.wake.denied(&key),
                }
                self.sweep_now_and_then();
            }
            _ => self.0.wake.denied(&key),
        }
        answer::attempt(claim, answer)
    }

    pub(super) async fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let (claim, ttl) = (due.claim(), due.ttl());
        let mut values = Values::of_claim(claim, &*self.key(claim)?);
        values.ttl = micros(ttl);
        let deed = if ttl == Duration::MAX { Deed::Verify } else { Deed::Renew };
        answer::verdict(self.do_with(claim, deed, values).await?.value, false)
    }

    /// Renews locks in as few statements as there are; those that are lost are found by halving.
    pub(super) async fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        let mut answers = Vec::with_capacity(due.len());
        let mut left: Vec<&[Renewal<'_, ()>]> = due.chunks(MOST).rev().collect();
        while let Some(some) = left.pop() {
            if let [one] = some {
                answers.push(self.renew(*one).await);
                continue;
            }
            if some.iter().any(is_single) {
                left.extend(some.chunks(1).rev());
                continue;
            }
            match self.renew_together(some).await {
                Ok(renewed) if renewed == some.len() => answers.extend(some.iter().map(|_| Ok(()))),
                Ok(_) => left.extend(some.chunks(some.len().div_ceil(2)).rev()),
                Err(error) => answers.extend(some.iter().map(|_| Err(unanswered(&error)))),
            }
        }
        answers
    }

    /// How many of them were renewed.
    async fn renew_together(&self, due: &[Renewal<'_, ()>]) -> Result<usize> {
        let values = |due: &Renewal<'_, ()>| -> Result<Values> {
            let mut values = Values::of_claim(due.claim(), &*self.key(due.claim())?);
            values.ttl = micros(due.ttl());
            Ok(values)
        };
        let all = due.iter().map(values).collect::<Result<Vec<_>>>()?;
        let places = self.0.lines.stand(due.iter().map(|due| due.claim().owner()));
        Ok(self.0.pool.ask(places, Renew { dialect: self.0.dialect.clone(), all }).await?.value)
    }

    pub(super) async fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let Answered { value, resent } = self.let_go(end.claim(), end.keep()).await?;
        answer::verdict(value, resent)
    }

    pub(super) fn spawn(&self, task: Task) {
        drop(self.0.pool.runtime().spawn(task));
    }

    pub(super) async fn abandon(&self, claim: &Claim) {
        let _ = self.let_go(claim, None).await;
    }

    pub(super) async fn watch(&self, claim: &Claim) -> Result<Watch> {
        let (key, wake) = (self.key(claim)?, self.0.wake.clone());
        let (key, whole) = ((*key).clone(), claim.key().to_owned());
        // The listener may have yet to connect.
        let watching = self.0.pool.runtime().spawn_blocking(move || wake.watch(&key, &whole, PATIENCE));
        let registered = watching.await.map_err(|_| ended())??;
        Ok(registered.map_or_else(Watch::none, Watch::armed))
    }

    pub(super) async fn is_awaited(&self, claim: &Claim) -> bool {
        let Ok(key) = self.key(claim) else { return false };
        let asked = self.follow(|dialect| &dialect.awaited, Values::of(&key)).await;
        // Without an answer, one merely waits less fairly.
        asked.is_ok_and(|answered| answered.value.is_some_and(|answer| answer.awaited > 0))
    }

    pub(super) async fn diagnose(&self) -> Vec<Advice> {
        let kind = self.0.dialect.kind;
        let mut words = Vec::new();
        for question in diagnose::questions(kind, &self.0.table.full()) {
            let answer = self.0.pool.ask(Vec::new(), Question(question)).await;
            words.push(answer.ok().and_then(|answer| answer.value).unwrap_or_default());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        diagnose::judge(kind, &words, self.0.guard)
    }

    pub(super) async fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        check(claim)?;
        let key = self.key(claim)?;
        self.know(&key).await?;
        let values = Values::of_claim(claim, &key);
        let answered = self.do_with(claim, Deed::Restore, values).await?;
        answer::restored(claim, answered.value)
    }

    pub(super) async fn inspect(&self, name: &Name) -> Result<Option<Holder>> {
        let key = Key::new(&whole_key(self.site(), name.as_str()));
        Ok(self.see(&key).await?.map(|seen| seen.holder(name.clone())))
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Holder>> {
        let from = whole_key(self.site(), prefix);
        let to = after(from.as_bytes());
        let values = Values { from: from.clone().into_bytes(), to, ..Values::default() };
        Ok(holders_of(self.site(), &from, self.look(|dialect| &dialect.list, values).await?))
    }

    pub(super) async fn force_release(
        &self,
        name: &Name,
        breaking: Breaking,
        reason: &str,
    ) -> Result<Option<Holder>> {
        let whole = whole_key(self.site(), name.as_str());
        let key = Key::new(&whole);
        for _ in 0..LOOKS {
            let Some(seen) = self.see(&key).await? else { return Ok(None) };
            let values = breaking_values(&key, &seen, breaking, reason);
            let course: Pick<Course> = match seen.is_share() {
                false => |dialect| &dialect.force,
                true => |dialect| &dialect.shares.force,
            };
            if self.follow_as(course, seen.is_share(), values).await?.value.is_some() {
                let holder = seen.holder(name.clone());
                self.site().force_released(&holder, breaking, reason);
                self.site().notify(&whole);
                self.tell(&key).await;
                return Ok(Some(holder));
            }
        }
        Err(Error::unavailable("the lock changes hands again and again; try again").settled())
    }
    fn key<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Key>> {
        claim.resolved(|| Ok(Arc::new(Key::new(claim.key()))))
    }

    /// Sees to it that a short form stands for this long key and no other.
    async fn know(&self, key: &Key) -> Result<()> {
        if key.whole().is_none() {
            return Ok(());
        }
        let answered = self.follow(|dialect| &dialect.known, Values::of(key)).await?;
        answer::known(answered.value)
    }

    /// Asks for a lock, as [`Db`](crate::Db) does.
    async fn ask(&self, claim: &Claim, key: &Key) -> Result<Option<Answer>> {
        let answer = self.ask_once(claim, key).await?;
        let recheck = self.site().settings().recheck();
        if !claim.waits() || !self.0.wake.needs_marks() || !answer::wants_mark(answer, recheck) {
            return Ok(answer);
        }
        let values = Values { patience: micros(recheck * 3), ..Values::of(key) };
        let mark: Pick<Course> = match claim.mode() {
            Mode::Exclusive => |dialect| &dialect.shares.want,
            _ => |dialect| &dialect.mark,
        };
        self.follow(mark, values).await?;
        self.ask_once(claim, key).await
    }

    async fn ask_once(&self, claim: &Claim, key: &Key) -> Result<Option<Answer>> {
        let deed = if self.0.guard { Deed::Guarded } else { Deed::Acquire };
        let mut values = Values::of_claim(claim, key);
        values.longest = micros(self.site().settings().max_ttl().get());
        let answer = self.do_with(claim, deed, values.clone()).await?.value;
        if answer.is_some() || claim.mode() == Mode::Exclusive {
            return Ok(answer);
        }
        // The first use of the name.
        self.follow(|dialect| &dialect.shares.create, values.clone()).await?;
        Ok(self.do_with(claim, deed, values).await?.value)
    }

    /// Lets go of a lock, or says that it is not its owner's, and tells who waits for it.
    async fn let_go(&self, claim: &Claim, keep: Option<Duration>) -> Result<Answered<Option<Answer>>> {
        let key = self.key(claim)?;
        let mut values = Values::of_claim(claim, &key);
        values.channel.clone_from(&self.0.channel);
        values.keep = keep.map_or(0, micros);
        let answered = self.do_with(claim, Deed::Release, values).await?;
        let is_done = answered.value.is_some_and(|answer| answer.code == Answer::DONE);
        if !is_done && claim.waits() && claim.mode() == Mode::Exclusive {
            // It wants the lock no more, and readers may come in.
            self.follow(|dialect| &dialect.shares.give_up, Values::of(&key)).await?;
        }
        let is_awaited = answered.value.is_some_and(|answer| answer.awaited > 0);
        self.0.wake.released(&key, is_awaited);
        Ok(answered)
    }

    /// Tells who waits that a lock may be free.
    async fn tell(&self, key: &Key) {
        if self.0.dialect.wake.is_some() {
            let values = Values { channel: self.0.channel.clone(), ..Values::of(key) };
            let tell = Tell { dialect: self.0.dialect.clone(), values };
            // Who is not told asks anew after a while.
            let _ = self.0.pool.ask(Vec::new(), tell).await;
        }
        self.0.wake.released(key, true);
    }

    async fn see(&self, key: &Key) -> Result<Option<Seen>> {
        Ok(self.look(|dialect| &dialect.look, Values::of(key)).await?.pop())
    }

    async fn look(&self, text: Pick<Text>, values: Values) -> Result<Vec<Seen>> {
        let look = Look { dialect: self.0.dialect.clone(), text, values };
        Ok(self.0.pool.ask(Vec::new(), look).await?.value)
    }

    /// Does something with a claim, after what its owner asked before.
    async fn do_with(&self, claim: &Claim, deed: Deed, values: Values) -> Result<Answered<Option<Answer>>> {
        let places = self.0.lines.stand([claim.owner()]);
        let request = Do { dialect: self.0.dialect.clone(), mode: claim.mode(), deed, values };
        self.0.pool.ask(places, request).await
    }

    /// Follows a course on a connection.
    async fn follow(&self, course: Pick<Course>, values: Values) -> Result<Answered<Option<Answer>>> {
        self.follow_as(course, false, values).await
    }

    async fn follow_as(
        &self,
        course: Pick<Course>,
        together: bool,
        values: Values,
    ) -> Result<Answered<Option<Answer>>> {
        let follow = Follow { dialect: self.0.dialect.clone(), course, together, values };
        self.0.pool.ask(Vec::new(), follow).await
    }
}
