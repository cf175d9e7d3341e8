//! The running boot of this host, under which moments of its clock can be compared.

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
