//! What is risky about a store as it is set up.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tenure_core::Advice;

use crate::config::Access;
use crate::store::Store;

/// Below this many watches per user, a busy host may run out of them.
const FEW_WATCHES: u64 = 1024;

impl Store {
    pub(crate) fn diagnose(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if self.network_allowed {
            advice.push(Advice::new(
                "a network file system is allowed, where locks exclude the processes of one host at best",
                "use a local folder, or a network store for locks between hosts",
            ));
        }
        if let Ok(found) = self.dir.metadata() {
            let others = if self.access == Access::User { 0o022 } else { 0o002 };
            if found.mode() & others != 0 {
                advice.push(Advice::new(
                    "others can write in the folder, and so remove or swap record files",
                    "take that right away with chmod",
                ));
            }
            if found.nlink() == 0 {
                advice.push(Advice::new(
                    "the folder was removed, and who opens its path anew does not meet who has it open",
                    "restart the programs that have it open",
                ));
            }
        }
        let watches = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
        if let Some(watches) = watches.and_then(|watches| watches.trim().parse::<u64>().ok())
            && watches < FEW_WATCHES
        {
            advice.push(Advice::new(
                format!("only {watches} files can be watched, and waiters beyond that poll"),
                "raise fs.inotify.max_user_watches",
            ));
        }
        advice
    }
}
