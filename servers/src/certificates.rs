//! Certificates for servers that speak TLS.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tenure_conformance::Absent;

/// An authority of the test's own, and a certificate of it for this host.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes new ones.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no `openssl`.
    pub fn make() -> Result<Self, Absent> {
        let dir = tempfile::Builder::new().prefix("tenure-certificates-").tempdir();
        let made = Self(dir.map_err(|error| Absent::new(format!("no directory for certificates: {error}")))?);
        made.openssl("ca", &["-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign"])?;
        let (ca, key) = (made.authority(), made.path("ca.key"));
        let (ca, key) = (ca.to_string_lossy(), key.to_string_lossy());
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        let server =
            ["-subj", "/CN=localhost", "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE"];
        made.openssl("server", &[&server[..], &["-CA", &ca, "-CAkey", &key]].concat())?;
        Ok(made)
    }

    /// The certificate of the authority, as PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// What `redis-server` has to be told, besides its port for TLS.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let files = [
            ("--tls-cert-file", "server.pem"),
            ("--tls-key-file", "server.key"),
            ("--tls-ca-cert-file", "ca.pem"),
        ];
        let files = files.map(|(option, file)| [option.to_owned(), self.path(file).display().to_string()]);
        files.into_iter().flatten().chain(["--tls-auth-clients", "no"].map(String::from)).collect()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Makes a key, and a certificate for it.
    fn openssl(&self, name: &str, more: &[&str]) -> Result<(), Absent> {
        let mut command = Command::new("openssl");
        command
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.pem")))
            .args(more);
        let made = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let output = made.map_err(|error| {
            Absent::new(format!("openssl cannot be started: {error}; apt-get install openssl"))
        })?;
        if output.status.success() && Path::new(&self.path(&format!("{name}.pem"))).exists() {
            return Ok(());
        }
        Err(Absent::new(format!("no certificates: {}", String::from_utf8_lossy(&output.stderr))))
    }
}
