//! The example does what it says.

use std::process::Command;

#[test]
fn no_edit_of_two_processes_is_lost() {
    let output = Command::new(env!("CARGO_BIN_EXE_editors")).output().expect("the example can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let (edits, text) = (said.split(' ').next(), said.trim_end().rsplit(' ').next().unwrap_or_default());
    assert_eq!(edits, Some("40"), "{said}");
    assert_eq!((text.matches('a').count(), text.matches('b').count()), (20, 20), "{said}");
}
