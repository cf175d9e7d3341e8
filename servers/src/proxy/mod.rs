//! A network that loses, delays and repeats what clients and servers of Redis or memcached say to each other.

mod link;
mod memcached;
mod message;
mod plan;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use link::Link;
use message::Protocol;
pub use plan::{Plan, Trouble};

/// Stands between clients and a server, on a loopback port of its own, and makes trouble as it is told.
///
/// It looks at requests one by one. Trouble comes to all that a lock asks for, which is calls of scripts in
/// Redis, and to nothing else; what opens a connection goes through. As TCP loses nothing in the middle of a connection,
/// from a request or an answer that is dropped on nothing more gets through on its connection.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    target: AtomicU16,
    ended: AtomicBool,
    plan: Mutex<Plan>,
    links: Mutex<Vec<Weak<Link>>>,
    troubles: AtomicU64,
    afterwards: AtomicU64,
}

impl Proxy {
    /// Starts one in front of a Redis on a loopback port.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn to(target: u16) -> io::Result<Self> {
        Self::between(target, Protocol::Redis)
    }

    /// Starts one in front of a memcached on a loopback port.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn to_memcached(target: u16) -> io::Result<Self> {
        Self::between(target, Protocol::Memcached)
    }

    fn between(target: u16, protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind(loopback(0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            protocol,
            target: target.into(),
            ended: false.into(),
            plan: Mutex::new(Plan::Calm),
            links: Mutex::default(),
            troubles: 0.into(),
            afterwards: 0.into(),
        });
        let accepting = shared.clone();
        thread::Builder::new().name("proxy".into()).spawn(move || accepting.accept(&listener))?;
        Ok(Self { port, shared })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        match self.shared.protocol {
            Protocol::Redis => format!("redis://127.0.0.1:{}/", self.port),
            Protocol::Memcached => format!("memcache://127.0.0.1:{}", self.port),
        }
    }

    /// Says what happens from now on.
    pub fn plan(&self, plan: Plan) {
        *self.shared.plan() = plan;
    }

    /// Leads to another server from now on; ends all connections to the old one.
    pub fn lead_to(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
        self.sever();
    }

    /// Resets all connections.
    pub fn sever(&self) {
        self.shared.links().drain(..).filter_map(|link| link.upgrade()).for_each(|link| link.reset());
    }

    /// Lets nothing more through on the connections that subscribed to something, and does not end them: as
    /// a network that has forgotten them. Those that come after them are served.
    pub fn hush_listeners(&self) {
        let links = self.shared.links();
        links.iter().filter_map(Weak::upgrade).filter(|link| link.listens()).for_each(|link| link.hush());
    }

    /// To how many requests trouble has come.
    #[must_use]
    pub fn troubles(&self) -> u64 {
        self.shared.troubles.load(Ordering::SeqCst)
    }

    /// How many requests came on a connection on which an answer was still missing that will never come.
    #[must_use]
    pub fn asked_after_silence(&self) -> u64 {
        self.shared.afterwards.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(loopback(self.port));
        self.sever();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let shared = self.clone();
            let served = thread::Builder::new().name("proxied".into()).spawn(move || {
                if let Err((client, _)) = shared.serve(client) {
                    let _ = client.shutdown(Shutdown::Both);
                }
            });
            if served.is_err() {
                return;
            }
        }
    }

    /// Carries a connection; a server that is not there closes it.
    fn serve(self: &Arc<Self>, client: TcpStream) -> Result<(), (TcpStream, io::Error)> {
        let server = match TcpStream::connect_timeout(&self.target(), CONNECT) {
            Ok(server) => server,
            Err(error) => return Err((client, error)),
        };
        let link = Arc::new(Link::new(client, server));
        let mut links = self.links();
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        drop(links);
        link.carry(self);
        Ok(())
    }

    fn target(&self) -> SocketAddr {
        loopback(self.target.load(Ordering::SeqCst))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Vec<Weak<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes to the next request of a lock.
    fn trouble(&self) -> Option<Trouble> {
        let trouble = self.plan().draw();
        if trouble.is_some() {
            self.troubles.fetch_add(1, Ordering::SeqCst);
        }
        trouble
    }
}

