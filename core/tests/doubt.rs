//! What counts as an answer once a store has said that it may have forgotten who holds what.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tenure_core::aio::{self, block_on};
use tenure_core::testing::{Clock, Event, Scripted};
use tenure_core::{Backend, Lock, Result, Status};

const SECOND: Duration = Duration::from_secs(1);

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn renewals(store: &Scripted, name: &str) -> usize {
    store.events(name).iter().filter(|event| **event == Event::Renewed).count()
}

#[test]
fn an_answer_from_before_a_doubt_verifies_nothing() -> Result<()> {
    let store = Scripted::on(&Clock::new());
    store.on_renewal("fixed", 1).take(SECOND);
    let held = block_on(aio::Lock::new(&store, "fixed").ttl(SECOND * 60).acquire())?;
    let deadline = held.deadline();
    store.clock().advance(SECOND);
    {
        let mut renewal = pin!(held.renew());
        assert!(poll(renewal.as_mut()).is_pending());
        assert_eq!(renewals(&store, "fixed"), 1, "the store has carried it out, and its answer is under way");
        Backend::site(&store).doubt(|_| true);
        store.clock().advance(SECOND);
        let Poll::Ready(Err(error)) = poll(renewal.as_mut()) else { panic!("it counts as a renewal") };
        assert!(error.is_unavailable() && error.to_string().contains("renew again"), "{error}");
    }
    assert_eq!((held.status(), held.deadline()), (Status::Unknown, deadline));
    block_on(held.renew())?;
    assert_eq!(held.status(), Status::Held);
    Ok(())
}

#[test]
fn what_is_kept_alive_is_renewed_at_once_although_an_answer_from_before_the_doubt_arrives() -> Result<()> {
    let store = Scripted::on(&Clock::new());
    store.on_renewal("kept", 1).take(SECOND);
    let held = block_on(aio::Lock::new(&store, "kept").acquire())?;
    while renewals(&store, "kept") == 0 {
        store.clock().advance(SECOND / 2);
    }
    Backend::site(&store).doubt(|_| true);
    assert_eq!(held.status(), Status::Unknown);
    // A new renewal, long before the next one would be due.
    store.clock().advance(SECOND + SECOND / 2);
    assert_eq!((renewals(&store, "kept"), held.status()), (2, Status::Held));
    Ok(())
}

#[test]
fn a_grant_from_before_a_doubt_is_in_doubt_when_it_arrives() -> Result<()> {
    let store = Scripted::on(&Clock::new());
    for name in ["fixed", "other", "kept"] {
        store.on_acquire(name, 1).take(SECOND);
    }
    let lock = |name: &str| aio::Lock::new(&store, name).ttl(SECOND * 60);
    let (fixed, other, kept) = (lock("fixed"), lock("other"), aio::Lock::new(&store, "kept"));
    let (mut fixed, mut other, mut kept) =
        (pin!(fixed.acquire()), pin!(other.acquire()), pin!(kept.acquire()));
    let waits = [poll(fixed.as_mut()), poll(other.as_mut()), poll(kept.as_mut())];
    assert!(waits.iter().all(Poll::is_pending));
    Backend::site(&store).doubt(|key| !key.ends_with("other"));
    store.clock().advance(SECOND);
    let [fixed, other, kept] = [poll(fixed), poll(other), poll(kept)].map(|done| match done {
        Poll::Ready(held) => held.unwrap(),
        Poll::Pending => panic!("the answers are there"),
    });
    assert_eq!((fixed.status(), other.status()), (Status::Unknown, Status::Held));
    assert_eq!(kept.status(), Status::Unknown);
    store.clock().advance(SECOND / 10);
    assert_eq!((renewals(&store, "kept"), kept.status()), (1, Status::Held));
    block_on(fixed.renew())?;
    assert_eq!(fixed.status(), Status::Held);
    // What is asked for after it is not in doubt.
    assert_eq!(Lock::new(&store, "later").ttl(SECOND).acquire()?.status(), Status::Held);
    Ok(())
}
