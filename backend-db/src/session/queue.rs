//! Waiting in the server's own queue.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::result::Error as DieselError;
use tenure_core::{Error, Fence, Result};

use super::pinned::Session;
use super::{Inner, says};
use crate::failure;
use crate::key::Key;

/// The places of this process, one for a key at most.
#[derive(Default)]
pub(super) struct Queue {
    places: Mutex<HashMap<Box<str>, Arc<Place>>>,
    /// Those that are being left.
    leaving: Mutex<Vec<(Box<str>, Arc<Place>)>>,
}

/// A place in a queue of the server, taken again and again for as long as somebody here waits.
#[derive(Default)]
struct Place {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nobody waits any more.
    left: bool,
    /// And nothing is asked of the server any more.
    ended: bool,
    /// The server's number of the connection that waits now.
    number: Option<i64>,
    /// What was got and not fetched yet.
    got: Option<(Session, Fence)>,
}

/// Leaves the queue when it is dropped, in a thread of its own.
pub(super) struct Leaving {
    inner: Arc<Inner>,
    place: Arc<Place>,
    whole: Box<str>,
    process: u32,
}

/// How long what was got is kept for somebody who is about to fetch it.
const KEPT: Duration = Duration::from_secs(1);

/// How long after what was got was fetched, before there is a place in the server's queue again.
const REST: Duration = Duration::from_millis(50);

/// How long before a wait that failed is begun anew.
const PAUSE: Duration = Duration::from_millis(200);

impl Queue {
    /// What was got for a key.
    pub(super) fn fetch(&self, whole: &str) -> Option<(Session, Fence)> {
        let place = self.places().get(whole).cloned()?;
        let got = place.state().got.take()?;
        place.changed.notify_all();
        got.0.is_of_this_process().then_some(got)
    }

    /// The places for a key that this process is about to leave: the server may give the lock to one of them.
    pub(super) fn about_to_leave(&self, whole: &str) -> Left {
        let leaving = self.leaving();
        Left(leaving.iter().filter(|(key, _)| &**key == whole).map(|(_, place)| place.clone()).collect())
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<(Box<str>, Arc<Place>)>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places that are being left.
pub(super) struct Left(Vec<Arc<Place>>);

impl Left {
    /// Waits until they have let go of what they got, for a second at most; false if there are none.
    pub(super) fn wait(self) -> bool {
        for place in &self.0 {
            let waited = place.changed.wait_timeout_while(place.state(), KEPT, |state| !state.ended);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        !self.0.is_empty()
    }
}

impl Place {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, until somebody has left or `is` is true.
    fn until(&self, limit: Duration, is: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !state.left && !is(state);
        let waited = self.changed.wait_timeout_while(self.state(), limit, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Begins to wait: what is got is there to be [fetched](Queue::fetch), and the site is told.
pub(super) fn join(inner: &Arc<Inner>, key: Key, whole: &str) -> Result<Leaving> {
    let place = Arc::new(Place::default());
    inner.queue.places().insert(whole.into(), place.clone());
    let leaving = Leaving { inner: inner.clone(), place, whole: whole.into(), process: std::process::id() };
    let (inner, place, whole) = (inner.clone(), leaving.place.clone(), leaving.whole.clone());
    let waiting = thread::Builder::new().name("tenure-session".into()).spawn(move || {
        while !place.state().left {
            match wait(&inner, &place, &key) {
                Ok(Some(got)) => offer(&inner, &place, &key, &whole, got),
                // Cut short.
                Ok(None) => {}
                Err(_) => {
                    // Who waits asks for himself, and learns why.
                    inner.site.notify(&whole);
                    drop(place.until(PAUSE, |_| false));
                }
            }
        }
        place.state().ended = true;
        place.changed.notify_all();
        inner.queue.leaving().retain(|(_, other)| !Arc::ptr_eq(other, &place));
    });
    match waiting {
        Ok(_) => Ok(leaving),
        Err(source) => Err(Error::unavailable("no thread to wait in; raise the limit of threads")
            .settled()
            .with_source(source)),
    }
}

/// Waits in the server for a lock, on a connection that was used before if it lives.
fn wait(inner: &Inner, place: &Place, key: &Key) -> Result<Option<(Session, Fence)>> {
    let told = |error: DieselError| failure::error(&error);
    let (values, patience) = (inner.values(key), says::patience(inner.kind));
    let prepare = |session: &mut Session| {
        session.live(inner, None)?;
        session.run(patience)?;
        session.ask(&inner.says.number, &values)
    };
    let idle = inner.idle().pop().and_then(|mut idle| prepare(&mut idle).ok().map(|number| (idle, number)));
    let (mut session, number) = match idle {
        Some(ready) => ready,
        None => {
            let mut session = inner.dial()?;
            let number = prepare(&mut session).map_err(told)?;
            (session, number)
        }
    };
    {
        let mut state = place.state();
        if state.left {
            return Ok(None);
        }
        state.number = number.map(|answer| answer.code);
    }
    let answer = session.ask_patiently(&inner.says.wait, &values);
    place.state().number = None;
    let fence = match answer.map_err(told)?.map_or(0, |answer| answer.fence) {
        ..=0 => return Ok(None),
        fence if inner.says.wait_gives => fence,
        _ => 0,
    };
    let ready = inner
        .fence(&mut session, key, fence, Fence::ZERO)
        .and_then(|fence| session.run(&inner.hurry).map(|()| fence).map_err(told));
    match ready {
        Ok(fence) => Ok(Some((session, fence))),
        // What was to cut the wait short came too late for that. A connection that is closed is closed some
        // time later.
        Err(error) => {
            let _ = session.ask(&inner.says.release, &values);
            Err(error)
        }
    }
}

/// Holds out what was got until it is fetched, or nobody wants it.
fn offer(inner: &Inner, place: &Place, key: &Key, whole: &str, got: (Session, Fence)) {
    place.state().got = Some(got);
    inner.site.notify(whole);
    let left_over = place.until(KEPT, |state| state.got.is_none()).got.take();
    if left_over.is_none() {
        // If no other here waits, this place is left now; one taken meanwhile would get the lock for nobody.
        drop(place.until(REST, |_| false));
    }
    if let Some((mut session, _)) = left_over
        && session.ask(&inner.says.release, &inner.values(key)).is_ok()
    {
        inner.give_back(session);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut places = self.inner.queue.places();
        if places.get(&self.whole).is_some_and(|place| Arc::ptr_eq(place, &self.place)) {
            places.remove(&self.whole);
        }
        drop(places);
        let mut state = self.place.state();
        state.left = true;
        let ended = state.ended;
        if !ended {
            self.inner.queue.leaving().push((self.whole.clone(), self.place.clone()));
        }
        drop(state);
        self.place.changed.notify_all();
        if ended || self.process != std::process::id() {
            return;
        }
        let (inner, place) = (self.inner.clone(), self.place.clone());
        // To leave is to speak to the server, which may take its time.
        let _ = thread::Builder::new().name("tenure-session".into()).spawn(move || leave(&inner, &place));
    }
}

/// Cuts a wait short, again and again until it has ended: it may begin just after it was cut short.
fn leave(inner: &Inner, place: &Place) {
    for _ in 0..200 {
        let (number, ended) = {
            let state = place.state();
            (state.number, state.ended)
        };
        if ended {
            return;
        }
        if let Some(number) = number {
            let _ = inner.pool.ask(|link| link.run(&says::cancel(inner.kind, number)));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
