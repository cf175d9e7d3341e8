//! Taking turns, so that what is compared meets the same machine.

use std::fmt::Display;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// How the machine looks.
pub(crate) fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{cpus} cpus, load {}", load.split(' ').next().unwrap_or("?"))
}

/// Keeps this thread on one cpu. Threads that it starts inherit that.
pub(crate) fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    if cpus.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus)).is_err() {
        println!("(could not pin to cpu {cpu})");
    }
}

/// Something that is timed: it does its work so many times.
pub(crate) struct Subject<'a> {
    work: Box<dyn FnMut(u32) + 'a>,
}

pub(crate) fn subject<'a>(name: &str, mut work: impl FnMut() + 'a) -> Subject<'a> {
    batch(name, move |calls| (0..calls).for_each(|_| work()))
}

/// What is timed, if it must do the counting itself.
pub(crate) fn batch<'a>(_name: &str, work: impl FnMut(u32) + 'a) -> Subject<'a> {
    Subject { work: Box::new(work) }
}

/// Times subjects in turn, `rounds` times `calls` each; the median time of one call, per subject.
///
/// The calls of one round should take well below a millisecond: then most rounds are not interrupted,
/// however busy the machine is, and the median is of those.
pub(crate) fn in_turn(subjects: &mut [Subject<'_>], rounds: usize, calls: u32) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(rounds); subjects.len()];
    for round in 0..=rounds {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            let began = Instant::now();
            (subject.work)(calls);
            // The first round warms up.
            if round > 0 {
                times.push(began.elapsed());
            }
        }
    }
    times.into_iter().map(|times| nanos(percentile(times, 50)) / f64::from(calls)).collect()
}

pub(crate) fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

pub(crate) fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// One line: a ratio of two times in nanoseconds, what it is of, and the target if there is one.
pub(crate) fn report(what: impl Display, over: impl Display, times: (f64, f64), target: Option<f64>) {
    let ratio = times.0 / times.1;
    let verdict = match target {
        Some(target) if ratio <= target => format!("target {target}, met"),
        Some(target) => format!("target {target}, MISSED"),
        None => "no target".into(),
    };
    println!("{ratio:8.2} x  {what} / {over}  ({verdict}; {:.1} ns / {:.1} ns)", times.0, times.1);
}
