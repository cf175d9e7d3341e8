//! Where lock files lie, who may use them, and where they may not lie.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::fstatfs;
use nix::unistd::Uid;
use tenure_core::{Error, Limits, Result, Settings};

use crate::Files;
use crate::entry::unavailable;
use crate::record::Boot;

/// Opens a folder of lock files; made by [`Files::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FilesBuilder {
    folder: PathBuf,
    settings: Settings,
    group: bool,
    network: bool,
}

impl FilesBuilder {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, settings: Settings::default(), group: false, network: false }
    }

    /// Sets the defaults of the store's locks.
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Lets the users of the folder's group share its locks: a folder made now gets the mode 2770,
    /// files 0660. Without it they are 0700 and 0600, for one user alone.
    ///
    /// Whoever may write the files can break every lock in them.
    pub fn shared_with_group(self) -> Self {
        Self { group: true, ..self }
    }

    /// Accepts a network file system. Its locks do not survive a restart of the server, its clients
    /// do not share the clock that leases are judged by, and nobody is woken: use it for processes
    /// of one client only.
    pub fn allow_network_file_system(self) -> Self {
        Self { network: true, ..self }
    }

    /// Opens the folder, and makes it if need be.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the folder is a link, belongs to another user, may be written by others
    /// than it is for, or lies on a network file system. `Unavailable` if it cannot be made or read.
    pub fn open(self) -> Result<Files> {
        let label = format!("file:{}", self.folder.display());
        self.open_folder()
            .map_err(|error| error.at(&label))
            .map(|folder| Files::over(&label, folder, self.settings))
    }

    fn open_folder(&self) -> Result<Folder> {
        if !self.folder.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(if self.group { 0o2770 } else { 0o700 })
                .create(&self.folder)
                .and_then(|()| match self.group {
                    // The process's mask would take the group's rights away again.
                    true => fs::set_permissions(&self.folder, Permissions::from_mode(0o2770)),
                    false => Ok(()),
                })
                .map_err(|error| unavailable("the folder of lock files cannot be made", error).settled())?;
        }
        let flags = libc::O_NOFOLLOW | libc::O_DIRECTORY;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&self.folder);
        let handle = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENOTDIR) => Error::misconfigured(
                "the folder of lock files is a link or a file; name a folder, and not by a link",
            )
            .with_source(error),
            _ => unavailable("the folder of lock files cannot be opened", error).settled(),
        })?;
        self.check(&handle)?;
        let path = fs::canonicalize(&self.folder)
            .map_err(|error| unavailable("the folder of lock files cannot be found", error).settled())?;
        Ok(Folder { path, handle, boot: boot_id()?, group: self.group, network: self.network })
    }

    fn check(&self, folder: &File) -> Result<()> {
        let failed =
            |error: io::Error| unavailable("the folder of lock files cannot be examined", error).settled();
        let about = folder.metadata().map_err(failed)?;
        let (user, mode) = (Uid::effective().as_raw(), about.mode());
        if about.uid() != user && about.uid() != 0 && !self.group && user != 0 {
            return Err(Error::misconfigured(format!(
                "the folder of lock files belongs to user {}; use a folder of your own, or share it on purpose \
                 with `shared_with_group`",
                about.uid()
            )));
        }
        if mode & 0o002 != 0 {
            return Err(Error::misconfigured(format!(
                "the folder of lock files can be written by everybody (mode {:o}); make a folder inside it",
                mode & 0o7777
            )));
        }
        if mode & 0o020 != 0 && !self.group && user != 0 {
            return Err(Error::misconfigured(format!(
                "the folder of lock files can be written by its group (mode {:o}); take that right away, or \
                 share it on purpose with `shared_with_group`",
                mode & 0o7777
            )));
        }
        let kind = fstatfs(folder).map_err(|errno| failed(errno.into()))?.filesystem_type();
        #[allow(clippy::unnecessary_cast, reason = "the type differs between targets")]
        match network_file_system(kind.0 as i64 & 0xffff_ffff) {
            Some(name) if !self.network => Err(Error::misconfigured(format!(
                "the folder of lock files lies on a network file system ({name}), where locks can be lost and \
                 hosts share no clock; use a local folder, or a store that hosts share"
            ))),
            _ => Ok(()),
        }
    }
}

/// An open folder of lock files.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    handle: File,
    pub(crate) boot: Boot,
    group: bool,
    pub(crate) network: bool,
}

impl Folder {
    /// Opens a lock file by its key, and makes it if told to. No link is followed.
    pub(crate) fn open(&self, key: &str, create: bool) -> Result<Option<File>> {
        self.open_path(&self.path_of(key), create)
    }

