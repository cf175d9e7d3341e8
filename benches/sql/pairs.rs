//! Acquire and release, nobody else about; and being denied.

use std::time::Duration;

use tenure::Lock;

use crate::database::Database;
use crate::measure::{in_turn, pin, report, subject};
use crate::record::statements_of;

pub(crate) fn run(database: &Database) {
    pin(0);
    println!("one thread on cpu 0, a server where it likes");
    pair(database);
    denied(database);
}

fn pair(database: &Database) {
    let (statements, ()) = statements_of(
        database,
        // The table has the row from then on.
        |store| Lock::new(store, "pair").try_acquire().unwrap().release().unwrap(),
        |store, ()| Lock::new(store, "pair").try_acquire().unwrap().release().unwrap(),
    );
    let store = database.store();
    let lock = Lock::new(&store, "pair");
    let mut raw = database.link();
    let mut subjects = [
        subject("tenure", || lock.try_acquire().unwrap().release().unwrap()),
        subject("the same statements", || raw.all(&statements, 1)),
    ];
    let times = in_turn(&mut subjects, 1001, 5);
    let [ours, raw] = times[..] else { return };
    let over = format!("the same {} statements through raw diesel", statements.len());
    report("pair", over, (ours, raw), Some(1.10));
}

fn denied(database: &Database) {
    let store = database.store();
    let lock = Lock::new(&store, "taken");
    let held = Lock::new(&store, "taken").ttl(Duration::from_secs(600)).try_acquire().unwrap();
    let is_denied = |lock: &Lock<_>| assert!(lock.try_acquire().is_err_and(|error| error.is_contended()));
    let (statements, ()) = statements_of(database, |_| (), |store, ()| is_denied(&Lock::new(store, "taken")));
    let mut raw = database.link();
    let mut subjects =
        [subject("denied", || is_denied(&lock)), subject("the same statements", || raw.all(&statements, 0))];
    let times = in_turn(&mut subjects, 1001, 10);
    let [ours, raw] = times[..] else { return };
    let over = format!("the same {} statements through raw diesel", statements.len());
    report("denied attempt", over, (ours, raw), Some(1.10));
    drop(held);
}
