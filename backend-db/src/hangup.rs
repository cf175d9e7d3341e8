//! Hanging up on a server that does not answer.
//!
//! The client libraries of databases wait for an answer for ever, and diesel does not say on which socket. So
//! the socket is found among those of this process (Linux only), and shut down when an answer is overdue: the
//! library then sees a closed connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Shutdown, SockaddrStorage, getsockname, shutdown};
use tenure_core::Moment;

/// A socket of this process: its descriptor, and the number by which the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    descriptor: i32,
    inode: u64,
}

/// The sockets that this process has now; none where that cannot be seen.
pub(crate) fn sockets() -> Vec<Socket> {
    let Ok(all) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let socket = |entry: std::io::Result<std::fs::DirEntry>| {
        let descriptor = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some(Socket { descriptor, inode: inode(descriptor)? })
    };
    all.filter_map(socket).collect()
}

fn inode(descriptor: i32) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The line of a connection, on which an answer can be overdue.
#[derive(Debug)]
pub(crate) struct Line {
    socket: Socket,
    /// Whose line it is; a forked child has a copy of it, and must not touch what it is for.
    process: u32,
    /// When the answer is overdue, in nanoseconds of the clock; zero if none is waited for.
    due: AtomicU64,
    /// Whether it was overdue at the last look.
    late: AtomicBool,
    cut: AtomicBool,
}

impl Line {
    /// The line of a connection that was just made, by the sockets that there were before; `port` tells its
    /// own port, and is asked if other sockets are new too. None if it cannot be told which one it is: it is
    /// better to wait than to hang up on somebody else.
    pub(crate) fn of_new(before: &[Socket], port: impl FnOnce() -> Option<u16>) -> Option<Arc<Self>> {
        let mut lines = lines();
        lines.retain(|line| Arc::strong_count(line) > 1);
        let is_new =
            |socket: &Socket| !before.contains(socket) && lines.iter().all(|line| line.socket != *socket);
        let mut new: Vec<Socket> = sockets().into_iter().filter(is_new).collect();
        if new.len() > 1 {
            let own = port()?;
            new.retain(|socket| local_port(*socket) == Some(own));
        }
        let [socket] = new[..] else { return None };
        let line = Arc::new(Self {
            socket,
            process: std::process::id(),
            due: AtomicU64::new(0),
            late: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        });
        lines.push(line.clone());
        Some(line)
    }

    /// From now on an answer is waited for, until what is returned is dropped.
    pub(crate) fn waits(&self, limit: Duration) -> Waits<'_> {
        self.late.store(false, Ordering::Relaxed);
        self.due.store((Moment::now() + limit).as_nanos(), Ordering::SeqCst);
        watch();
        Waits(self)
    }

    /// Whether it was hung up on.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Hangs up if the answer is overdue; whether one is waited for.
    fn look(&self, now: Moment) -> bool {
        if !self.is_awaited() {
            return false;
        }
        // At the second look: this whole process may have been stopped, and find the answer there now.
        if now.as_nanos() >= self.due.load(Ordering::SeqCst)
            && self.late.swap(true, Ordering::Relaxed)
            // By then the library may have closed it, and another file have its descriptor.
            && inode(self.socket.descriptor) == Some(self.socket.inode)
        {
            self.cut.store(true, Ordering::Release);
            let _ = shutdown(self.socket.descriptor, Shutdown::Both);
        }
        true
    }

    fn is_awaited(&self) -> bool {
        self.process == std::process::id() && self.due.load(Ordering::SeqCst) > 0 && !self.is_cut()
    }
}

fn local_port(socket: Socket) -> Option<u16> {
    let address: SockaddrStorage = getsockname(socket.descriptor).ok()?;
    address
        .as_sockaddr_in()
        .map(|address| address.port())
        .or_else(|| address.as_sockaddr_in6().map(|address| address.port()))
}

/// Ends the waiting for an answer.
pub(crate) struct Waits<'l>(&'l Line);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.due.store(0, Ordering::SeqCst);
    }
}

/// How often the lines are looked at, and so by how much an answer can be more overdue than was said.
const TICK: Duration = Duration::from_millis(100);

/// After so many looks at which nobody waited the thread rests.
const IDLE: u32 = 100;

/// The process whose thread looks at the lines, or zero while it rests.
static AWAKE: AtomicU64 = AtomicU64::new(0);
static REST: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
static THREAD: Mutex<u32> = Mutex::new(0);
static LINES: Mutex<Vec<Arc<Line>>> = Mutex::new(Vec::new());

fn lines() -> MutexGuard<'static, Vec<Arc<Line>>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that the lines are looked at.
fn watch() {
    let own = u64::from(std::process::id());
    if AWAKE.load(Ordering::SeqCst) == own || AWAKE.swap(own, Ordering::SeqCst) == own {
        return;
    }
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if *thread == std::process::id() {
        let _rest = REST.0.lock().unwrap_or_else(PoisonError::into_inner);
        REST.1.notify_all();
    } else if thread::Builder::new().name("tenure-db-hangup".into()).spawn(look_now_and_then).is_ok() {
        *thread = std::process::id();
    }
}

fn look_now_and_then() {
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        let now = Moment::now();
        let waiting = lines().iter().filter(|line| line.look(now)).count();
        idle = if waiting > 0 { 0 } else { idle + 1 };
        if idle < IDLE {
            continue;
        }
        let mut rest = REST.0.lock().unwrap_or_else(PoisonError::into_inner);
        AWAKE.store(0, Ordering::SeqCst);
        // Whoever began to wait before that is seen here, and whoever does after it wakes this thread.
        while AWAKE.load(Ordering::SeqCst) == 0 && !lines().iter().any(|line| line.is_awaited()) {
            rest = REST.1.wait(rest).unwrap_or_else(PoisonError::into_inner);
        }
        drop(rest);
        AWAKE.store(u64::from(std::process::id()), Ordering::SeqCst);
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection to a server that never answers, with its line.
    fn silent() -> (TcpListener, TcpStream, Arc<Line>) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = sockets();
        let stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let port = stream.local_addr().unwrap().port();
        let line = Line::of_new(&before, || Some(port)).unwrap();
        (server, stream, line)
    }

    #[test]
    fn who_waits_for_an_answer_that_does_not_come_is_cut_off() {
        let (_server, mut stream, line) = silent();
        let began = Moment::now();
        let waits = line.waits(Duration::from_millis(50));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        drop(waits);
        assert!(line.is_cut() && Moment::now().since(began) >= Duration::from_millis(50));
    }

    #[test]
    fn who_waits_for_nothing_is_left_alone() {
        let (_server, mut stream, line) = silent();
        drop(line.waits(Duration::from_millis(1)));
        stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        assert!(stream.read(&mut [0]).is_err() && !line.is_cut());
    }

    #[test]
    fn a_line_is_found_among_others_by_its_port_and_not_guessed() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = sockets();
        let streams = [0, 1].map(|_| TcpStream::connect(server.local_addr().unwrap()).unwrap());
        assert!(Line::of_new(&before, || None).is_none());
        let port = streams[1].local_addr().unwrap().port();
        let line = Line::of_new(&before, || Some(port)).unwrap();
        assert_eq!(local_port(line.socket), Some(port));
    }
}
