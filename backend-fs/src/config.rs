//! Opening a store: the folder, who may use it, and what is refused.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::fstatfs;
use nix::unistd::geteuid;
use tenure_core::{Error, Result, Settings};

use crate::Files;
use crate::store::Store;

/// How a store in a folder is to be opened; made by [`Files::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    dir: PathBuf,
    settings: Settings,
    access: Access,
    allow_network_fs: bool,
}

/// Who may use a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    User,
    Group,
}

impl Builder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, settings: Settings::default(), access: Access::User, allow_network_fs: false }
    }

    /// Sets the defaults of the store's locks.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Sets whether the folder's group may use the store too, `false` by default.
    ///
    /// The folder is then made with mode 2770 and its files with 0660, instead of 0700 and 0600.
    /// Every member of the group can take, break and keep every lock.
    #[must_use]
    pub fn group(self, group: bool) -> Self {
        Self { access: if group { Access::Group } else { Access::User }, ..self }
    }

    /// Sets whether a folder on a network file system is accepted, `false` by default.
    ///
    /// Clocks and boots differ between hosts, and the server forgets byte locks when it restarts:
    /// a lock there excludes the processes of one host at best.
    #[must_use]
    pub fn allow_network_fs(self, allow: bool) -> Self {
        Self { allow_network_fs: allow, ..self }
    }

    /// Opens the store, making the folder if it is not there.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the folder is a link, belongs to somebody else, can be written by others,
    /// or lies on a network file system. `Unavailable` if it cannot be made or opened.
    pub fn open(self) -> Result<Files> {
        let label = format!("file:{}", self.dir.display());
        self.open_dir().map(Files::from_store).map_err(|error| error.at(&label))
    }

    fn open_dir(self) -> Result<Store> {
        make(&self.dir, self.access)?;
        let dir = open_unlinked(&self.dir)?;
        check(&self.dir, &dir, self.access)?;
        if !self.allow_network_fs {
            refuse_network_fs(&dir)?;
        }
        Store::new(self.dir, dir, self.settings, self.access, self.allow_network_fs)
    }
}

impl Access {
    pub(crate) fn dir_mode(self) -> u32 {
        match self {
            Self::User => 0o700,
            Self::Group => 0o2770,
        }
    }

    pub(crate) fn file_mode(self) -> u32 {
        match self {
            Self::User => 0o600,
            Self::Group => 0o660,
        }
    }
}

/// The folder for locks of the user who runs the program.
///
/// # Errors
///
/// `Misconfigured` if neither `XDG_STATE_HOME` nor `HOME` says where that is.
pub(crate) fn user_dir() -> Result<PathBuf> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let state = state.ok_or_else(|| {
        Error::misconfigured(
            "neither XDG_STATE_HOME nor HOME is set to an absolute path, so there is no folder for this \
             user's locks; set one of them, or name a folder",
        )
    })?;
    Ok(state.join("tenure").join("locks"))
}

fn make(dir: &Path, access: Access) -> Result<()> {
    let there = fs::symlink_metadata(dir);
    if there.is_ok() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|source| unusable("cannot be made", parent, source))?;
    }
    match DirBuilder::new().mode(access.dir_mode()).create(dir) {
        // The creation mask took bits off, and no bit can be too many: nobody else is in here yet.
        Ok(()) if access == Access::Group => {
            fs::set_permissions(dir, Permissions::from_mode(access.dir_mode()))
                .map_err(|source| unusable("cannot be opened to its group", dir, source))
        }
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(unusable("cannot be made", dir, source)),
    }
}

fn open_unlinked(dir: &Path) -> Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(dir);
    opened.map_err(|source| match source.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR) => Error::misconfigured(format!(
            "{} is a link or no folder; name the folder itself, for a link can be turned elsewhere",
            dir.display()
        ))
        .with_source(source),
        _ => unusable("cannot be opened", dir, source),
    })
}

/// Refuses a folder in which others could put, take away or swap record files.
fn check(path: &Path, dir: &File, access: Access) -> Result<()> {
    let found = dir.metadata().map_err(|source| unusable("cannot be looked at", path, source))?;
    let path = path.display();
    let me = geteuid().as_raw();
    if access == Access::User && found.uid() != me && found.uid() != 0 {
        return Err(Error::misconfigured(format!(
            "{path} belongs to user {}, not to user {me}; use a folder of your own, or open it for a group \
             on purpose",
            found.uid()
        )));
    }
    if found.mode() & 0o002 != 0 {
        return Err(Error::misconfigured(format!(
            "{path} can be written by everybody; make a folder of its own for locks in it, with mode 0700"
        )));
    }
    if access == Access::User && found.mode() & 0o020 != 0 {
        return Err(Error::misconfigured(format!(
            "{path} can be written by its group; take that right away (chmod g-w), or open the store for \
             the group on purpose"
        )));
    }
    Ok(())
}

/// Refuses a file system that other hosts write to as well.
pub(crate) fn refuse_network_fs(dir: &File) -> Result<()> {
    let found = fstatfs(dir).map_err(|errno| {
        Error::unavailable("the folder's file system cannot be found out").with_source(errno).settled()
    })?;
    #[allow(clippy::unnecessary_cast, reason = "the type differs between targets")]
    match network_name(found.filesystem_type().0 as u64) {
        None => Ok(()),
        Some(name) => Err(Error::misconfigured(format!(
            "the folder is on a network file system ({name}), where byte locks and clocks are not those of \
             one host; use a local folder, or a network store for locks between hosts; `Files` that only \
             one host uses can set allow_network_fs"
        ))),
    }
}

/// The name of a network file system, by the magic number that `statfs` gives; see statfs(2) and
/// `linux/magic.h`.
fn network_name(magic: u64) -> Option<&'static str> {
    // On 32 bits, and in some versions, the number is sign extended.
    Some(match magic & 0xffff_ffff {
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x517b => "smb",
        0x564c => "ncp",
        0x5346_414f | 0x6b41_4653 => "afs",
        0x7375_7245 => "coda",
        0x00c3_6400 => "ceph",
        0x0102_1997 => "9p",
        // Most of what is mounted through fuse is remote (sshfs, gluster, s3), and none can tell.
        0x6573_5546 => "fuse",
        0x0bd0_0bd0 => "lustre",
        0x4750_4653 => "gpfs",
        0x7461_636f => "ocfs2",
        0x0116_1970 => "gfs2",
        0x013a_a001 | 0x2003_0528 => "orangefs",
        0x1983_0326 => "beegfs",
        0xaad7_aaea => "panfs",
        _ => return None,
    })
}

fn unusable(what: &str, path: &Path, source: io::Error) -> Error {
    let remedy = match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; give this user the right to write there, or name another folder"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; its file system is read-only, name another folder",
        io::ErrorKind::StorageFull => "; the disk is full",
        _ => "",
    };
    Error::unavailable(format!("{} {what}{remedy}", path.display())).with_source(source).settled()
}

#[cfg(test)]
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
}
