//! Which database a URL names.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tenure_core::{Error, Result};

use crate::table::Table;

/// A database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A server, by a URL that its client library reads.
    Postgres(String),
    /// The same.
    MySql(String),
}

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) place: Place,
    pub(crate) table: Option<Table>,
    pub(crate) migrate: Option<bool>,
    pub(crate) guard: bool,
    /// The URL without what is secret.
    pub(crate) label: String,
}

/// Reads `sqlite:path`, `sqlite:///path`, `postgres://..` or `mysql://..`, with options of ours:
/// `table=`, `migrate=0`, `guard=1`.
///
/// # Errors
///
/// `Misconfigured` for any other text. What it says holds nothing of the URL: that may hold a password.
pub(crate) fn parse(url: &str) -> Result<Parsed> {
    let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    if options.contains('@') {
        return Err(Error::misconfigured(
            "there is an @ where none belongs; in a user or a password write ? as %3F, and in an option @ as %40",
        ));
    }
    let (mut table, mut migrate, mut guard, mut others) = (None, None, false, Vec::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("table", name) => table = Some(Table::new(&decoded(name)?)?),
            ("migrate", value) => migrate = Some(is_yes(value)),
            ("guard", value) => guard = is_yes(value),
            _ => others.push(option),
        }
    }
    let with_others = |base: String| match others.is_empty() {
        true => base,
        false => format!("{base}?{}", others.join("&")),
    };
    let (place, label) = match scheme {
        "sqlite" => {
            if !others.is_empty() {
                return Err(Error::misconfigured(
                    "a sqlite: URL has the options table, migrate and guard; write other characters of a path as %3F",
                ));
            }
            let path = file(rest)?;
            let label = format!("sqlite:{}", path.display());
            (Place::Sqlite(path), label)
        }
        "postgres" | "postgresql" if rest.starts_with("//") => {
            (Place::Postgres(with_others(format!("postgres:{rest}"))), format!("postgres://{}", shown(rest)))
        }
        "mysql" | "mariadb" if rest.starts_with("//") => {
            (Place::MySql(with_others(format!("mysql:{rest}"))), format!("mysql://{}", shown(rest)))
        }
        _ => return Err(unknown()),
    };
    Ok(Parsed { place, table, migrate, guard, label })
}

fn unknown() -> Error {
    Error::misconfigured(
        "this is no URL of a database; write sqlite:path, postgres://[user[:password]@]host[:port]/database or \
         mysql://[user[:password]@]host[:port]/database",
    )
}

/// The host and the database of what comes after the scheme.
fn shown(rest: &str) -> &str {
    let rest = rest.trim_start_matches('/');
    rest.rsplit_once('@').map_or(rest, |(_, place)| place)
}

fn file(rest: &str) -> Result<PathBuf> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            return Err(Error::misconfigured(
                "a sqlite: URL cannot name another host; write sqlite:///absolute/path or sqlite:relative/path",
            ));
        }
    };
    let path = decoded(path)?;
    if path.contains('\0') {
        return Err(Error::misconfigured("a path cannot hold the character U+0000"));
    }
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(Error::misconfigured(
            "locks in a SQLite database that is no file exclude nobody; name a file, as in sqlite:locks.db",
        ));
    }
    if path.starts_with("file:") {
        return Err(Error::misconfigured("write the path of the file itself after sqlite:, not another URL"));
    }
    Ok(path.into())
}

fn decoded(text: &str) -> Result<String> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    String::from_utf8(bytes).map_err(|_| Error::misconfigured("a URL of a database must be UTF-8"))
}

fn is_yes(value: &str) -> bool {
    !matches!(value, "0" | "false" | "no")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_database_and_how_it_is_used() {
        let parsed = parse("sqlite:///var/lib/a%20b.db?table=app.locks&migrate=0&guard=1").unwrap();
        assert!(parsed.place == Place::Sqlite("/var/lib/a b.db".into()));
        assert_eq!(
            (parsed.table, parsed.migrate, parsed.guard),
            (Table::new("app.locks").ok(), Some(false), true)
        );
        let parsed = parse("postgresql://me:pw@host:5433/app?sslmode=require&table=locks").unwrap();
        assert!(parsed.place == Place::Postgres("postgres://me:pw@host:5433/app?sslmode=require".into()));
        assert_eq!(parsed.label, "postgres://host:5433/app");
        let parsed = parse("mariadb://me:p%40w@host/app").unwrap();
        assert!(parsed.place == Place::MySql("mysql://me:p%40w@host/app".into()));
    }

    #[test]
    fn what_is_no_database_that_others_can_share_is_refused() {
        for url in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite:file:x",
            "sqlite://host/x",
            "sqlite:a%00b",
            "sqlite:x?mode=ro",
            "postgres:host",
            "mysql:",
            "redis://h",
            "x",
            "sqlite:x?table=a-b",
        ] {
            assert!(parse(url).is_err_and(|error| error.is_misconfigured()), "{url}");
        }
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::prelude::*;

    fn urls() -> impl Strategy<Value = String> {
        let secret = prop_oneof!["hunter2", "[!-~]{0,4}hunter2[!-~]{0,4}", "\\PC{0,3}hunter2\\PC{0,3}"];
        let rest = "[a-z]{1,5}(:[0-9]{1,5})?(/[a-z]{0,3})?(\\?(table|migrate|sslmode)=[a-z0-9;:]{0,6})?";
        (prop_oneof!["postgres", "postgresql", "mysql", "mariadb"], "[a-z]{0,3}", secret, rest, 0..3)
            .prop_map(|(scheme, user, secret, rest, form)| match form {
                0 => format!("{scheme}://{user}:{secret}@{rest}"),
                1 => format!("{scheme}://{rest}?password={secret}"),
                _ => format!("{scheme}:{secret}@{rest}"),
            })
    }

    proptest! {
        #[test]
        fn no_url_shows_its_password(url in urls()) {
            let shown = match parse(&url) {
                Ok(parsed) => parsed.label,
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
    }
}
