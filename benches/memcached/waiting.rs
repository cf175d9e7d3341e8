//! What it costs to wait: commands a second, and the time of this process's cpus.

use std::thread;
use std::time::{Duration, Instant};

use tenure_core::Lock;
use tenure_servers::Memcached;

/// For how long the lock is held meanwhile.
const LASTING: Duration = Duration::from_secs(3);

pub(crate) fn run(server: &Memcached) {
    println!("a lock that is held for {LASTING:?}, and threads of one process that wait for it");
    let [one, .., many] = [1, 8, 64].map(|waiters| wait(server, waiters));
    println!("{:8.2} x  commands while 64 wait / while 1 waits", many / one);
}

/// Lets so many wait; the number of commands a second.
fn wait(server: &Memcached, waiters: usize) -> f64 {
    let (store, other) = (crate::open(&server.url()), crate::open(&server.url()));
    let held = Lock::new(&other, "waited").try_acquire().unwrap();
    thread::scope(|scope| {
        for _ in 0..waiters {
            scope.spawn(|| Lock::new(&store, "waited").acquire().unwrap().release().unwrap());
        }
        // They look often at first.
        thread::sleep(Duration::from_millis(500));
        let (began, asked, used) = (Instant::now(), crate::commands(server), cpu());
        thread::sleep(LASTING);
        let (seconds, asked) = (began.elapsed().as_secs_f64(), crate::commands(server) - asked);
        let (rate, share) = (asked as f64 / seconds, (cpu() - used) / seconds * 100.0);
        println!("{waiters:5} waiting: {rate:.1} commands a second, {share:.2} % of a cpu");
        held.release().unwrap();
        rate
    })
}

/// How many seconds of cpus this process has used.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    // A hundred a second, on every Linux.
    ticks as f64 / 100.0
}
