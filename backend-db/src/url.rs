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
