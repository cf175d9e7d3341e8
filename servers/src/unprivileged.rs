//! Programs that refuse to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user and the group without any rights, on every Unix that these tests know.
const NOBODY: u32 = 65534;

/// A program that runs as nobody if we are root, and as ourselves otherwise.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    if we_are_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // Not every program may look at the directory that we are in.
    command.current_dir("/");
    command
}

/// Lets such a program have a file, or a directory and all that is in it.
pub(crate) fn give(path: &Path) -> io::Result<()> {
    if !we_are_root() {
        return Ok(());
    }
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(());
    }
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path())?;
        }
    }
    chown(path, Some(NOBODY), Some(NOBODY))
}

fn we_are_root() -> bool {
    nix::unistd::geteuid().is_root()
}
