//! Requests of one owner, one after the other.
//!
//! Whoever drops a future may ask for the next thing before the first has been carried out, on another
//! connection or in another thread. What undoes an acquire must come after it.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tenure_core::Owner;

/// A line for each owner who has asked for something.
#[derive(Default)]
pub(crate) struct Lines(Mutex<HashMap<Owner, Line>>);

#[derive(Default)]
struct Line {
    places: VecDeque<(u64, Option<Waker>)>,
    next: u64,
}

/// A place in the line of an owner, until it is dropped; whether its turn had come by then or not.
pub(crate) struct Place {
    lines: Arc<Lines>,
    owner: Owner,
    number: u64,
}

impl Lines {
    /// Takes the last place in the line of each of these. Done at once and for all of them together, so that
    /// places are in the order of the requests, and nobody is before and behind another.
    pub(crate) fn stand(self: &Arc<Self>, owners: impl IntoIterator<Item = Owner>) -> Vec<Place> {
        let mut lines = self.lines();
        let stand = |owner| {
            let line = lines.entry(owner).or_default();
            let number = line.next;
            line.next += 1;
            line.places.push_back((number, None));
            Place { lines: self.clone(), owner, number }
        };
        owners.into_iter().map(stand).collect()
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Owner, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until it is the first.
    pub(crate) async fn turn(&self) {
        poll_fn(|context| {
            let mut lines = self.lines.lines();
            let places = lines.get_mut(&self.owner).into_iter().flat_map(|line| &mut line.places);
            for (place, (number, waker)) in places.enumerate() {
                if *number == self.number && place > 0 {
                    *waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lines();
        let Some(line) = lines.get_mut(&self.owner) else { return };
        line.places.retain(|(number, _)| *number != self.number);
        let first = line.places.front_mut().and_then(|(_, waker)| waker.take());
        if line.places.is_empty() {
            lines.remove(&self.owner);
        }
        drop(lines);
        if let Some(first) = first {
            first.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn is_first(place: &Place) -> bool {
        pin!(place.turn()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_asks_second_comes_after_the_first_even_if_one_between_them_has_left() {
        let (lines, owner) = (Arc::new(Lines::default()), Owner::random());
        let mut places = lines.stand([owner, owner, owner]);
        assert_eq!(places.iter().map(is_first).collect::<Vec<_>>(), [true, false, false]);
        drop(places.remove(1));
        assert!(!is_first(&places[1]));
        assert!(is_first(&lines.stand([Owner::random()])[0]));
        drop(places.remove(0));
        assert!(is_first(&places[0]));
        drop(places);
        assert!(lines.lines().is_empty());
    }
}
