//! Many renewals at once.

use std::time::Duration;

use tenure::{Backend, Db, Lock, Renewal};

use crate::database::Database;
use crate::measure::{in_turn, pin, report, subject};
use crate::record::statements_of;

const LEASES: usize = 1000;

pub(crate) fn run(database: &Database) {
    pin(0);
    println!("{LEASES} leases, renewed together as the engine does it, and one by one");
    let ttl = Duration::from_secs(600);
    let unlocked = |store: &Db, which: &str| -> Vec<_> {
        (0..LEASES).map(|number| Lock::new(store, format!("{which} {number}")).ttl(ttl)).collect()
    };
    let store = database.store();
    let ours = unlocked(&store, "lease");
    let locks: Vec<_> = ours.iter().map(|lock| lock.try_acquire().unwrap()).collect();
    let claims: Vec<_> =
        ours.iter().zip(&locks).map(|(lock, held)| lock.claim_as(held.owner()).unwrap()).collect();
    let due: Vec<_> =
        claims.iter().zip(&locks).map(|(claim, held)| Renewal::new(claim, held.grant(), ttl)).collect();
    // They stay held, so that the raw client can renew them too. It does so to two ends in turn: SQLite does not
    // write what is in a row already.
    let (statements, held) = statements_of(
        database,
        |store| unlocked(store, "raw").iter().map(|lock| lock.try_acquire().unwrap()).collect::<Vec<_>>(),
        |_, held| (0..2).for_each(|_| held.iter().for_each(|held| held.renew().unwrap())),
    );
    assert_eq!(statements.len(), 2 * LEASES, "a renewal is one statement");
    let mut ends = statements.chunks(LEASES).cycle();
    let mut link = database.link();
    let mut subjects = [
        subject("one statement", || assert!(store.renew_many(&due).iter().all(Result::is_ok))),
        subject("one by one", || locks.iter().for_each(|held| held.renew().unwrap())),
        subject("raw, one by one", || {
            let renewals = ends.next().unwrap_or_default();
            renewals.iter().for_each(|raw| link.all(std::slice::from_ref(raw), 1));
        }),
    ];
    let times = in_turn(&mut subjects, 7, 1);
    let [together, single, raw_single] = times[..] else { return };
    report("renewals in one statement", "the same renewals one by one", (together, single), None);
    report("renewals one by one", "the same through raw diesel", (single, raw_single), None);
    drop(held);
}
