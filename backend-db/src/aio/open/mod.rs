//! Opening connections for tasks.

#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

use tenure_core::Result;

use super::link::Link;

/// Makes connections to one server.
pub(crate) enum Opener {
    #[cfg(feature = "postgres")]
    Postgres(postgres::Postgres),
    #[cfg(feature = "mysql")]
    MySql(mysql::MySql),
}

impl Opener {
    /// A connection.
    ///
    /// # Errors
    ///
    /// `Unavailable` if there is none to be had, `Misconfigured` if there never will be.
    pub(crate) async fn open(&self) -> Result<Link> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => match server.connect().await? {
                Some(connection) => Ok(Link::Postgres(Box::new(connection))),
                None => Err(tenure_core::Error::misconfigured(
                    "a pooler has come between this store and the server; open the store anew",
                )),
            },
            #[cfg(feature = "mysql")]
            Self::MySql(server) => Ok(Link::MySql(Box::new(server.connect().await?.0))),
        }
    }
}
