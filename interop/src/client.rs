//! Who the others are.

use std::path::{Path, PathBuf};
use std::process::Command;

use tenure_conformance::Absent;
use tenure_redis::Profile;

/// A library of locks, and how to write the names of its locks.
#[derive(Debug)]
pub struct Client {
    /// What its driver calls it.
    pub name: &'static str,
    language: Language,
    django: bool,
    before: &'static str,
    /// Whether it fails on a lock that is shared here, instead of being denied.
    pub fails_on_shares: bool,
}

#[derive(Debug)]
enum Language {
    /// In an environment of this name.
    Python(&'static str),
    Node,
    Rust,
}

/// Those that keep their locks in Redis.
pub const CLIENTS: &[Client] = &[
    plain("redis-py", Language::Python("redis-py"), ""),
    fails_on_shares(plain("python-redis-lock", Language::Python("django5"), "lock:")),
    fails_on_shares(plain("pottery", Language::Python("django5"), "redlock:")),
    django("django-redis", "django5"),
    django("django-redis-cache", "django3"),
    django("django-rediscache", "django5"),
    plain("redis-semaphore", Language::Node, "mutex:"),
    plain("node-redlock", Language::Node, ""),
    plain("rslock", Language::Rust, ""),
    plain("redlock", Language::Rust, ""),
];

/// django-cache-lock on the caches of both of Django's memcached clients that are written in Python; each is
/// called as its placement is.
pub const CACHES: &[Client] = &[
    plain("python-memcached", Language::Python("django3"), ""),
    plain("pymemcache", Language::Python("django5"), ""),
];

const fn plain(name: &'static str, language: Language, before: &'static str) -> Client {
    Client { name, language, django: false, before, fails_on_shares: false }
}

const fn django(name: &'static str, environment: &'static str) -> Client {
    Client { name, language: Language::Python(environment), django: true, before: "", fails_on_shares: false }
}

const fn fails_on_shares(client: Client) -> Client {
    Client { fails_on_shares: true, ..client }
}

impl Client {
    /// The profile that a store in Redis has to have.
    #[must_use]
    pub fn profile(&self) -> Profile {
        if self.django { Profile::django("shop", 2) } else { Profile::Plain }
    }

    /// What a lock of theirs is called here.
    #[must_use]
    pub fn name_of(&self, theirs: &str) -> String {
        format!("{}{theirs}", self.before)
    }

    /// What starts its driver.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it is not installed.
    pub fn command(&self, url: &str) -> Result<Command, Absent> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = installed();
        let (program, driver) = match self.language {
            Language::Python(environment) => {
                (installed.join(environment).join("bin/python"), Some(here.join("python/driver.py")))
            }
            Language::Node => ("node".into(), Some(here.join("node/driver.js"))),
            Language::Rust => (installed.join("rust/debug/tenure-interop-rust"), None),
        };
        let modules = installed.join("node/node_modules");
        let needed = if let Language::Node = self.language { &modules } else { &program };
        if !needed.exists() {
            let absent = format!("{} is not installed; run cargo xtask interop", self.name);
            return Err(Absent::new(absent));
        }
        let mut command = Command::new(program);
        command.args(driver).args([self.name, url]).env("NODE_PATH", modules);
        Ok(command)
    }
}

/// Where `cargo xtask interop` puts what it installs.
fn installed() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop");
    std::env::var_os("TENURE_INTEROP").map_or_else(usual, PathBuf::from)
}
