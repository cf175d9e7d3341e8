//! The store for threads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::{
    Advice, AnyBackend, Attempt, Backend, Claim, Error, Granted, Mode, Permits, Release, Renewal, Resolved,
    Restore, Result, SharedLocks, Site, Watch,
};

use crate::answer::{self, Answer};
use crate::collect::Broom;
use crate::config::Builder;
use crate::course::{Step, follow, follow_together};
use crate::diagnose;
use crate::dialect::{Deed, Dialect};
use crate::key::Key;
use crate::pool::{Answered, Pool};
use crate::schema;
use crate::statement::{Values, micros};
use crate::table::Table;
use crate::wake::{self, Wake};

/// Locks in a database: SQLite, PostgreSQL, MariaDB or MySQL.
///
/// A cheap handle; clones share connections and everything else. See the [crate] for what it promises.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) site: Site,
    pub(crate) pool: Pool,
    pub(crate) dialect: Dialect,
    pub(crate) table: Table,
    pub(crate) wake: Box<dyn Wake>,
    /// What listeners listen to.
    pub(crate) channel: String,
    pub(crate) broom: Broom,
    pub(crate) guard: bool,
    boot: Vec<u8>,
}

/// What a store is made of.
pub(crate) struct Parts {
    pub(crate) site: Site,
    pub(crate) pool: Pool,
    pub(crate) dialect: Dialect,
    pub(crate) table: Table,
    pub(crate) wake: Box<dyn Wake>,
    pub(crate) guard: bool,
}

/// How long a waiter waits for the connection that listens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

impl Db {
    /// Opens the store that a URL names: `sqlite:path`, `sqlite:///path`,
    /// `postgres://[user[:password]@]host[:port]/database`, `mysql://[user[:password]@]host[:port]/database`.
    /// What a URL may have beside that is what libpq and diesel read there.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub fn connect(url: &str) -> Result<Self> {
        Self::builder(url).connect()
    }

    /// Opens a store with settings, a table and time limits of its own.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// Makes the tables if they are not there.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if there are newer ones than this library knows, or the user may not make any;
    /// then somebody who may has to run the statements of [`schema_sql`](crate::schema_sql).
    pub fn migrate(&self) -> Result<()> {
        let table = &self.0.table;
        let there = self.0.pool.ask(|link| Ok(schema::version(link, table).ok()))?.value;
        match there {
            Some(version) if version > 0 => schema::check(version, table),
            _ => {
                let statements = schema::statements(self.0.dialect.kind, table);
                self.0.pool.ask(|link| link.run(&statements))?;
                self.check()
            }
        }
    }

    /// Whether the tables are there, and of a version that this library knows.
    pub(crate) fn check(&self) -> Result<()> {
        let version = self.0.pool.ask(|link| schema::version(link, &self.0.table))?.value;
        schema::check(version, &self.0.table)
    }

    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let Parts { site, pool, dialect, table, wake, guard } = parts;
        let boot = if dialect.has_our_clock() { crate::boot::id()? } else { Vec::new() };
        let channel = wake::channel(&table);
        Ok(Self(Arc::new(Inner {
            site,
            pool,
            dialect,
            table,
            wake,
            channel,
            broom: Broom::new(),
            guard,
            boot,
        })))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn key<'c>(&self, claim: &'c Claim) -> Result<Resolved<'c, Key>> {
        claim.resolved(|| {
            let key = Key::new(claim.key());
            self.0.know(&key)?;
            Ok(Arc::new(key))
        })
    }

    /// Asks for a lock. Who waits says so, and asks again once that can be seen: whoever releases the lock
    /// after that tells.
    fn ask(&self, claim: &Claim, key: &Key) -> Result<Option<Answer>> {
        let inner = &*self.0;
        let answer = self.ask_once(claim, key)?;
        let recheck = inner.site.settings().recheck();
        if !claim.waits() || !inner.wake.needs_marks() || !answer::wants_mark(answer, recheck) {
            return Ok(answer);
        }
        let values = Values { patience: micros(recheck * 3), ..Values::of(key) };
        let alone = claim.mode() == Mode::Exclusive;
        inner.follow(if alone { &inner.dialect.shares.want } else { &inner.dialect.mark }, values)?;
        self.ask_once(claim, key)
    }

    fn ask_once(&self, claim: &Claim, key: &Key) -> Result<Option<Answer>> {
        let deed = if self.0.guard { Deed::Guarded } else { Deed::Acquire };
        let mut values = Values::of_claim(claim, key);
        values.longest = micros(self.0.site.settings().max_ttl().get());
        let answer = self.0.act(claim, deed, values.clone())?.value;
        if answer.is_some() || claim.mode() == Mode::Exclusive {
            return Ok(answer);
        }
        // The first use of the name.
        self.0.follow(&self.0.dialect.shares.create, values.clone())?;
        Ok(self.0.act(claim, deed, values)?.value)
    }

    /// Lets go of a lock, or says that it is not its owner's, and tells who waits for it.
    fn let_go(&self, claim: &Claim, keep: Option<Duration>) -> Result<Answered<Option<Answer>>> {
        let key = self.key(claim)?;
        let mut values = Values::of_claim(claim, &key);
        values.channel.clone_from(&self.0.channel);
        values.keep = keep.map_or(0, micros);
        let answered = self.0.act(claim, Deed::Release, values)?;
        let is_done = answered.value.is_some_and(|answer| answer.code == Answer::DONE);
        if !is_done && claim.waits() && claim.mode() == Mode::Exclusive {
            // It wants the lock no more, and readers may come in.
            self.0.follow(&self.0.dialect.shares.give_up, Values::of(&key))?;
        }
        let is_awaited = answered.value.is_some_and(|answer| answer.awaited > 0);
        self.0.wake.released(&key, is_awaited);
        Ok(answered)
    }
}

