//! Locks of other programs beside ours, with the real programs.
//!
//! Each language has its folder in `target/interop`, installed by its own client from the list that stands
//! in `interop`, and again when the list has changed. Where a tool is missing the checks that need it show
//! as ignored, with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, thread};

use crate::{cargo, install, root, run};

pub(crate) const USAGE: &str = "\
cargo xtask interop [ARGS..] install lock libraries of other languages under target/interop, and run them and
                             ours against each other on the same keys; ARGS as of a test program
";

/// Installs what can be had, and runs the checks.
pub(crate) fn interop(args: &[String]) -> Result<(), String> {
    prepare()?;
    let mut checks = cargo();
    checks
        .args([
            "test",
            "--package",
            "tenure-interop",
            "--test",
            "interop",
            "--test",
            "caches",
            "--locked",
            "--",
        ])
        .args(args);
    run(&mut checks)
}

/// Installs the libraries of all languages side by side, and says what could not be had.
pub(crate) fn prepare() -> Result<(), String> {
    let root = root()?;
    let (lists, folder) = (root.join("interop"), root.join("target/interop"));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let missing: Vec<&str> = TOOLS.iter().filter(|tool| !tool.works()).map(|tool| tool.package).collect();
    if let Err(error) = install(&missing) {
        println!("interop: {error}");
    }
    let environments = ["redis-py", "django3", "django5"];
    let results: Vec<Result<(), String>> = thread::scope(|scope| {
        let python = environments.map(|name| scope.spawn(|| python(name, &lists, &folder)));
        let node = scope.spawn(|| node(&lists, &folder));
        let rust = scope.spawn(|| rust(&lists, &folder));
        let all = python.into_iter().chain([node, rust]);
        all.map(|one| one.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    for error in results.into_iter().filter_map(Result::err) {
        println!("interop: {error}");
    }
    Ok(())
}

/// A program that is needed, and the Debian package that has it.
struct Tool {
    test: &'static [&'static str],
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { test: &["python3", "-c", "import ensurepip, venv"], package: "python3-venv" },
    Tool { test: &["node", "--version"], package: "nodejs" },
    Tool { test: &["npm", "--version"], package: "npm" },
];

impl Tool {
    fn works(&self) -> bool {
        let output = Command::new(self.test[0]).args(&self.test[1..]).output();
        output.is_ok_and(|output| output.status.success())
    }
}

fn python(name: &str, lists: &Path, folder: &Path) -> Result<(), String> {
    let (list, home) = (lists.join("python").join(format!("{name}.txt")), folder.join(name));
    once(&list, &home, || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        let mut pip = Command::new(home.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"]);
        run(pip.arg(&list))
    })
}

fn node(lists: &Path, folder: &Path) -> Result<(), String> {
    let (list, home) = (lists.join("node/package.json"), folder.join("node"));
    once(&list, &home, || {
        fs::create_dir_all(&home)
            .and_then(|()| fs::copy(&list, home.join("package.json")))
            .map_err(|error| format!("{}: {error}", home.display()))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]);
        run(npm.current_dir(&home))
    })
}

/// A crate outside of the workspace; cargo knows by itself what has changed.
fn rust(lists: &Path, folder: &Path) -> Result<(), String> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked"]).env("CARGO_TARGET_DIR", folder.join("rust"));
    run(build.current_dir(lists.join("rust")))
}

/// Does something once for each content of a list.
fn once(list: &Path, home: &Path, make: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let wanted = fs::read(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let done: PathBuf = home.join("installed");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(home);
    make()?;
    fs::write(&done, wanted).map_err(|error| format!("{}: {error}", done.display()))
}
