//! What locks tell to `tracing` and `metrics`.
#![cfg(all(feature = "tracing", feature = "metrics"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(unreachable_pub, reason = "modules of one test")]
mod observe {
    pub mod scenes;
    mod tables;
    pub mod watch;
    pub mod ways;
}

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use observe::scenes::{self, Scene, seconds, seen};
use observe::watch::{Meters, Spans, Told, watched};
use observe::ways::{Lock, WAYS, Way};
use tenure_core::testing::Scripted;
use tenure_core::{LockAll, aio};
use tracing::Level;

fn whats(events: &[Told]) -> Vec<&str> {
    events.iter().map(|told| told.what.as_str()).collect()
}

fn find<'t>(events: &'t [Told], what: &str) -> &'t Told {
    let mut found = events.iter().filter(|told| told.what == what);
    let told = found.next().unwrap_or_else(|| panic!("no {what:?} in {:?}", whats(events)));
    assert!(found.next().is_none(), "{what:?} is told twice");
    told
}

fn outcome(outcome: &str) -> Option<(&str, &str)> {
    Some(("outcome", outcome))
}

#[test]
fn a_lock_that_is_taken_and_released_is_told_below_info_with_its_times() {
    for way in WAYS {
        let (events, meters) = seen(scenes::held_for_three_seconds, way);
        assert_eq!(whats(&events), ["lock granted", "lock released"]);
        let (granted, released) = (&events[0], &events[1]);
        for told in [granted, released] {
            assert!(told.level > Level::INFO);
            assert_eq!((told.text("store"), told.text("lock"), told.text("fence")), ("test:", "a", "1"));
        }
        assert_eq!((granted.number("waited"), granted.number("attempts")), (0.0, 1.0));
        assert_eq!(released.number("held"), 3.0);
        assert_eq!(meters.counter("tenure_acquisitions_total", outcome("granted")), 1);
        assert_eq!(meters.histogram("tenure_wait_seconds", outcome("granted")), [0.0]);
        assert_eq!(meters.histogram("tenure_hold_seconds", None), [3.0]);
        assert_eq!(meters.counter("tenure_releases_total", outcome("released")), 1);
        assert_eq!(meters.counter("tenure_contentions_total", None), 0);
        assert!(meters.0.iter().all(|meter| meter.labels.get("store").is_some_and(|store| store == "test:")));
    }
}

#[test]
fn a_lock_that_another_has_is_told_once_with_what_stands_in_the_way() {
    for way in WAYS {
        let (events, meters) = seen(scenes::taken_by_another, way);
        assert_eq!(whats(&events), ["lock contended"]);
        assert_eq!((events[0].number("holder"), events[0].number("remaining")), (1.0, 5.0));
        assert_eq!(meters.counter("tenure_contentions_total", None), 1);
        assert_eq!(meters.counter("tenure_acquisitions_total", outcome("contended")), 1);
    }
}

#[test]
fn a_wait_is_contended_once_and_its_time_and_attempts_are_told() {
    for way in WAYS {
        let (events, meters) = seen(scenes::waited_for, way);
        assert_eq!(whats(&events), ["lock contended", "lock granted", "lock released"]);
        let granted = &events[1];
        assert!((0.5..0.51).contains(&granted.number("waited")), "{granted:?}");
        // At first, after the store had promised to notify, and when the other's lease was over.
        assert_eq!((granted.number("attempts"), granted.number("fence")), (3.0, 2.0));
        assert_eq!(meters.counter("tenure_contentions_total", None), 1);
        let waits = meters.histogram("tenure_wait_seconds", outcome("granted"));
        assert!(waits.len() == 1 && waits[0] >= 0.5, "{waits:?}");
    }
}

#[test]
fn every_error_of_an_acquisition_has_its_outcome() {
    for way in WAYS {
        for (scene, what, level, outcome) in [
            (scenes::not_free_in_time as Scene, "lock timed out", Level::DEBUG, "timed_out"),
            (scenes::unanswered, "lock unavailable", Level::INFO, "unavailable"),
            (scenes::quarantined, "lock quarantined", Level::INFO, "quarantined"),
            (scenes::restored_by_a_stranger, "lock refused", Level::DEBUG, "refused"),
            (scenes::abandoned, "acquisition abandoned", Level::DEBUG, "abandoned"),
        ] {
            let (events, meters) = seen(scene, way);
            assert_eq!(find(&events, what).level, level);
            assert_eq!(meters.counter("tenure_acquisitions_total", Some(("outcome", outcome))), 1);
            assert_eq!(meters.histogram("tenure_wait_seconds", Some(("outcome", outcome))).len(), 1);
            let ends = meters.0.iter().filter(|meter| meter.name == "tenure_acquisitions_total");
            assert_eq!(ends.count(), 1, "{outcome} is not the only one");
        }
        let (events, _) = seen(scenes::not_free_in_time, way);
        assert!((0.25..0.3).contains(&find(&events, "lock timed out").number("waited")));
        let (events, _) = seen(scenes::unanswered, way);
        assert!(find(&events, "lock unavailable").text("error").contains("the store is down"));
    }
}

