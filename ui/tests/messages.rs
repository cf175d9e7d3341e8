//! Each mistake does not compile, and the message is the recorded one.

#[test]
#[cfg_attr(not(recorded), ignore = "the messages were recorded with rustc 1.95")]
fn every_mistake_is_explained() {
    let mistakes = trybuild::TestCases::new();
    mistakes.compile_fail("tests/lock/*.rs");
    mistakes.compile_fail("tests/lock_model/*.rs");
    mistakes.compile_fail("tests/derive/*.rs");
    mistakes.compile_fail("tests/plain/*.rs");
}
