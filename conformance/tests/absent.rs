//! What the suite does without a server, and with an exemption that names no case. The program runs
//! itself, as suites of other stores do.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, ExitCode, Output};

use tenure_conformance::Suite;
use tenure_core::Error;

const ROLE: &str = "TENURE_CONFORMANCE_TEST_ROLE";

fn main() -> ExitCode {
    let suite = Suite::new("absent").open(|_| Err(Error::unavailable("nothing to open")));
    let suite = suite.server(|| Err("no such server on this machine".into()));
    match std::env::var(ROLE).as_deref() {
        Ok("absent") => return suite.run(),
        Ok("exempt") => return suite.exempt("no_such_case", "a typing error").run(),
        _ => {}
    }
    let optional = again("absent", "");
    assert!(optional.status.success(), "{optional:?}");
    let told = String::from_utf8(optional.stdout).unwrap();
    assert!(
        told.contains("(no such server on this machine)") && told.contains("0 passed; 0 failed"),
        "{told}"
    );
    for required in ["absent", "other,absent", "all"] {
        let required = again("absent", required);
        let told = String::from_utf8_lossy(&required.stdout);
        assert!(
            !required.status.success()
                && told.contains("CONFORMANCE_REQUIRE asks for absent, but no such server"),
            "{told}"
        );
    }
    assert!(again("absent", "other").status.success());
    let exempt = again("exempt", "");
    let told = String::from_utf8_lossy(&exempt.stdout);
    assert!(
        !exempt.status.success() && told.contains("exempts \"no_such_case\", which no case is called"),
        "{told}"
    );
    ExitCode::SUCCESS
}

fn again(role: &str, required: &str) -> Output {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.env(ROLE, role).env("CONFORMANCE_REQUIRE", required).output().unwrap()
}