#[test]
fn a_waiter_tells_of_a_store_that_does_not_answer_and_of_a_quarantine_once() {
    for way in WAYS {
        let (events, _) = seen(scenes::unanswered_while_waiting, way);
        assert!(find(&events, "attempt unanswered").text("error").contains("the store is down"));
        find(&events, "lock granted");
        let (events, meters) = seen(scenes::waited_out, way);
        assert_eq!(whats(&events), ["lock quarantined", "lock granted", "lock released"]);
        assert_eq!(events[0].number("remaining"), 0.2);
        assert_eq!(meters.counter("tenure_contentions_total", None), 0, "a quarantine is no contention");
    }
}

#[test]
fn a_process_that_waits_for_itself_is_warned_with_both_places() {
    for way in WAYS {
        let (events, _) = seen(scenes::waited_for_by_its_own_process, way);
        let warned = find(&events, "waiting for a lock that this very process holds");
        assert_eq!(warned.level, Level::WARN);
        for place in ["held_at", "waiting_at"] {
            assert!(warned.text(place).contains("ways.rs:"), "{warned:?}");
        }
    }
}

#[test]
fn renewals_are_told_and_counted_whoever_asks_for_them() {
    for way in WAYS {
        let (events, meters) = seen(scenes::renewed, way);
        let renewed: Vec<_> = events.iter().filter(|told| told.what == "lock renewed").collect();
        assert_eq!(renewed.len(), 2);
        for told in renewed {
            assert_eq!(told.level, Level::TRACE);
            // One percent and two milliseconds less than the lease.
            assert_eq!(told.number("remaining"), 29.698);
        }
        assert_eq!(meters.counter("tenure_renewals_total", outcome("renewed")), 2);
        let (events, meters) = seen(scenes::renewal_unanswered, way);
        let unanswered = find(&events, "renewal unanswered");
        assert_eq!((unanswered.level, unanswered.number("remaining")), (Level::WARN, 29.698));
        assert!(unanswered.text("error").contains("the store is down"));
        assert_eq!(meters.counter("tenure_renewals_total", outcome("unanswered")), 1);
    }
}

#[test]
fn a_loss_is_told_once_with_its_cause_however_it_is_noticed() {
    for way in WAYS {
        for (scene, cause, held) in [
            (scenes::superseded as Scene, "superseded", 2.0),
            (scenes::forced, "forced", 0.0),
            (scenes::revoked, "released", 0.0),
            (scenes::expired, "expired", 29.698),
            (scenes::lost_at_its_release, "superseded", 0.0),
            (scenes::waited_for_by_its_own_process, "expired", 0.5),
        ] {
            let (events, meters) = seen(scene, way);
            let lost = find(&events, "lock lost");
            assert_eq!((lost.level, lost.text("cause"), lost.text("fence")), (Level::WARN, cause, "1"));
            assert!((held..held + 0.1).contains(&lost.number("held")), "{lost:?}");
            assert_eq!(meters.counter("tenure_losses_total", Some(("cause", cause))), 1);
            assert!(meters.histogram("tenure_hold_seconds", None).contains(&lost.number("held")));
        }
        let (_, meters) = seen(scenes::superseded, way);
        assert_eq!(meters.counter("tenure_renewals_total", outcome("lost")), 1);
        let (_, meters) = seen(scenes::lost_at_its_release, way);
        assert_eq!(meters.counter("tenure_releases_total", outcome("lost")), 1);
    }
}

#[test]
fn a_release_that_goes_unanswered_is_told_until_it_is_answered() {
    for way in WAYS {
        let (events, meters) = seen(scenes::release_unanswered, way);
        let unanswered: Vec<_> = events.iter().filter(|told| told.what == "release unanswered").collect();
        assert!(unanswered.len() == 2 && unanswered.iter().all(|told| told.level == Level::WARN));
        assert!(unanswered[0].text("error").contains("the store is down"));
        assert_eq!(find(&events, "lock released").number("held"), 2.0);
        assert_eq!(meters.histogram("tenure_hold_seconds", None), [2.0]);
        assert_eq!(meters.counter("tenure_releases_total", outcome("unanswered")), 2);
        assert_eq!(meters.counter("tenure_releases_total", outcome("released")), 1);
    }
}

#[test]
fn what_is_left_and_what_is_broken_is_told() {
    for way in WAYS {
        let (events, meters) = seen(scenes::left, way);
        assert_eq!(find(&events, "lock left").number("held"), 2.0);
        assert_eq!(meters.histogram("tenure_hold_seconds", None), [2.0]);
    }
    let (events, meters) = seen(scenes::broken, Way::Blocks);
    assert_eq!(whats(&events), ["lock force-released"; 2]);
    let told: Vec<_> = events.iter().map(|told| (told.text("breaking"), told.text("reason"))).collect();
    assert_eq!(told, [("safe", "host is gone"), ("now", "host is gone")]);
    assert_eq!(meters.counter("tenure_force_releases_total", None), 2);
}

