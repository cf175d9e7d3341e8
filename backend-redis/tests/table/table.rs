//! The table: what each configuration guarantees under each fault.

use std::time::Duration;

use tenure_conformance::history::Breach;

use crate::broken::controls;
use crate::cell::What;
use crate::faults::Fault::{self, *};
use crate::row::{Class, Row};
use crate::rows;

/// For the page.
pub(crate) const PACKAGE: &str = "tenure-redis";

use Class::{Exclusive, FenceOnly, NotApplicable};

const ALONE: &str = "there is no replica";
const FORGETFUL: &str = "it has no data that would outlive it";
const ADDRESSES: &str =
    "clients are told the servers' own addresses, past a proxy; the connections are those of one server";
const PLACE: &str =
    "a node without its data has lost its place in the cluster as well; see the promotion of a replica";
const FAIL_OVER: Duration = Duration::from_secs(12);
const RESUMES: Duration = Duration::from_secs(6);

/// What holds in a row that says nothing else.
pub(crate) const USUAL: &[(Fault, Class)] = &[
    (KilledWithData, NotApplicable(FORGETFUL)),
    (KilledWithoutData, FenceOnly),
    (ServerStopped, Exclusive),
    (HolderStopped, Exclusive),
    (ConnectionsKilled, Exclusive),
    (ScriptsForgotten, Exclusive),
    (KeysFlushed, FenceOnly),
    (MemoryFull, Exclusive),
    (KeysEvicted, FenceOnly),
    (ReplicaPromoted, NotApplicable(ALONE)),
    (RequestsDropped, Exclusive),
    (AnswersDropped, Exclusive),
    (Delayed, Exclusive),
    (Duplicated, Exclusive),
    (Reset, Exclusive),
];

/// A server that keeps what it answered.
const ON_DISK: &[(Fault, Class)] = &[(KilledWithData, Exclusive)];

/// A replica takes over, and clients speak to servers past the proxy.
const FAILS_OVER: &[(Fault, Class)] = &[
    (KilledWithData, FenceOnly),
    (ServerStopped, FenceOnly),
    (ReplicaPromoted, FenceOnly),
    (RequestsDropped, NotApplicable(ADDRESSES)),
    (AnswersDropped, NotApplicable(ADDRESSES)),
    (Delayed, NotApplicable(ADDRESSES)),
    (Duplicated, NotApplicable(ADDRESSES)),
    (Reset, NotApplicable(ADDRESSES)),
];

/// The same in a cluster.
const CLUSTER: &[(Fault, Class)] = &[
    (KilledWithData, FenceOnly),
    (KilledWithoutData, NotApplicable(PLACE)),
    (ServerStopped, FenceOnly),
    (ReplicaPromoted, FenceOnly),
    (RequestsDropped, NotApplicable(ADDRESSES)),
    (AnswersDropped, NotApplicable(ADDRESSES)),
    (Delayed, NotApplicable(ADDRESSES)),
    (Duplicated, NotApplicable(ADDRESSES)),
    (Reset, NotApplicable(ADDRESSES)),
];

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "memory",
        about: "one server that keeps nothing on disk",
        start: rows::memory,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        except: &[],
    },
    Row {
        name: "disk",
        about: "one server with appendonly yes and appendfsync always",
        start: rows::disk,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        except: ON_DISK,
    },
    Row {
        name: "async",
        about: "the asynchronous store, on one server with appendonly yes and appendfsync always",
        start: rows::disk,
        open: rows::polled,
        resumes: RESUMES,
        multiplexed: true,
        except: ON_DISK,
    },
    Row {
        name: "fair",
        about: "`fair()`, on one server with appendonly yes and appendfsync always",
        start: rows::disk,
        open: rows::fair,
        resumes: RESUMES,
        multiplexed: false,
        except: ON_DISK,
    },
    Row {
        name: "fair-async",
        about: "the asynchronous store with `fair()`, on the same kind of server",
        start: rows::disk,
        open: rows::fair_polled,
        resumes: RESUMES,
        multiplexed: true,
        except: ON_DISK,
    },
    Row {
        name: "guard",
        about: "`restart_guard()`, on one server that keeps nothing on disk",
        start: rows::memory,
        open: rows::guarded,
        resumes: RESUMES,
        multiplexed: false,
        except: &[(KilledWithoutData, Exclusive), (KeysFlushed, Exclusive)],
    },
    Row {
        name: "acknowledged",
        about: "`replicas(1, ..)`, on a master with a replica that is promoted by hand",
        start: rows::replicated,
        open: rows::acknowledged,
        resumes: RESUMES,
        multiplexed: false,
        except: &[(ReplicaPromoted, FenceOnly)],
    },
    Row {
        name: "cluster",
        about: "a cluster of three masters and three replicas, all with appendonly yes and appendfsync always",
        start: rows::cluster,
        open: rows::blocking,
        resumes: FAIL_OVER,
        multiplexed: false,
        except: CLUSTER,
    },
    Row {
        name: "cluster-async",
        about: "the asynchronous store, on the same",
        start: rows::cluster,
        open: rows::polled,
        resumes: FAIL_OVER,
        multiplexed: true,
        except: CLUSTER,
    },
    Row {
        name: "sentinel",
        about: "a master that sentinels name, and a replica, both with appendonly yes and appendfsync always",
        start: rows::sentinels,
        open: rows::blocking,
        resumes: FAIL_OVER,
        multiplexed: false,
        except: FAILS_OVER,
    },
    Row {
        name: "sentinel-async",
        about: "the asynchronous store, on the same",
        start: rows::sentinels,
        open: rows::polled,
        resumes: FAIL_OVER,
        multiplexed: true,
        except: FAILS_OVER,
    },
    Row {
        name: "replicated",
        about: "a master with a replica that is promoted by hand, both without data on disk",
        start: rows::replicated,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        except: &[(ReplicaPromoted, FenceOnly)],
    },
    Row {
        name: "quorum",
        about: "a majority of three servers that keep nothing on disk, one of which has the fault; on the road \
                to them it is all three",
        start: rows::majority,
        open: rows::quorum,
        resumes: RESUMES,
        multiplexed: true,
        except: &[],
    },
    Row {
        name: "quorum-guard",
        about: "the same with `restart_guard()`, where two of the three have the fault",
        start: rows::majority_failing,
        open: rows::quorum_guarded,
        resumes: RESUMES,
        multiplexed: true,
        except: &[(KilledWithoutData, Exclusive), (KeysFlushed, Exclusive)],
    },
];

controls! {
    TOO_LONG BelievesTooLong ConnectionsKilled What::Breach(Breach::Overlap);
    NEVER NeverRenews ScriptsForgotten What::Breach(Breach::Overlap);
    FROM_THE_ANSWER CountsFromTheAnswer Delayed What::Breach(Breach::Overlap);
    FREES FreesOthers AnswersDropped What::Breach(Breach::Overlap);
    HIDES HidesOutages ServerStopped What::Masked;
    REPEATS RepeatsFences ScriptsForgotten What::Breach(Breach::FenceWentBack);
    GIVES_UP GivesUpForGood MemoryFull What::Stalled;
}
