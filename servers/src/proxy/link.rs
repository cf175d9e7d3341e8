//! One connection through the proxy.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::message::{self, Protocol};
use super::{CONNECT, Shared, Trouble};

/// The client's end and the server's. They are closed when both directions have ended.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    /// What becomes of the answers to come, in order.
    fates: Mutex<VecDeque<Fate>>,
    /// Whether the server speaks when it wants.
    subscribed: AtomicBool,
    /// Whether it ended without a word.
    broken: AtomicBool,
    /// Whether nothing gets through any more.
    hushed: AtomicBool,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    ArrivesAfter(Duration),
    /// It is one to a request of the proxy's own.
    Vanishes,
    /// It is lost, and so is everything behind it.
    Ends,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Self {
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let [subscribed, broken, hushed] = [const { AtomicBool::new(false) }; 3];
        Self { client, server, fates: Mutex::default(), subscribed, broken, hushed }
    }

    /// Carries messages in both directions until both have ended.
    pub(super) fn carry(self: Arc<Self>, shared: &Arc<Shared>) {
        let (back, protocol) = (self.clone(), shared.protocol);
        let answers = thread::Builder::new().name("proxied-back".into()).spawn(move || {
            let _ = back.carry_answers(protocol);
            // No answer will come any more. A goodbye before a reset would make it another end.
            let how = if back.broken.load(Ordering::SeqCst) { Shutdown::Read } else { Shutdown::Both };
            let _ = back.client.shutdown(how);
        });
        let _ = self.carry_requests(shared);
        // What is under way arrives, and then its end.
        let _ = self.server.shutdown(Shutdown::Write);
        drop(self);
        if let Ok(answers) = answers {
            let _ = answers.join();
        }
    }

    /// Ends it so that the client sees a reset.
    pub(super) fn reset(&self) {
        self.broken.store(true, Ordering::SeqCst);
        let at_once = linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&self.client, sockopt::Linger, &at_once);
        // Wakes both directions without telling either side; the last one to end closes.
        let _ = self.client.shutdown(Shutdown::Read);
        let _ = self.server.shutdown(Shutdown::Read);
    }

    /// Whether it subscribed to something.
    pub(super) fn listens(&self) -> bool {
        self.subscribed.load(Ordering::SeqCst)
    }

    /// Lets nothing more through, and does not end it.
    pub(super) fn hush(&self) {
        self.hushed.store(true, Ordering::SeqCst);
    }

    fn carry_requests(&self, shared: &Arc<Shared>) -> io::Result<()> {
        let mut messages = Messages::new(&self.client, &self.broken);
        let protocol = shared.protocol;
        let (mut deaf, mut mute_since) = (false, None);
        while let Some(request) = messages.next(|bytes| protocol.request(bytes))? {
            if mute_since.is_some_and(|batch| batch < messages.batch) {
                shared.afterwards.fetch_add(1, Ordering::SeqCst);
            }
            if deaf || self.hushed.load(Ordering::SeqCst) {
                continue;
            }
            if message::subscribes(&request) {
                self.subscribed.store(true, Ordering::SeqCst);
            }
            let trouble = if protocol.is_of_a_lock(&request) { shared.trouble() } else { None };
            match trouble {
                None => self.forward(shared, &request, Fate::Arrives)?,
                Some(Trouble::DropRequest) => {
                    deaf = true;
                    mute_since = Some(messages.batch);
                }
                Some(Trouble::DropReply) => {
                    mute_since = Some(messages.batch);
                    self.forward(shared, &request, Fate::Ends)?;
                }
                Some(Trouble::DelayRequest(time)) => {
                    thread::sleep(time);
                    self.forward(shared, &request, Fate::Arrives)?;
                }
                Some(Trouble::DelayReply(time)) => {
                    self.forward(shared, &request, Fate::ArrivesAfter(time))?
                }
                Some(Trouble::Duplicate) => {
                    self.forward(shared, &request, Fate::Arrives)?;
                    self.forward(shared, &request, Fate::Vanishes)?;
                }
                Some(Trouble::DuplicateLater(time)) => {
                    self.forward(shared, &request, Fate::Arrives)?;
                    repeat_later(shared.clone(), request, time);
                }
                Some(Trouble::ResetBefore) => {
                    self.reset();
                    return Ok(());
                }
                Some(Trouble::ResetAfter) => {
                    self.forward(shared, &request, Fate::Ends)?;
                    self.reset();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn forward(&self, shared: &Shared, request: &[u8], fate: Fate) -> io::Result<()> {
        if !self.subscribed.load(Ordering::SeqCst) {
            let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
            // The first answer that comes late keeps back those behind it.
            let rest = if let Fate::ArrivesAfter(_) = fate { Fate::Arrives } else { fate };
            let count = shared.protocol.answers(request);
            fates.extend((0..count).map(|number| if number == 0 { fate } else { rest }));
        }
        (&self.server).write_all(request)
    }

    fn carry_answers(&self, protocol: Protocol) -> io::Result<()> {
        let mut messages = Messages::new(&self.server, &self.broken);
        let mut over = false;
        while let Some(answer) = messages.next(|bytes| protocol.answer(bytes))? {
            let unasked = message::is_push(&answer) || self.subscribed.load(Ordering::SeqCst);
            let fate = if unasked {
                None
            } else {
                self.fates.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
            };
            match fate.unwrap_or(Fate::Arrives) {
                Fate::Ends => over = true,
                Fate::Vanishes => continue,
                Fate::ArrivesAfter(time) => thread::sleep(time),
                Fate::Arrives => {}
            }
            over |= self.hushed.load(Ordering::SeqCst);
            // A client that is gone does not keep what it sent from arriving.
            if !over && (&self.client).write_all(&answer).is_err() {
                over = true;
            }
        }
        Ok(())
    }
}

/// Sends a request once more on a connection of its own, and waits for its answer.
fn repeat_later(shared: Arc<Shared>, request: Vec<u8>, time: Duration) {
    // Without a thread there is no repetition; the tests count what happened by themselves.
    drop(thread::Builder::new().name("proxied-again".into()).spawn(move || -> io::Result<()> {
        thread::sleep(time);
        let mut server = TcpStream::connect_timeout(&shared.target(), CONNECT)?;
        server.set_read_timeout(Some(CONNECT))?;
        server.write_all(&request)?;
        Messages::new(&server, &AtomicBool::new(false)).next(|bytes| shared.protocol.answer(bytes))?;
        Ok(())
    }));
}

/// The messages that come on a stream.
struct Messages<'s> {
    stream: &'s TcpStream,
    ended: &'s AtomicBool,
    bytes: Vec<u8>,
    /// How often it was read from: what came in one go was sent in one.
    batch: u64,
}

impl<'s> Messages<'s> {
    fn new(stream: &'s TcpStream, ended: &'s AtomicBool) -> Self {
        Self { stream, ended, bytes: Vec::new(), batch: 0 }
    }

    /// The next one, whose length is told by a function; `None` at the end.
    fn next(&mut self, length: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(length) = length(&self.bytes) {
                let rest = self.bytes.split_off(length);
                return Ok(Some(std::mem::replace(&mut self.bytes, rest)));
            }
            let read = self.stream.read(&mut chunk)?;
            // A socket whose reading side was shut down still hands out what comes.
            if read == 0 || self.ended.load(Ordering::SeqCst) {
                return Ok(None);
            }
            self.batch += 1;
            self.bytes.extend_from_slice(&chunk[..read]);
        }
    }
}