#[test]
fn the_gauges_count_who_waits_and_who_holds_now_and_end_where_they_began() {
    for way in WAYS {
        watched(|_, meters| {
            let store = Scripted::new();
            let held = Lock::new(&store, way, "a").acquire().unwrap();
            assert_eq!(Meters::look(meters).gauge("tenure_held"), 1.0);
            held.release().unwrap();
            assert_eq!(Meters::look(meters).gauge("tenure_held"), -1.0);
        });
        for scene in scenes::ALL {
            let (_, meters) = seen(*scene, way);
            assert_eq!((meters.gauge("tenure_held"), meters.gauge("tenure_waiting")), (0.0, 0.0));
        }
    }
    watched(|_, meters| {
        let store = Scripted::new();
        store.taken_for("a", seconds(60.0));
        let lock = aio::Lock::new(&store, "a");
        let mut waiting = pin!(lock.acquire());
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(Meters::look(meters).gauge("tenure_waiting"), 1.0);
    });
}

#[test]
fn a_lock_from_before_the_recorder_does_not_count_down() {
    for way in WAYS {
        let store = Scripted::new();
        let held = Lock::new(&store, way, "a").acquire().unwrap();
        let (_, _, meters) = watched(|_, _| held.release().unwrap());
        assert_eq!(meters.counter("tenure_releases_total", outcome("released")), 1);
        assert_eq!(meters.gauge("tenure_held"), 0.0);
    }
}

#[test]
fn an_acquisition_is_a_span_that_tells_its_outcome_and_has_its_events_inside() {
    for way in WAYS {
        for (scene, outcome, fence) in [
            (scenes::waited_for as Scene, "granted", Some("2")),
            (scenes::taken_by_another, "contended", None),
            (scenes::not_free_in_time, "timed_out", None),
            (scenes::abandoned, "abandoned", None),
        ] {
            let ((), spans, _) = watched(|_, _| scene(&Scripted::new(), way));
            let [span] = &spans.spans()[..] else { panic!("not one span: {:?}", spans.spans()) };
            assert_eq!((span.what.as_str(), span.level), ("acquire", Level::DEBUG));
            assert_eq!((span.text("store"), span.text("lock")), ("test:", "a"));
            assert_eq!(span.text("outcome"), outcome);
            assert_eq!(span.fields.get("fence").map(String::as_str), fence);
            assert!(span.text("place").contains(".rs:"), "{span:?}");
            for told in spans.events() {
                assert_eq!(told.inside.is_some(), told.what != "lock released", "{told:?}");
            }
        }
    }
}

#[test]
fn each_member_of_a_set_tells_for_itself() {
    let blocks: fn(&Scripted) = |store| LockAll::new(store, ["a", "b"]).acquire().unwrap().release().unwrap();
    let polled: fn(&Scripted) = |store| {
        let set = aio::LockAll::new(store, ["a", "b"]);
        aio::block_on(async { set.acquire().await.unwrap().release().await.unwrap() });
    };
    for set in [blocks, polled] {
        let ((), spans, meters) = watched(|_, _| set(&Scripted::new()));
        let events = spans.events();
        let told: Vec<_> = events.iter().map(|told| (told.what.as_str(), told.text("lock"))).collect();
        assert_eq!(told[..2], [("lock granted", "a"), ("lock granted", "b")]);
        assert_eq!(told[2..], [("lock released", "b"), ("lock released", "a")]);
        assert_eq!(meters.counter("tenure_acquisitions_total", outcome("granted")), 2);
        assert_eq!(meters.histogram("tenure_hold_seconds", None).len(), 2);
    }
}

#[test]
fn a_span_is_not_entered_while_its_task_sleeps() {
    watched(|spans, _| {
        let store = Scripted::new();
        store.taken_for("a", seconds(60.0));
        let lock = aio::Lock::new(&store, "a");
        let mut waiting = pin!(lock.acquire());
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(spans.spans().len(), 1);
        assert_eq!(Spans::entered(), 0);
    });
}

#[test]
fn neither_the_owner_token_nor_a_name_of_any_length_is_told() {
    let name = "\u{e9}".repeat(5000);
    for way in WAYS {
        let (owner, spans, meters) = watched(|_, _| {
            let held = Lock::new(&Scripted::new(), way, &name).acquire().unwrap();
            let owner = held.owner().to_string();
            held.release().unwrap();
            owner
        });
        let told: Vec<_> = spans.events().into_iter().chain(spans.spans()).collect();
        assert!(told.len() == 3 && told.iter().all(|told| told.text("lock").len() < 500));
        let text = format!("{told:?} {:?}", meters.0);
        assert!(!text.contains(&owner[..6]), "{text}");
        assert!(meters.0.iter().all(|meter| meter.labels.values().all(|value| !value.contains('\u{e9}'))));
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
