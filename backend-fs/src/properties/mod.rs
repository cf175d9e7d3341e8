//! What holds whatever is done to the bytes of a record.
//!
//! A grant is *wrong* if an earlier holder still believes in its own when it is given: that one's
//! lease runs and nobody has told it that the lock is lost. What cannot be told from the truth by
//! the bytes and the byte locks of a file is left out here and named in the docs of the crate.

mod course;
mod damage;
mod hammer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::ProptestConfig;
use tenure_core::Settings;

use crate::Files;

/// A share of the usual number of cases, for what takes milliseconds each.
fn cases(share: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    // A failure is made smaller for half a minute, and then shown as it is.
    ProptestConfig { cases: (usual.cases / share).max(1), max_shrink_time: 30_000, ..usual }
}

/// A store whose leases, and so its quarantines, are over soon; but whose sessions are not looked at,
/// so that nothing tells them of a loss.
fn open(folder: &Path, max_ttl: Duration) -> Files {
    let settings = Settings::default()
        .with_lease(max_ttl)
        .and_then(|settings| settings.with_max_ttl(max_ttl))
        .and_then(|settings| settings.with_recheck(Duration::from_secs(60)))
        .expect("the settings are within their ranges");
    Files::builder(folder).settings(settings).open().expect("a folder of one's own can be opened")
}

fn record_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("lock={name}.lock"))
}
