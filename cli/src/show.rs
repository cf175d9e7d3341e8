//! Text of others on somebody's terminal, and our own on the standard output.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use crate::failure::{Failure, OUTPUT};

/// Text of unknown origin without anything that a terminal would obey: control characters, and
/// those that change the direction of what follows.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            control if control.is_control() => {
                let _ = write!(shown, "{}", control.escape_default());
            }
            printable => shown.push(printable),
        }
    }
    shown
}

/// A time in whole seconds, and in milliseconds below ten seconds.
pub(crate) fn rough(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let kept = if millis < 10_000 { millis } else { millis / 1000 * 1000 };
    humantime::format_duration(Duration::from_millis(kept)).to_string()
}

/// Writes to the standard output. That the reader has gone is no news to anybody.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(OUTPUT)),
        Err(error) => Err(Failure::new(OUTPUT, format!("the standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{9b}31m\u{202e}c"), r"a\u{1b}[2Jb\r\n\u{9b}31m\u{202e}c");
        assert_eq!(plain("plain \u{e9} \u{6f22}"), "plain \u{e9} \u{6f22}");
    }
}
