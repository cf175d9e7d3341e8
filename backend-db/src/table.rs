//! What the table is called.

use tenure_core::{Error, Result};

/// The table's name, and the schema that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    schema: Option<Box<str>>,
    name: Box<str>,
}

/// What it is called unless it is said otherwise; so it stands in the files of the schema.
pub(crate) const NAME: &str = "tenure_lock";

/// Postgres cuts longer ones, of which some are this name and more.
const LONGEST: usize = 50;

impl Default for Table {
    fn default() -> Self {
        Self { schema: None, name: NAME.into() }
    }
}

impl Table {
    /// Reads `table` or `schema.table`.
    ///
    /// # Errors
    ///
    /// `Misconfigured` if a part has other characters than letters, digits and `_`, begins with a digit,
    /// or is longer than 50.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        if !schema.into_iter().chain([name]).all(is_plain) {
            // It may be a part of a URL, and so of a password.
            return Err(Error::misconfigured(format!(
                "a table cannot be called so here; write letters, digits and _, at most {LONGEST}, with a schema and \
                 a dot before it if need be"
            )));
        }
        Ok(Self { schema: schema.map(Into::into), name: name.into() })
    }

    /// A text in which the default name stands for this table's.
    pub(crate) fn in_place(&self, sql: &str) -> String {
        match &self.schema {
            None => sql.replace(NAME, &self.name),
            // Indexes and constraints are where their table is, and take no schema.
            Some(schema) => sql.replace(NAME, &format!("{schema}.{}", self.name)),
        }
    }

    /// The name with its schema.
    pub(crate) fn full(&self) -> String {
        self.in_place(NAME)
    }
}

fn is_plain(part: &str) -> bool {
    let starts = part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts && part.len() <= LONGEST && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_can_stand_in_a_schema() {
        let table = Table::new("app.locks").unwrap();
        assert_eq!(table.in_place("UPDATE tenure_lock SET"), "UPDATE app.locks SET");
        assert_eq!(Table::new("locks").unwrap().in_place("tenure_lock_meta"), "locks_meta");
        assert_eq!(Table::default().full(), "tenure_lock");
    }

    #[test]
    fn what_could_be_more_than_a_name_is_refused() {
        let long = "x".repeat(51);
        for text in ["", "a b", "a;b", "a.b.c", "1a", "a\"", "`a`", ".a", "a.", "caf\u{e9}", &*long] {
            assert!(Table::new(text).is_err_and(|error| error.is_misconfigured()), "{text:?}");
        }
    }
}
