//! The host on which all who share a SQLite file must be: its boot, under which moments of its clock can be
//! compared, and its file systems.

use std::path::Path;

use tenure_core::{Error, Result};

/// The running boot.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn id() -> Result<Vec<u8>> {
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read(FILE).map_err(|source| {
        Error::misconfigured(format!("{FILE} cannot be read, so a reboot could not be told; mount /proc"))
            .with_source(source)
    })?;
    Ok(id.trim_ascii().to_vec())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn id() -> Result<Vec<u8>> {
    Err(Error::misconfigured(
        "locks in SQLite need Linux, where processes share a clock that is not set and know the boot it belongs to",
    ))
}

/// Refuses a file system that other hosts write to as well: they share neither the clock nor the memory by
/// which SQLite coordinates.
///
/// # Errors
///
/// `Misconfigured` if the file, or the folder that it is to be in, is on one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn refuse_network(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = if file.exists() { file } else { folder };
    // What is not there is an error when it is opened.
    let Ok(found) = nix::sys::statfs::statfs(place) else { return Ok(()) };
    #[allow(clippy::unnecessary_cast, reason = "the type differs between targets")]
    match network_name(found.filesystem_type().0 as u64) {
        None => Ok(()),
        Some(name) => Err(Error::misconfigured(format!(
            "the file is on a network file system ({name}), where SQLite loses locks; use a file of this host, or a \
             server for locks between hosts"
        ))),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn refuse_network(_: &Path) -> Result<()> {
    Ok(())
}

/// The name of a network file system, by the magic number that `statfs` gives; see statfs(2) and
/// `linux/magic.h`.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn network_name(magic: u64) -> Option<&'static str> {
    // On 32 bits, and in some versions, the number is sign extended.
    Some(match magic & 0xffff_ffff {
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x517b => "smb",
        0x5346_414f | 0x6b41_4653 => "afs",
        0x00c3_6400 => "ceph",
        0x0102_1997 => "9p",
        // Most of what is mounted through fuse is remote, and none can tell.
        0x6573_5546 => "fuse",
        0x0bd0_0bd0 => "lustre",
        0x4750_4653 => "gpfs",
        0x7461_636f => "ocfs2",
        0x0116_1970 => "gfs2",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        for (magic, name) in [(0x6969, "nfs"), (0xffff_ffff_ff53_4d42, "cifs"), (0x6573_5546, "fuse")] {
            assert_eq!(network_name(magic), Some(name));
        }
        for local in [0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(network_name(local), None, "{local:#x}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_looked_for_in_its_folder() {
        assert!(refuse_network(Path::new("locks.db")).is_ok());
        assert!(refuse_network(Path::new("/no/such/folder/locks.db")).is_ok());
    }
}
