//! The client programs of databases.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Runs one with this on its standard input, and returns what it prints, without the last line break.
pub(crate) fn run(command: &mut Command, input: &str) -> io::Result<String> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
    }
    written?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
}