impl Inner {
    /// Follows a course on a connection.
    pub(crate) fn follow(&self, course: &[Step], values: Values) -> Result<Answered<Option<Answer>>> {
        self.follow_in(course, None, values)
    }

    /// Follows a course, in a transaction if there is something that begins one.
    pub(crate) fn follow_in(
        &self,
        course: &[Step],
        begin: Option<&str>,
        mut values: Values,
    ) -> Result<Answered<Option<Answer>>> {
        self.fill(&mut values);
        self.pool.ask(|link| {
            values.read_clocks();
            match begin {
                None => follow(link, course, &values),
                Some(begin) => follow_together(link, begin, course, &values),
            }
        })
    }

    fn act(&self, claim: &Claim, deed: Deed, values: Values) -> Result<Answered<Option<Answer>>> {
        let (course, begin) = self.dialect.course(claim.mode(), deed);
        self.follow_in(course, begin, values)
    }

    /// Adds what is the same for all locks.
    pub(crate) fn fill(&self, values: &mut Values) {
        values.boot.clone_from(&self.boot);
    }

    /// Sees to it that a short form stands for this long key and no other.
    pub(crate) fn know(&self, key: &Key) -> Result<()> {
        if key.whole().is_none() {
            return Ok(());
        }
        answer::known(self.follow(&self.dialect.known, Values::of(key))?.value)
    }
}

impl Backend for Db {
    /// The database has it all under the claim's key and token.
    type Grant = ();
    type Handle = Self;

    fn handle(&self) -> Self {
        self.clone()
    }

    fn site(&self) -> &Site {
        &self.0.site
    }

    fn try_acquire(&self, claim: &Claim) -> Result<Attempt<()>> {
        check(claim)?;
        let key = self.key(claim)?;
        let answer = self.ask(claim, &key)?;
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

    fn renew(&self, due: Renewal<'_, ()>) -> Result<()> {
        let (claim, ttl) = (due.claim(), due.ttl());
        let mut values = Values::of_claim(claim, &*self.key(claim)?);
        let deed = if ttl == Duration::MAX { Deed::Verify } else { Deed::Renew };
        values.ttl = micros(ttl);
        answer::verdict(self.0.act(claim, deed, values)?.value, false)
    }

    fn release(&self, end: Release<'_, ()>) -> Result<()> {
        let Answered { value, resent } = self.let_go(end.claim(), end.keep())?;
        answer::verdict(value, resent)
    }

    fn abandon(&self, claim: &Claim) {
        let _ = self.let_go(claim, None);
    }

    fn watch(&self, claim: &Claim) -> Result<Watch> {
        let registered = self.0.wake.watch(&*self.key(claim)?, claim.key(), PATIENCE)?;
        Ok(registered.map_or_else(Watch::none, Watch::armed))
    }

    fn renew_many(&self, due: &[Renewal<'_, ()>]) -> Vec<Result<()>> {
        self.renew_all(due)
    }

    fn diagnose(&self) -> Vec<Advice> {
        diagnose::advice(&self.0)
    }

    fn is_awaited(&self, claim: &Claim) -> bool {
        let asked = self.key(claim).and_then(|key| self.0.follow(&self.0.dialect.awaited, Values::of(&key)));
        // Without an answer, one merely waits less fairly.
        asked.is_ok_and(|answered| answered.value.is_some_and(|answer| answer.awaited > 0))
    }
}

impl Restore for Db {
    fn restore(&self, claim: &Claim) -> Result<Granted<()>> {
        check(claim)?;
        let values = Values::of_claim(claim, &*self.key(claim)?);
        answer::restored(claim, self.0.act(claim, Deed::Restore, values)?.value)
    }
}

impl SharedLocks for Db {}

impl Permits for Db {}

impl From<Db> for AnyBackend {
    fn from(store: Db) -> Self {
        Self::erase(store).inspect().restore().shared().permits().build()
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("store", &self.0.site.label()).finish_non_exhaustive()
    }
}

/// # Errors
///
/// `Misconfigured` for what a lease row cannot be.
pub(crate) fn check(claim: &Claim) -> Result<()> {
    if claim.term().ttl().is_none() {
        return Err(Error::misconfigured("locks in rows have a lease; leave the session out"));
    }
    Ok(())
}
