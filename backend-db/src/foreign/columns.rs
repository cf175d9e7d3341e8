//! The columns of another library's table, and what is in them. No I/O.

use crate::statement::Text;
use crate::table::Table;

/// What another library calls its columns.
pub(super) struct Names {
    key: &'static str,
    owner: &'static str,
    ends: &'static str,
    /// The columns with moments, which must have so many digits of a second.
    moments: &'static str,
    digits: u8,
}

pub(super) const SHEDLOCK: Names = Names {
    key: "name",
    owner: "locked_by",
    ends: "lock_until",
    moments: "'lock_until', 'locked_at'",
    digits: 3,
};

pub(super) const DJANGO: Names =
    Names { key: "cache_key", owner: "value", ends: "expires", moments: "'expires'", digits: 0 };

/// Whose a row is, and until when, in the words of one kind of database.
pub(super) struct Columns {
    pub(super) names: Names,
    /// The moment now, as the table has it.
    pub(super) now: &'static str,
    /// Whether a row's time is over.
    pub(super) over: &'static str,
    /// Whether a row is the token's.
    pub(super) mine: &'static str,
    /// A moment that is so many microseconds from now, never less.
    pub(super) after: fn(&str) -> String,
    /// The token as the table has it.
    pub(super) token: fn(&str) -> String,
    /// The fence of a row.
    pub(super) fence: &'static str,
    /// How long a row stays, in microseconds.
    pub(super) remaining: &'static str,
}

impl Columns {
    /// A text in which a word in braces stands for what is called so here.
    pub(super) fn text(&self, table: &Table, sql: &str) -> Text {
        let all = [
            ("{table}", table.full()),
            ("{mine}", self.mine.into()),
            ("{key}", self.names.key.into()),
            ("{owner}", self.names.owner.into()),
            ("{ends}", self.names.ends.into()),
            ("{moments}", self.names.moments.into()),
            ("{digits}", self.names.digits.to_string()),
            ("{over}", self.over.into()),
            ("{now}", self.now.into()),
            ("{until}", (self.after)(":ttl")),
            ("{kept}", (self.after)(":keep")),
            ("{token}", (self.token)(":token")),
            ("{nobody}", (self.token)(":victim")),
            ("{fence}", self.fence.into()),
            ("{remaining}", self.remaining.into()),
        ];
        let sql = all.iter().fold(sql.to_owned(), |sql, (word, text)| sql.replace(word, text));
        Text::new(&sql)
    }
}
