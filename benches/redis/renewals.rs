//! Many renewals at once.

use std::time::Duration;

use tenure::{Backend, Lock, Redis as Store, Renewal};
use tenure_servers::Redis;

use crate::measure::{in_turn, pin, report, subject};
use crate::raw::{command, connection, scripts_of, send};

const LEASES: usize = 1000;

pub(crate) fn run(server: &Redis) {
    pin(0);
    println!("{LEASES} leases, renewed together as the engine does it, and one by one");
    let store = Store::connect(&server.url()).unwrap();
    let ttl = Duration::from_secs(600);
    let unlocked: Vec<_> =
        (0..LEASES).map(|number| Lock::new(&store, format!("lease {number}")).ttl(ttl)).collect();
    let locks: Vec<_> = unlocked.iter().map(|lock| lock.try_acquire().unwrap()).collect();
    let claims: Vec<_> =
        unlocked.iter().zip(&locks).map(|(lock, held)| lock.claim_as(held.owner()).unwrap()).collect();
    let due: Vec<_> =
        claims.iter().zip(&locks).map(|(claim, held)| Renewal::new(claim, held.grant(), ttl)).collect();
    let scripts = scripts_of(server, || locks.iter().for_each(|held| held.renew().unwrap()));
    assert_eq!(scripts.len(), LEASES, "a renewal is one script");
    let (mut single, mut piped) = (connection(server), connection(server));
    let mut pipeline = redis::Pipeline::with_capacity(LEASES);
    for script in &scripts {
        pipeline.add_command(command(script));
    }
    let mut subjects = [
        subject("one pipeline of the store", || assert!(store.renew_many(&due).iter().all(Result::is_ok))),
        subject("one by one", || locks.iter().for_each(|held| held.renew().unwrap())),
        subject("raw, one by one", || scripts.iter().for_each(|script| drop(send(&mut single, script)))),
        subject("raw, one pipeline", || drop(pipeline.query::<Vec<i64>>(&mut piped).unwrap())),
    ];
    let times = in_turn(&mut subjects, 21, 1);
    let [together, single, raw_single, raw_together] = times[..] else { return };
    report("renewals together", "the same renewals one by one", (together, single), None);
    report("renewals together", "the same pipeline through the raw client", (together, raw_together), None);
    report("renewals one by one", "the same through the raw client", (single, raw_single), None);
}
