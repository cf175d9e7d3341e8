//! Who of this process waits for which names, and what is seen of them. One thread or task looks for all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenure_core::{Moment, Site};

use crate::dialect::{Dialect, Now, Place};
use crate::pace::Pace;
use crate::wire::{Answer, Request, Said};

/// The names that somebody waits for.
pub(crate) struct Lookout {
    site: Site,
    dialect: Arc<Dialect>,
    names: Mutex<HashMap<Box<str>, Watched>>,
    closed: AtomicBool,
    /// Wakes whoever looks.
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Watched {
    place: Place,
    waiters: u32,
    pace: Pace,
    /// When others are to be told again that somebody waits here.
    mark: Moment,
}

/// One promise to notify; ends when dropped.
struct Registration {
    lookout: Arc<Lookout>,
    key: Box<str>,
}

/// What to look at now.
pub(crate) enum Due {
    /// These, each on its server.
    Now(Vec<Looks>),
    /// Nothing before this moment, or before it is woken.
    Later(Moment),
    /// Nothing any more.
    Closed,
}

/// Looks at one server.
pub(crate) struct Looks {
    pub(crate) server: usize,
    pub(crate) request: Request,
    names: Vec<(Box<str>, Place)>,
}

/// How often others are told that somebody waits; the server forgets it after a second or two.
const MARKING: Duration = Duration::from_millis(500);

/// How many names are looked at in one go.
const TOGETHER: usize = 128;

impl Lookout {
    pub(crate) fn new(site: Site, dialect: Arc<Dialect>, wake: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { site, dialect, names: Mutex::default(), closed: AtomicBool::new(false), wake })
    }

    /// Promises to notify whoever waits for a name.
    pub(crate) fn register(self: &Arc<Self>, key: &str, place: &Place) -> impl Send + Sync + 'static {
        let mut names = self.names();
        match names.get_mut(key) {
            Some(watched) => watched.waiters += 1,
            None => {
                let now = Moment::now();
                let watched = Watched { place: place.clone(), waiters: 1, pace: Pace::new(now), mark: now };
                names.insert(key.into(), watched);
            }
        }
        drop(names);
        (self.wake)();
        Registration { lookout: self.clone(), key: key.into() }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        (self.wake)();
    }

    pub(crate) fn due(&self, now: Moment) -> Due {
        if self.closed.load(Ordering::Acquire) {
            return Due::Closed;
        }
        let mut names = self.names();
        let due = names.iter_mut().filter(|(_, watched)| watched.pace.due() <= now);
        let mut all: Vec<Looks> = Vec::new();
        for (key, watched) in due {
            let server = watched.place.server;
            let looks = all.iter_mut().find(|looks| looks.server == server && looks.names.len() < TOGETHER);
            let looks = match looks {
                Some(looks) => looks,
                None => {
                    all.push(Looks { server, request: Request::default(), names: Vec::new() });
                    all.last_mut().expect("one was pushed just now")
                }
            };
            let mut request = std::mem::take(&mut looks.request);
            if watched.mark <= now {
                watched.mark = now + MARKING;
                request = self.dialect.mark(&watched.place, request);
            }
            looks.request = request.get(watched.place.key.as_bytes());
            looks.names.push((key.clone(), watched.place.clone()));
        }
        if !all.is_empty() {
            return Due::Now(all);
        }
        let first = names.values().map(|watched| watched.pace.due()).min();
        Due::Later(first.unwrap_or(now + Duration::from_secs(3600)))
    }

    /// Takes in what was seen, and tells the waiters of what may be free.
    pub(crate) fn seen(&self, looks: Looks, said: Option<Said>, took: Duration, now: Now) {
        let mut answers = match said {
            Some(Said::Answered(answers)) => Some(answers.replies.into_iter()),
            _ => None,
        };
        for (key, place) in looks.names {
            let answer = answers.as_mut().map(|answers| answers.next().unwrap_or(Answer::Nothing));
            if self.is_free(&key, &place, answer, took, now) {
                self.site.notify(&key);
            }
        }
    }

    fn is_free(&self, key: &str, place: &Place, answer: Option<Answer>, took: Duration, now: Now) -> bool {
        let mut names = self.names();
        let Some(Watched { pace, .. }) = names.get_mut(key) else { return false };
        let Some(answer) = answer else {
            pace.failed(now.moment);
            return false;
        };
        let Some(item) = answer.item() else {
            pace.looked(now.moment, None, took, rand::random());
            return true;
        };
        let Ok(record) = self.dialect.read(place, &item) else {
            // Who asks is told why it cannot be read.
            pace.failed(now.moment);
            return true;
        };
        let holder = record.fence.map_or(item.cas, |fence| fence.get());
        pace.looked(now.moment, Some(holder), took, rand::random());
        let rest = self.dialect.rest(place, &item, &record, now);
        if let Some(sure) = rest.sure() {
            pace.no_later_than(now.moment + sure.max(Duration::from_millis(1)));
        }
        rest.is_over()
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Box<str>, Watched>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut names = self.lookout.names();
        let Some(watched) = names.get_mut(&self.key) else { return };
        watched.waiters -= 1;
        if watched.waiters == 0 {
            names.remove(&self.key);
        }
    }
}