/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(1);

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::*;

    const CALL: &[u8] = b"*1\r\n$4\r\nEVAL\r\n";

    /// A server that answers each request with how many there were.
    struct Counter {
        port: u16,
        count: Arc<AtomicUsize>,
    }

    impl Counter {
        fn start() -> Self {
            let listener = TcpListener::bind(loopback(0)).unwrap();
            let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
            let counting = count.clone();
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let counting = counting.clone();
                    thread::spawn(move || {
                        let (mut stream, mut bytes) = (stream, [0; 4096]);
                        while let Ok(read @ 1..) = stream.read(&mut bytes) {
                            for _ in 0..read / CALL.len() {
                                let number = counting.fetch_add(1, Ordering::SeqCst) + 1;
                                let _ = stream.write_all(format!(":{number}\r\n").as_bytes());
                            }
                        }
                    });
                }
            });
            Self { port, count }
        }

        #[track_caller]
        fn sees(&self, expected: usize) {
            let until = Instant::now() + Duration::from_secs(10);
            while self.count.load(Ordering::SeqCst) != expected {
                assert!(Instant::now() < until, "{} of {expected}", self.count.load(Ordering::SeqCst));
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    struct Client(TcpStream);

    impl Client {
        fn to(proxy: &Proxy) -> Self {
            let stream = TcpStream::connect(loopback(proxy.port())).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            Self(stream)
        }

        /// What comes back; nothing if nothing does, or if the other side said goodbye.
        fn ask(&mut self) -> io::Result<String> {
            self.say(CALL)
        }

        fn say(&mut self, request: &[u8]) -> io::Result<String> {
            self.0.write_all(request)?;
            let mut bytes = [0; 64];
            let read = self.0.read(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
        }
    }

    fn between() -> (Counter, Proxy) {
        let counter = Counter::start();
        let proxy = Proxy::to(counter.port).unwrap();
        (counter, proxy)
    }

    fn is_silence(answer: io::Result<String>) -> bool {
        answer.is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    #[test]
    fn without_a_plan_everything_gets_through() {
        let (_counter, proxy) = between();
        let mut client = Client::to(&proxy);
        assert_eq!(client.ask().unwrap(), ":1\r\n");
        assert_eq!(client.ask().unwrap(), ":2\r\n");
        assert_eq!((proxy.troubles(), proxy.asked_after_silence()), (0, 0));
    }

    #[test]
    fn behind_a_dropped_request_or_answer_nothing_gets_through() {
        for (trouble, carried_out) in [(Trouble::DropRequest, 0), (Trouble::DropReply, 2)] {
            let (counter, proxy) = between();
            proxy.plan(Plan::next(&[trouble]));
            let mut client = Client::to(&proxy);
            assert!(is_silence(client.ask()), "{trouble:?}");
            assert_eq!(proxy.asked_after_silence(), 0);
            assert!(is_silence(client.ask()), "{trouble:?}");
            assert_eq!((proxy.troubles(), proxy.asked_after_silence()), (1, 1));
            counter.sees(carried_out);
            // Another connection is another matter.
            assert_eq!(Client::to(&proxy).ask().unwrap(), format!(":{}\r\n", carried_out + 1));
        }
    }

    #[test]
    fn a_delayed_request_is_carried_out_although_the_client_is_gone() {
        let (counter, proxy) = between();
        proxy.plan(Plan::next(&[Trouble::DelayRequest(Duration::from_millis(400))]));
        let mut client = Client::to(&proxy);
        assert!(is_silence(client.ask()));
        drop(client);
        assert_eq!(counter.count.load(Ordering::SeqCst), 0);
        counter.sees(1);
    }

    #[test]
    fn a_delayed_answer_arrives_late() {
        let (_counter, proxy) = between();
        proxy.plan(Plan::next(&[Trouble::DelayReply(Duration::from_millis(100))]));
        let began = Instant::now();
        assert_eq!(Client::to(&proxy).ask().unwrap(), ":1\r\n");
        assert!(began.elapsed() >= Duration::from_millis(100));
    }

    #[test]
    fn a_repeated_request_is_answered_once_and_the_next_answer_is_its_own() {
        let (counter, proxy) = between();
        proxy.plan(Plan::next(&[Trouble::Duplicate, Trouble::DuplicateLater(Duration::from_millis(50))]));
        let mut client = Client::to(&proxy);
        assert_eq!(client.ask().unwrap(), ":1\r\n");
        assert_eq!(client.ask().unwrap(), ":3\r\n");
        counter.sees(4);
    }

    #[test]
    fn a_reset_is_seen_as_one_before_or_after_the_request_arrived() {
        for (trouble, carried_out) in [(Trouble::ResetBefore, 0), (Trouble::ResetAfter, 1)] {
            let (counter, proxy) = between();
            proxy.plan(Plan::next(&[trouble]));
            let error = Client::to(&proxy).ask().expect_err("the connection is reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{trouble:?}");
            counter.sees(carried_out);
        }
    }

    #[test]
    fn a_hushed_listener_is_silent_and_others_are_not() {
        let (counter, proxy) = between();
        let (mut listener, mut other) = (Client::to(&proxy), Client::to(&proxy));
        assert_eq!(listener.say(b"*1\r\n$9\r\nSUBSCRIBE\r\n").unwrap(), ":1\r\n");
        assert_eq!(other.ask().unwrap(), ":2\r\n");
        proxy.hush_listeners();
        assert!(is_silence(listener.ask()));
        assert_eq!(other.ask().unwrap(), ":3\r\n");
        assert_eq!(Client::to(&proxy).ask().unwrap(), ":4\r\n");
        counter.sees(4);
    }

    #[test]
    fn it_can_lead_elsewhere() {
        let (first, proxy) = between();
        let second = Counter::start();
        let mut client = Client::to(&proxy);
        assert_eq!(client.ask().unwrap(), ":1\r\n");
        proxy.lead_to(second.port);
        assert!(client.ask().is_err());
        assert_eq!(Client::to(&proxy).ask().unwrap(), ":1\r\n");
        first.sees(1);
        second.sees(1);
    }
}
