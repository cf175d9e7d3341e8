//! Tells the tests whether this is the compiler whose messages were recorded.

use std::env;
use std::process::Command;

const RECORDED: &str = "rustc 1.95.";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(recorded)");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    if version.is_ok_and(|version| version.stdout.starts_with(RECORDED.as_bytes())) {
        println!("cargo::rustc-cfg=recorded");
    }
}
