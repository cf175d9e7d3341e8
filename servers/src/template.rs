//! Directories of data that take long to make: made once on this machine, and copied for every server.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tenure_conformance::Absent;

use crate::unprivileged;

/// What a server finds in its directory when it starts for the first time.
#[derive(Debug)]
pub(crate) struct Template {
    /// The program that makes it.
    pub(crate) program: PathBuf,
    /// The Debian package of that program.
    pub(crate) package: &'static str,
    /// Its arguments but for the directory.
    pub(crate) arguments: &'static [&'static str],
    /// The option that names the directory.
    pub(crate) directory: &'static str,
}

/// The directory of the data within that of a server.
pub(crate) const DATA: &str = "data";

impl Template {
    /// A new directory for a server, with a copy of this as [`DATA`] in it.
    pub(crate) fn copy(&self, name: &str) -> Result<TempDir, Absent> {
        let dir = directory(name)?;
        self.copy_to(dir.path(), name)?;
        Ok(dir)
    }

    /// Puts a copy of this into a directory, as [`DATA`].
    pub(crate) fn copy_to(&self, dir: &Path, name: &str) -> Result<(), Absent> {
        let template = self.made(name)?;
        let copied = copy(&template, &dir.join(DATA)).and_then(|()| unprivileged::give(dir));
        copied.map_err(|error| Absent::new(format!("the data of {name} cannot be copied: {error}")))
    }

    /// Where it is, made if it is not there yet.
    fn made(&self, name: &str) -> Result<PathBuf, Absent> {
        let place = templates()
            .map_err(|error| Absent::new(format!("no directory for templates: {error}")))?
            .join(format!("{name}-{}", self.print()?));
        if place.is_dir() {
            return Ok(place);
        }
        let dir = directory(name)?;
        let mut command = unprivileged::command(&self.program);
        command.args(self.arguments);
        command.arg(format!("{}={}", self.directory, dir.path().join(DATA).display()));
        let output = command.stdin(Stdio::null()).output().map_err(|error| self.absent(&error))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Absent::new(format!(
                "{} ended with {}: {why}",
                self.program.display(),
                output.status
            )));
        }
        match fs::rename(dir.path().join(DATA), &place) {
            // Another process was faster; one is as good as the other.
            Err(_) if place.is_dir() => Ok(place),
            Err(error) => Err(Absent::new(format!("the template of {name} cannot be kept: {error}"))),
            Ok(()) => Ok(place),
        }
    }

    /// What tells it from templates of another version, or that were made otherwise.
    fn print(&self) -> Result<String, Absent> {
        let program = fs::metadata(&self.program).map_err(|error| self.absent(&error))?;
        let all = format!("{:?} {} {}", self.arguments, program.len(), program.mtime());
        // FNV-1a: short, and the same in every process.
        let hash = all.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Ok(format!("{hash:016x}"))
    }

    fn absent(&self, error: &io::Error) -> Absent {
        let program = self.program.display();
        if error.kind() == io::ErrorKind::NotFound {
            return Absent::new(format!("{program} is not installed; apt-get install {}", self.package));
        }
        Absent::new(format!("{program} cannot be started: {error}"))
    }
}

/// A program in `PATH`, or in the first of these directories that has it.
pub(crate) fn find(program: &str, elsewhere: impl IntoIterator<Item = PathBuf>) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).collect::<Vec<_>>().into_iter().chain(elsewhere);
    all.find_map(|dir| Some(dir.join(program)).filter(|file| file.is_file()))
        .unwrap_or_else(|| program.into())
}

/// A new directory that belongs to whom a server runs as.
pub(crate) fn directory(name: &str) -> Result<TempDir, Absent> {
    let dir = tempfile::Builder::new().prefix(&format!("tenure-{name}-")).tempdir();
    let dir = dir.and_then(|dir| unprivileged::give(dir.path()).map(|()| dir));
    dir.map_err(|error| Absent::new(format!("no directory for {name}: {error}")))
}

/// Where templates are kept, for this user alone.
fn templates() -> io::Result<PathBuf> {
    let user = nix::unistd::geteuid();
    let place = std::env::temp_dir().join(format!("tenure-templates-{user}"));
    match fs::create_dir(&place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(0o700)))?,
    }
    // Whoever owns it says what our servers start with.
    let found = fs::symlink_metadata(&place)?;
    if found.is_dir() && found.uid() == user.as_raw() {
        return Ok(place);
    }
    Err(io::Error::other(format!("{} belongs to somebody else; remove it", place.display())))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
