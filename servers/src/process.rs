//! A server as a process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tenure_conformance::Absent;

/// A running server, killed when it is dropped.
#[derive(Debug)]
pub struct Process(Child);

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

impl Process {
    /// Starts a program, which says nothing.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no such program.
    pub fn start(command: &mut Command, package: &str) -> Result<Self, Absent> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = quiet.get_program().to_string_lossy().into_owned();
        match quiet.spawn() {
            Ok(child) => Ok(Self(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Absent::new(format!("{program} is not installed; apt-get install {package}")))
            }
            Err(error) => Err(Absent::new(format!("{program} cannot be started: {error}"))),
        }
    }

    /// Waits until it answers.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it ended instead, or takes too long.
    pub fn until(&mut self, what: &str, mut answers: impl FnMut() -> bool) -> Result<(), Absent> {
        let began = Instant::now();
        while !answers() {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(Absent::new(format!("{what} ended at once with {status}")));
            }
            if began.elapsed() > PATIENCE {
                return Err(Absent::new(format!("{what} does not answer")));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills it like `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Stops it: it keeps its connections and answers nothing.
    ///
    /// # Errors
    ///
    /// Those of kill(2), and one if it has ended.
    pub fn stop(&self) -> io::Result<()> {
        self.send(Signal::SIGSTOP)?;
        // Its threads stop one after the other, and until the last has, one of them may still answer.
        match waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED))? {
            WaitStatus::Stopped(..) => Ok(()),
            other => Err(io::Error::other(format!("it was not stopped: {other:?}"))),
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// Those of kill(2).
    pub fn go_on(&self) -> io::Result<()> {
        self.send(Signal::SIGCONT)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it ends by itself; `None` if it takes longer than that.
    ///
    /// # Errors
    ///
    /// Those of waitpid(2).
    pub fn end_within(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let began = Instant::now();
        loop {
            match self.0.try_wait()? {
                None if began.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
                ended => return Ok(ended),
            }
        }
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

/// Takes over a program that was started otherwise.
impl From<Child> for Process {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A loopback port that was free a moment ago.
///
/// # Errors
///
/// [`Absent`] if there is none.
pub fn free_port() -> Result<u16, Absent> {
    let free =
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).and_then(|socket| socket.local_addr());
    free.map(|address| address.port()).map_err(|error| Absent::new(format!("no free port: {error}")))
}
