//! A wait for a lock that this very process holds is told, with both places.
#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test files that each use a part"
)]
mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Fake, settings};
use tenure_core::Lock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

#[test]
fn a_process_that_waits_for_itself_is_warned_with_both_places() {
    let lines = Lines::default();
    let store = Fake::new(true, settings(Duration::from_secs(30)));
    tracing::subscriber::with_default(lines.clone(), || {
        let held = Lock::new(&store, "self").acquire().unwrap();
        Lock::new(&store, "self").acquire_for(Duration::from_millis(10)).unwrap_err();
        held.release().unwrap();
    });
    let lines = lines.0.lock().unwrap();
    let line = lines.iter().find(|line| line.contains("this very process holds")).expect("a warning");
    assert!(line.starts_with("WARN") && line.matches("diagnosis.rs:").count() == 2, "{line}");
}
