//! The table: what each configuration guarantees under each fault.

use std::time::Duration;

use tenure_conformance::history::Breach;

use crate::broken::controls;
use crate::cell::What;
use crate::faults::Fault::{self, *};
use crate::row::{Class, Row};
use crate::rows;

use Class::{Exclusive, FenceOnly, NotApplicable};

/// For the page.
pub(crate) const PACKAGE: &str = "tenure-memcached";

const REFUSES: &str = "it refuses new values instead (`-M`)";
const EVICTS: &str = "it throws others out instead";
const RESUMES: Duration = Duration::from_secs(12);

/// What holds in a row that says nothing else.
pub(crate) const USUAL: &[(Fault, Class)] = &[
    (Killed, Exclusive),
    (ServerStopped, Exclusive),
    (HolderStopped, Exclusive),
    (Flushed, Exclusive),
    (MemoryFull, Exclusive),
    (Evicted, NotApplicable(REFUSES)),
    (RequestsDropped, Exclusive),
    (AnswersDropped, Exclusive),
    (Delayed, Exclusive),
    (Duplicated, Exclusive),
    (Reset, Exclusive),
];

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "refusing",
        about: "one server that refuses what it has no memory for, `-M`",
        start: rows::memory,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        except: &[],
    },
    Row {
        name: "async",
        about: "the asynchronous store, on the same",
        start: rows::memory,
        open: rows::polled,
        resumes: RESUMES,
        multiplexed: true,
        except: &[],
    },
    Row {
        name: "evicting",
        about: "one server that throws out what was used least, as memcached does by default",
        start: rows::evicting,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        except: &[(MemoryFull, NotApplicable(EVICTS)), (Evicted, FenceOnly)],
    },
    Row {
        name: "unguarded",
        about: "`without_quarantine()`, on one server with `-M`",
        start: rows::memory,
        open: rows::unguarded,
        resumes: RESUMES,
        multiplexed: false,
        except: &[(Killed, FenceOnly), (Flushed, FenceOnly)],
    },
    Row {
        name: "several",
        about: "two servers with `-M`, each of which has its own locks; both have the fault",
        start: rows::several,
        open: rows::blocking,
        resumes: RESUMES,
        multiplexed: false,
        except: &[],
    },
];

/// The one whose server forgets.
const UNGUARDED: &Row = &ROWS[3];

controls! {
    TOO_LONG BelievesTooLong Reset What::Breach(Breach::Overlap);
    NEVER NeverRenews Reset What::Breach(Breach::Overlap);
    FROM_THE_ANSWER CountsFromTheAnswer Delayed What::Breach(Breach::Overlap);
    FREES FreesOthers AnswersDropped What::Breach(Breach::Overlap);
    HIDES HidesOutages ServerStopped What::Masked;
    REPEATS RepeatsFences Reset What::Breach(Breach::FenceWentBack);
    GIVES_UP GivesUpForGood ServerStopped What::Stalled;
    => UNGUARDED, Flushed, What::Breach(Breach::Overlap);
}