    pub(crate) fn open_path(&self, path: &Path, create: bool) -> Result<Option<File>> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .mode(if self.group { 0o660 } else { 0o600 })
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path);
        let failed = |error| unavailable("its file cannot be opened", error).settled();
        let file = match opened {
            Err(error) if !create && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(Error::misconfigured("its file is no regular file; remove what is in its place"));
        }
        if self.group && about.len() == 0 && about.uid() == Uid::effective().as_raw() {
            // The process's mask may have taken the group's rights away.
            file.set_permissions(Permissions::from_mode(0o660)).map_err(failed)?;
        }
        Ok(Some(file))
    }

    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        self.path.join(file_name(key))
    }

    /// Whether others than its users could have changed the folder since it was opened.
    pub(crate) fn mode(&self) -> u32 {
        self.handle.metadata().map_or(0, |about| about.mode())
    }
}

/// The file of a key: readable where it can be, the same length limit and alphabet everywhere.
pub(crate) fn file_name(key: &str) -> String {
    // Lower case only, so that no case-folding file system brings two keys together; no dot in
    // front, and nothing that means anything to a shell or a path.
    const LIMITS: Limits = Limits::new(200, |byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b':' | b'~')
    });
    [LIMITS.fit(key).as_str(), EXTENSION].concat()
}

/// What the name of every lock file ends with.
pub(crate) const EXTENSION: &str = ".lock";

/// The user's own folder for lock files.
pub(crate) fn user_folder() -> Result<PathBuf> {
    let absolute =
        |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("tenure/locks")).ok_or_else(|| {
        Error::misconfigured(
            "neither XDG_STATE_HOME nor HOME names a folder; name the store, as in \"file:///path\"",
        )
    })
}

/// The folder that a `file:` URL names; `None` for the user's own.
pub(crate) fn folder_of_url(url: &str) -> Result<Option<PathBuf>> {
    let rest = url.strip_prefix("file:").ok_or_else(|| {
        Error::misconfigured("a URL of lock files begins with \"file:\", as in \"file:///var/lib/locks\"")
    })?;
    let text = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(Error::misconfigured(
                    "a \"file:\" URL cannot name another host; write \"file:///absolute/path\" or \"file:relative\"",
                ));
            }
            path
        }
    };
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    match String::from_utf8(decoded) {
        Ok(path) if path.contains('\0') => {
            Err(Error::misconfigured("a path cannot hold the character U+0000"))
        }
        Ok(path) if path.is_empty() => Ok(None),
        Ok(path) => Ok(Some(path.into())),
        Err(source) => {
            Err(Error::misconfigured("the path of a \"file:\" URL must be UTF-8").with_source(source))
        }
    }
}

/// The id of this boot: leases of another one are void.
fn boot_id() -> Result<Boot> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| {
        Error::misconfigured("locks in files need Linux with /proc mounted; the boot id cannot be read")
            .with_source(error)
    })?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map(u128::to_be_bytes).map_err(|error| {
        Error::misconfigured("the boot id of this system is no hexadecimal number").with_source(error)
    })
}

/// The name of a network file system, by the number in `statfs(2)`.
fn network_file_system(kind: i64) -> Option<&'static str> {
    Some(match kind {
        0x6969 => "NFS",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x517b => "SMB",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x6b41_4653 => "kAFS",
        0x0102_1997 => "9p",
        0x7375_7245 => "Coda",
        0x564c => "NCP",
        0x4750_4653 => "GPFS",
        0x0bd0_0bd0 => "Lustre",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number() {
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        // ext4, tmpfs, xfs, btrfs, overlayfs.
        for local in [0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, 0x794c_7630] {
            assert_eq!(network_file_system(local), None);
        }
    }

    #[test]
    fn a_url_names_a_folder() {
        assert_eq!(folder_of_url("file:").unwrap(), None);
        assert_eq!(folder_of_url("file:///var/a%20b").unwrap(), Some(PathBuf::from("/var/a b")));
        assert_eq!(folder_of_url("file://localhost/x").unwrap(), Some(PathBuf::from("/x")));
        assert_eq!(folder_of_url("file:locks").unwrap(), Some(PathBuf::from("locks")));
        for bad in ["file://host/x", "file:a%00b", "file:%ff", "/x"] {
            assert!(folder_of_url(bad).is_err_and(|error| error.is_misconfigured()), "{bad}");
        }
    }

    #[test]
    fn file_names_are_short_plain_and_different() {
        let keys =
            ["lock:a", "lock:A", "lock:a ", "..", ".", "/etc/passwd", "a\0b", "\u{e9}", "e\u{301}", "a~b"];
        let names: Vec<_> = keys.iter().map(|key| file_name(key)).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() <= 255 && !name.starts_with('.') && !name.contains(['/', '\0']), "{name}");
            assert!(!names[..index].contains(name), "{name}");
        }
        assert_eq!(names[0], "lock:a.lock");
        assert!(file_name(&"x".repeat(70_000)).len() <= 255);
    }
}
