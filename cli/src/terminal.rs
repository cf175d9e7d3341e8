//! Who may read the terminal: one process group at a time.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// The terminal that controls this session, if there is one.
pub(crate) struct Terminal(Option<File>);

impl Terminal {
    pub(crate) fn open() -> Self {
        Self(OpenOptions::new().read(true).write(true).open("/dev/tty").ok())
    }

    /// Whether the command should have it from the start: it is ours to give, and nobody else in a
    /// pipeline seems to need it. Otherwise the command gets it when it asks.
    pub(crate) fn is_wanted(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && self.belongs_to(getpgrp())
    }

    /// Whether a group is in the foreground.
    pub(crate) fn belongs_to(&self, group: Pid) -> bool {
        self.0.as_ref().is_some_and(|terminal| tcgetpgrp(terminal) == Ok(group))
    }

    /// Puts a group into the foreground. Without `SIGTTOU` blocked, it stops the caller who is not
    /// there itself.
    pub(crate) fn give_to(&self, group: Pid) -> bool {
        self.0.as_ref().is_some_and(|terminal| tcsetpgrp(terminal, group).is_ok())
    }
}
