//! Acquire and release, nobody else about; and being denied.

use std::net::TcpStream;

use memcache::exp::{MetaCommand, MetaConnection, MetaOp, ReturnCode};
use tenure_core::Lock;
use tenure_servers::Memcached;

use crate::measure::{in_turn, pin, report, subject};

/// As long as the store's.
const VALUE: [u8; 110] = [b'x'; 110];

pub(crate) fn run(server: &Memcached) {
    pin(0);
    println!("one thread on cpu 0, the server where it likes; TCP on the loopback interface");
    let store = crate::open(&server.url());
    let lock = Lock::new(&store, "pair");
    let pair = || lock.try_acquire().unwrap().release().unwrap();
    pair();
    let mut raw = connection(server);
    let mut subjects = [subject("tenure", pair), subject("ms and md", || plain(&mut raw))];
    let times = in_turn(&mut subjects, 1001, 20);
    let [ours, raw] = times[..] else { return };
    report(
        "pair",
        "ms ME and md C through the crate, which have no fence over restarts",
        (ours, raw),
        Some(1.10),
    );
    denied(server);
}

fn connection(server: &Memcached) -> MetaConnection {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    MetaConnection::from_stream(stream)
}

fn set(key: &str) -> MetaCommand {
    MetaCommand::new(MetaOp::Set, key).flag("ME").flag("T34").flag("c").value(VALUE)
}

/// Adds a value and deletes it by its number.
fn plain(connection: &mut MetaConnection) {
    let stored = connection.execute(&set("plain")).unwrap();
    let cas = stored.flags().find_map(|flag| flag.strip_prefix(b"c")).unwrap();
    let delete = MetaCommand::new(MetaOp::Delete, "plain").flag([b"C", cas].concat());
    assert_eq!(connection.execute(&delete).unwrap().rc(), ReturnCode::Hd, "nobody else takes it");
}

fn denied(server: &Memcached) {
    let store = crate::open(&server.url());
    let lock = Lock::new(&store, "taken");
    let held = lock.try_acquire().unwrap();
    let attempt = || assert!(lock.try_acquire().is_err_and(|error| error.is_contended()));
    let before = crate::commands(server);
    attempt();
    println!("a denied attempt is {} commands", crate::commands(server) - before);
    let mut raw = connection(server);
    let asked =
        || [set("lock:taken"), MetaCommand::new(MetaOp::Get, "lock:taken").flag("v").flag("c").flag("t")];
    let mut subjects = [
        subject("denied", attempt),
        subject("ms and mg", || assert_eq!(raw.execute_batch(&asked()).unwrap()[0].rc(), ReturnCode::Ns)),
    ];
    let times = in_turn(&mut subjects, 1001, 20);
    let [ours, raw] = times[..] else { return };
    report("denied attempt", "ms ME and mg in one go, who has it", (ours, raw), Some(1.10));
    drop(held);
}
