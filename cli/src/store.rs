//! The store that the arguments name.

use tenure::{AnyBackend, Error, Files, Result, Settings};

use crate::args;

/// A store as the command uses it.
pub(crate) enum Store {
    /// Files are known by type: a session's descriptor can be inherited.
    Files(Files),
    Any(AnyBackend),
}

impl Store {
    pub(crate) fn open(args: &args::Store) -> Result<Self> {
        let settings = Settings::from_env()?;
        match args.store.as_deref() {
            None => Ok(Self::Files(Files::user_default(settings)?)),
            Some(url) if url.starts_with("mem:") => Err(Error::misconfigured(
                "a store in memory ends with this command; name one that processes share, such as file:///path",
            )),
            Some(url) if url.starts_with("file:") => Ok(Self::Files(Files::connect(url, settings)?)),
            Some(url) => Ok(Self::Any(tenure::connect_with(url, settings)?)),
        }
    }

    pub(crate) fn into_any(self) -> AnyBackend {
        match self {
            Self::Files(files) => files.into(),
            Self::Any(any) => any,
        }
    }
}
