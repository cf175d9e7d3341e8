//! Collecting the answers of several servers, as a future that threads and tasks wait for alike.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenure_core::{Advice, Error, Holder, Moment, Result, Watch};

use super::tally::Said;

/// The answers by server; `None` where none came in time.
pub(super) type Votes<T> = Vec<Option<Result<T>>>;

/// What a server answers.
pub(super) trait Vote: Send + 'static {
    /// Whether it counts towards the majority that is wanted.
    fn is_yes(&self) -> bool {
        true
    }
}

impl Vote for Said {
    fn is_yes(&self) -> bool {
        matches!(self, Self::Yes(_))
    }
}

impl Vote for Vec<Holder> {}
impl Vote for Vec<Advice> {}
impl Vote for Watch {}
impl Vote for String {}

/// For how many answers to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until a majority said yes, or a little longer than until none can any more.
    Majority,
    /// Until then, and once more as long for the others, so that a server that is merely a little slower
    /// is not left out.
    Grace,
    /// For all servers, each of which answers or fails within its time limit.
    All,
}

/// How long the others have at least, and at most, when a majority has said yes.
const GRACE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(20));

/// And when none can any more: who gives way although the others would have given way to it wins nothing.
const DOUBT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(20));

/// All answers, once enough of them are there. Dropped before that, nobody wants them.
pub(super) struct Gather<T: Vote>(Arc<Shared<T>>);

/// A server's place in it. Dropped without an answer it counts as a failure.
pub(super) struct Ballot<T: Vote> {
    shared: Option<Arc<Shared<T>>>,
    index: usize,
}

struct Shared<T> {
    majority: usize,
    patience: Patience,
    began: Moment,
    state: Mutex<State<T>>,
}

struct State<T> {
    votes: Votes<T>,
    stage: Stage,
    graced: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Enough are there.
    Ready,
    /// They were taken, and there was a majority.
    Wanted,
    /// They were taken and there was none, or nobody waits any more.
    Unwanted,
}

/// What becomes of an answer.
pub(super) struct Cast {
    /// Whether it came too late for one that had no majority, so that what was granted is to be taken back.
    pub(super) unwanted: bool,
    /// When the collection is to be closed even if no more answers come, and which one.
    pub(super) close: Option<(Moment, Arc<dyn Close>)>,
}

/// Closing a collection when its time is up.
pub(super) trait Close: Send + Sync {
    fn close(&self);
}

/// Begins a collection, with a ballot for each server.
pub(super) fn gather<T: Vote>(
    servers: usize,
    majority: usize,
    patience: Patience,
) -> (Gather<T>, impl Iterator<Item = Ballot<T>>) {
    let votes = (0..servers).map(|_| None).collect();
    let state = Mutex::new(State { votes, stage: Stage::Open, graced: false, waker: None });
    let shared = Arc::new(Shared { majority, patience, began: Moment::now(), state });
    let ballots = shared.clone();
    let ballot = move |index| Ballot { shared: Some(ballots.clone()), index };
    (Gather(shared), (0..servers).map(ballot))
}

/// A while to wait: over when it is closed.
pub(super) fn pause() -> (Gather<Said>, Arc<dyn Close>) {
    let (pause, _) = gather(1, 1, Patience::All);
    let close = pause.0.clone();
    (pause, close)
}

impl<T: Vote> Ballot<T> {
    /// For a request whose answer makes no difference.
    pub(super) fn of_nobody() -> Self {
        Self { shared: None, index: 0 }
    }

    /// Gives the server's answer.
    pub(super) fn cast(mut self, vote: Result<T>) -> Cast {
        match self.shared.take() {
            Some(shared) => Shared::cast(&shared, self.index, vote),
            None => Cast { unwanted: false, close: None },
        }
    }

    /// Whether there was no majority, or nobody waits for the answer any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.state().stage == Stage::Unwanted)
    }
}

impl<T: Vote> Drop for Ballot<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            Shared::cast(&shared, self.index, Err(Error::unavailable("the server was not asked").settled()));
        }
    }
}

impl<T: Vote> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cast(shared: &Arc<Self>, index: usize, vote: Result<T>) -> Cast {
        let mut state = shared.state();
        let mut close = None;
        match state.stage {
            Stage::Unwanted => return Cast { unwanted: true, close },
            Stage::Wanted => return Cast { unwanted: false, close },
            Stage::Open | Stage::Ready => state.votes[index] = Some(vote),
        }
        if state.stage == Stage::Open {
            match shared.progress(&state.votes) {
                Progress::Enough => state.stage = Stage::Ready,
                Progress::Almost((least, most)) if !std::mem::replace(&mut state.graced, true) => {
                    let now = Moment::now();
                    let grace = now.since(shared.began).clamp(least, most);
                    close = Some((now + grace, shared.clone() as Arc<dyn Close>));
                }
                Progress::Almost(_) | Progress::Little => {}
            }
        }
        let waker = if state.stage == Stage::Ready { state.waker.take() } else { None };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Cast { unwanted: false, close }
    }

    fn progress(&self, votes: &Votes<T>) -> Progress {
        let count = |is: &dyn Fn(&Result<T>) -> bool| votes.iter().flatten().filter(|vote| is(vote)).count();
        let cast = count(&|_| true);
        let (yes, failed) = (count(&|vote| vote.as_ref().is_ok_and(T::is_yes)), count(&|vote| vote.is_err()));
        let spare = votes.len() - self.majority;
        if cast == votes.len() {
            return Progress::Enough;
        }
        match self.patience {
            Patience::All => Progress::Little,
            Patience::Majority if yes >= self.majority => Progress::Enough,
            Patience::Grace if yes >= self.majority => Progress::Almost(GRACE),
            _ if failed > spare => Progress::Enough,
            // No majority can come any more, and it was answered by one. The others show who is to give way.
            _ if cast - yes > spare && cast - failed >= self.majority => Progress::Almost(DOUBT),
            _ => Progress::Little,
        }
    }
}

enum Progress {
    Little,
    /// Enough if nothing more comes within the time that it took so far, but at least and at most this.
    Almost((Duration, Duration)),
    Enough,
}

impl<T: Vote> Close for Shared<T> {
    fn close(&self) {
        let mut state = self.state();
        if state.stage == Stage::Open {
            state.stage = Stage::Ready;
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl<T: Vote> Future for Gather<T> {
    type Output = Votes<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Votes<T>> {
        let mut state = self.0.state();
        if state.stage != Stage::Ready {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let yes = state.votes.iter().flatten().flatten().filter(|vote| vote.is_yes()).count();
        state.stage = if yes >= self.0.majority { Stage::Wanted } else { Stage::Unwanted };
        Poll::Ready(std::mem::take(&mut state.votes))
    }
}

impl<T: Vote> Drop for Gather<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(state.stage, Stage::Open | Stage::Ready) {
            state.stage = Stage::Unwanted;
        }
    }
}
