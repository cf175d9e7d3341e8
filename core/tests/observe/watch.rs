//! A subscriber and a recorder that remember.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

type Fields = BTreeMap<&'static str, String>;

/// An event or a span.
#[derive(Clone, Debug)]
pub struct Told {
    /// The message of an event, the name of a span.
    pub what: String,
    pub level: Level,
    /// Those that it has, be they recorded or not; without the message.
    pub names: Vec<&'static str>,
    pub fields: Fields,
    /// The span that an event happens in.
    pub inside: Option<String>,
}

/// What the tracing subscriber saw.
#[derive(Clone, Default)]
pub struct Spans(Arc<Seen>);

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Told>>,
    spans: Mutex<BTreeMap<u64, Told>>,
    next: AtomicU64,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Spans {
    pub fn events(&self) -> Vec<Told> {
        self.0.events.lock().unwrap().clone()
    }

    pub fn spans(&self) -> Vec<Told> {
        self.0.spans.lock().unwrap().values().cloned().collect()
    }

    /// How many spans are entered in this thread.
    pub fn entered() -> usize {
        ENTERED.with_borrow(Vec::len)
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, Ordering::SeqCst) + 1;
        let mut told = told(span.metadata(), span.metadata().name().into());
        span.record(&mut Reading(&mut told.fields));
        self.0.spans.lock().unwrap().insert(id, told);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(told) = self.0.spans.lock().unwrap().get_mut(&id.into_u64()) {
            values.record(&mut Reading(&mut told.fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = told(event.metadata(), String::new());
        event.record(&mut Reading(&mut told.fields));
        told.what = told.fields.remove("message").unwrap();
        let spans = self.0.spans.lock().unwrap();
        let inside = ENTERED.with_borrow(|entered| entered.last().copied());
        told.inside = inside.and_then(|id| spans.get(&id)).map(|span| span.what.clone());
        self.0.events.lock().unwrap().push(told);
    }

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.retain(|entered| *entered != id.into_u64()));
    }
}

impl Told {
    pub fn number(&self, field: &str) -> f64 {
        self.fields.get(field).unwrap_or_else(|| panic!("no {field} in {self:?}")).parse().unwrap()
    }

    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).unwrap_or_else(|| panic!("no {field} in {self:?}"))
    }
}

fn told(metadata: &'static Metadata<'static>, what: String) -> Told {
    assert_eq!(metadata.target(), "tenure", "{metadata:?}");
    let names = metadata.fields().iter().map(|field| field.name()).filter(|name| *name != "message");
    Told { what, level: *metadata.level(), names: names.collect(), fields: Fields::new(), inside: None }
}

struct Reading<'f>(&'f mut Fields);

impl Visit for Reading<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// What the metrics recorder saw.
pub struct Meters(pub Vec<Meter>);

#[derive(Debug)]
pub struct Meter {
    pub name: String,
    pub kind: &'static str,
    pub unit: Option<&'static str>,
    pub is_described: bool,
    pub labels: BTreeMap<String, String>,
    pub value: DebugValue,
}

impl Meters {
    /// What happened since the last look. A gauge tells by how much it moved.
    pub fn look(snapshotter: &Snapshotter) -> Self {
        let meters = snapshotter.snapshot().into_vec().into_iter().map(|(key, unit, text, value)| Meter {
            name: key.key().name().into(),
            kind: match value {
                DebugValue::Counter(_) => "counter",
                DebugValue::Gauge(_) => "gauge",
                DebugValue::Histogram(_) => "histogram",
            },
            unit: unit.map(|unit| unit.as_str()),
            is_described: text.is_some(),
            labels: key.key().labels().map(|label| (label.key().into(), label.value().into())).collect(),
            value,
        });
        Self(meters.collect())
    }

    fn find(&self, name: &str, label: Option<(&str, &str)>) -> Option<&Meter> {
        let has = |meter: &Meter| {
            label.is_none_or(|(key, value)| meter.labels.get(key).is_some_and(|found| found == value))
        };
        self.0.iter().find(|meter| meter.name == name && has(meter))
    }

    pub fn counter(&self, name: &str, label: Option<(&str, &str)>) -> u64 {
        match self.find(name, label).map(|meter| &meter.value) {
            Some(DebugValue::Counter(count)) => *count,
            None => 0,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn gauge(&self, name: &str) -> f64 {
        match self.find(name, None).map(|meter| &meter.value) {
            Some(DebugValue::Gauge(value)) => value.0,
            None => 0.0,
            other => panic!("{name} is {other:?}"),
        }
    }

    pub fn histogram(&self, name: &str, label: Option<(&str, &str)>) -> Vec<f64> {
        match self.find(name, label).map(|meter| &meter.value) {
            Some(DebugValue::Histogram(values)) => values.iter().map(|value| value.0).collect(),
            None => Vec::new(),
            other => panic!("{name} is {other:?}"),
        }
    }
}

/// Runs something, and remembers what was seen of it in this thread.
pub fn watched<T>(work: impl FnOnce(&Spans, &Snapshotter) -> T) -> (T, Spans, Meters) {
    let (spans, recorder) = (Spans::default(), DebuggingRecorder::new());
    let meters = recorder.snapshotter();
    let done = tracing::subscriber::with_default(spans.clone(), || {
        metrics::with_local_recorder(&recorder, || work(&spans, &meters))
    });
    let meters = Meters::look(&meters);
    (done, spans, meters)
}
