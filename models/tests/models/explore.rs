//! Trying out many schedules of a model.

use std::sync::Arc;
use std::time::Instant;
use std::{env, fmt};

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, MaxSteps, Runner};
use tenure_core::sync::settle;

/// For how long each model is explored unless `TENURE_MODELS_SECONDS` says otherwise.
const SECONDS: f64 = 2.0;

/// How many schedules are tried before the clock is looked at.
const BATCH: usize = 40;

/// Runs a model under many schedules, for some seconds or `TENURE_MODELS_ITERATIONS` times; or under
/// the one schedule that `TENURE_MODELS_SCHEDULE` tells, as it was printed by a run that failed.
///
/// A model is a test, run again and again: its threads are switched at every step that another one
/// could notice, in an order drawn anew. It fails if an assertion does, if all threads wait for
/// each other, or if they do not come to an end.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    // What still goes on in the background ends within the schedule.
    let model = Arc::new(move || {
        model();
        settle();
    });
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let model = model.clone();
        Runner::new(scheduler, config()).run(move || model())
    };
    if let Ok(schedule) = env::var("TENURE_MODELS_SCHEDULE") {
        run(Box::new(ReplayScheduler::new_from_encoded(&schedule)));
        return;
    }
    // What a schedule leaves open would keep it from being repeated.
    run(Box::new(UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new(10))));
    let iterations: Option<usize> = number("TENURE_MODELS_ITERATIONS");
    let seconds: f64 = number("TENURE_MODELS_SECONDS").unwrap_or(SECONDS);
    let (began, mut tried) = (Instant::now(), 0);
    let goes_on = |tried: usize| match iterations {
        Some(iterations) => tried < iterations,
        None => began.elapsed().as_secs_f64() < seconds,
    };
    while goes_on(tried) {
        // Chaos, and few switches at points that matter, find different faults.
        tried += run(Box::new(RandomScheduler::new(BATCH)));
        for depth in 1..=4 {
            tried += run(Box::new(PctScheduler::new(depth, BATCH / 4)));
        }
    }
    println!("{tried} schedules");
}

fn number<N: std::str::FromStr<Err: fmt::Debug>>(variable: &str) -> Option<N> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable} is {text:?}, no number: {error:?}")))
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.silence_warnings = true;
    config
}
