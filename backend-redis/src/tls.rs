//! Speaking to a server through TLS: with `rustls`, so that no library of the system is needed.

use redis::{Client, ConnectionAddr, ConnectionInfo};
use tenure_core::{Error, Result};

/// Who is trusted to say that a server is the one that was named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    #[cfg(feature = "tls")]
    authorities: Option<Box<[u8]>>,
}

/// Whether a URL asks for TLS.
pub(crate) fn is_asked_for(url: &str) -> bool {
    let scheme = url.split(':').next().unwrap_or_default();
    let secure = ["rediss", "rediss+cluster", "rediss+sentinel", "valkeys"];
    secure.iter().any(|tls| scheme.eq_ignore_ascii_case(tls))
}

impl Trust {
    /// Nobody but these, as PEM.
    #[cfg(feature = "tls")]
    pub(crate) fn only(authorities: impl Into<Box<[u8]>>) -> Self {
        Self { authorities: Some(authorities.into()) }
    }

    /// As [`only`](Self::only), from a file.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if the file cannot be read.
    #[cfg(feature = "tls")]
    pub(crate) fn from_file(file: &std::path::Path) -> Result<Self> {
        let pem = std::fs::read(file).map_err(|source| {
            let message = format!("the authorities in {} cannot be read", file.display());
            Error::misconfigured(message).with_source(source)
        })?;
        Ok(Self::only(pem))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn client(&self, info: ConnectionInfo) -> Result<Client> {
        let secure = match info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => !insecure,
            _ if self.authorities.is_some() => {
                return Err(Error::misconfigured(
                    "there are authorities for TLS, but the URL does not ask for it; write rediss://",
                ));
            }
            _ => return open(info),
        };
        if !secure {
            return Err(Error::misconfigured(
                "a server is never trusted without looking; leave #insecure out, and give the certificate of the \
                 authority that signed the server's",
            ));
        }
        provide();
        let Some(authorities) = &self.authorities else { return open(info) };
        let pem = authorities.to_vec();
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(Error::misconfigured("the authorities are no certificates in PEM"));
        }
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
        Client::build_with_tls(info, certificates).map_err(|source| {
            Error::misconfigured("the authorities are no certificates in PEM").with_source(source)
        })
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_self, reason = "there is nobody to trust")]
    pub(crate) fn client(&self, info: ConnectionInfo) -> Result<Client> {
        match info.addr() {
            ConnectionAddr::TcpTls { .. } => Err(missing()),
            _ => open(info),
        }
    }
}

/// What to do about a URL that asks for TLS in a build that has none.
pub(crate) fn missing() -> Error {
    Error::misconfigured(
        "this build has no TLS; add the feature `tls` of tenure-redis, or `redis-tls` of tenure",
    )
}

fn open(info: ConnectionInfo) -> Result<Client> {
    Client::open(info).map_err(|source| Error::misconfigured("the URL cannot be used").with_source(source))
}

#[cfg(feature = "tls")]
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Chooses the cryptography of this process, if nobody has: where several are built in, `rustls` cannot
/// choose for itself, and panics.
#[cfg(feature = "tls")]
fn provide() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may have chosen since.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(all(test, not(feature = "tls")))]
mod tests {
    #[test]
    fn a_build_without_it_says_which_feature_is_missing() {
        for url in ["rediss://:secret@localhost/", "REDISS://localhost", "valkeys://localhost"] {
            let error = crate::Redis::connect(url).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(error.is_misconfigured() && said.contains("feature `tls`"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
