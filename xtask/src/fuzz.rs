//! `cargo xtask fuzz`: the properties again and again, each time over other cases.
//!
//! A property is a test in a module that is called `properties`, among the unit tests of any crate.
//! Nothing else is needed for it to be found here; alone, `cargo test` runs it over a few hundred cases.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::features::features;

pub(crate) const USAGE: &str = "\
cargo xtask fuzz [--seconds N] [--cases N] [--seed N]
                             look for cases in which a property does not hold: for a minute, for so
                             many seconds, or once over so many cases of each";

/// Cases of the first round, a quarter of what `cargo test` has; the rounds grow with the time there is.
const CASES: u32 = 64;
/// How much longer than asked the last round may take before something is taken to hang.
const GRACE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Options {
    seconds: Option<u64>,
    cases: Option<u32>,
    seed: Option<u64>,
}

/// Looks for a case in which a property does not hold.
///
/// # Errors
///
/// The first round in which one does not, with how to have it again; a property that hangs; wrong
/// arguments.
pub(crate) fn fuzz(args: &[String]) -> Result<(), String> {
    let options = Options::parse(args)?;
    let once = options.cases.is_some() || options.seed.is_some();
    let limit = match options.seconds {
        None if once => Duration::MAX,
        seconds => Duration::from_secs(seconds.unwrap_or(60)),
    };
    let tests = build()?;
    let (start, mut cases) = (Instant::now(), options.cases.unwrap_or(CASES));
    loop {
        let (began, seed) = (Instant::now(), options.seed.unwrap_or_else(random));
        let mut held = 0;
        for test in &tests {
            let left = limit.saturating_add(GRACE).saturating_sub(start.elapsed());
            held += test.run(cases, seed, left).map_err(|error| {
                format!("{error}\nagain with: cargo xtask fuzz --cases {cases} --seed {seed}")
            })?;
        }
        let took = began.elapsed();
        println!("{held} properties hold over {cases} cases of seed {seed} ({:.1} s)", took.as_secs_f64());
        if held == 0 {
            return Err("there is no property, so nothing was tested".into());
        }
        let left = limit.saturating_sub(start.elapsed());
        if once || left.is_zero() {
            return Ok(());
        }
        if took * 2 < left {
            cases = cases.saturating_mul(2);
        }
    }
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let value = words.next().map_or("", String::as_str);
            let bad = |_| format!("{word} {value:?} is no option with a number\n{USAGE}");
            match word.as_str() {
                "--seconds" => options.seconds = Some(value.parse().map_err(bad)?),
                "--cases" => options.cases = Some(value.parse().map_err(bad)?),
                "--seed" => options.seed = Some(value.parse().map_err(bad)?),
                _ => return Err(format!("there is no option {word:?}\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

/// The unit tests of one crate.
struct Tests {
    executable: PathBuf,
    /// The crate's folder, where they run and put cases that failed.
    folder: PathBuf,
}

/// Builds the unit tests of all crates.
fn build() -> Result<Vec<Tests>, String> {
    let mut build = crate::cargo();
    build.args(["test", "--workspace", "--locked", "--lib", "--no-run", "--features", &features()?]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let built = build.output().map_err(|error| format!("{build:?} could not be started: {error}"))?;
    if !built.status.success() {
        return Err(format!("{build:?} ended with {}", built.status));
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = messages.filter_map(|message| {
        let executable = message["executable"].as_str()?.into();
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?.into();
        Some(Tests { executable, folder })
    });
    Ok(tests.collect())
}

impl Tests {
    /// Runs the properties; how many there are.
    fn run(&self, cases: u32, seed: u64, limit: Duration) -> Result<u64, String> {
        let log = self.executable.with_extension("fuzz-log");
        let failed = |error| format!("{} could not be run: {error}", self.executable.display());
        let output = File::create(&log).map_err(failed)?;
        let mut command = Command::new(&self.executable);
        command.arg("properties::").current_dir(&self.folder);
        command.env("PROPTEST_CASES", cases.to_string()).env("PROPTEST_RNG_SEED", seed.to_string());
        command.stdout(output.try_clone().map_err(failed)?).stderr(output).stdin(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break Some(status);
            }
            if start.elapsed() >= limit {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let text = fs::read_to_string(&log).map_err(failed)?;
        fs::remove_file(&log).map_err(failed)?;
        match status {
            Some(status) if status.success() => Ok(passed(&text)),
            Some(status) => Err(format!("{text}{} ended with {status}", self.executable.display())),
            None => Err(format!("{text}{} hangs", self.executable.display())),
        }
    }
}

/// The number in `test result: ok. 7 passed; ..`.
fn passed(text: &str) -> u64 {
    let result = text.lines().find_map(|line| line.strip_prefix("test result: ok. "));
    result.and_then(|result| result.split(' ').next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
