//! The columns of another library's table, and what is in them. No I/O.

use crate::statement::Text;
use crate::table::Table;

/// Whose a row is, and until when, in the words of one kind of database.
pub(super) struct Columns {
    pub(super) key: &'static str,
    pub(super) owner: &'static str,
    pub(super) ends: &'static str,
    /// The columns with moments, which must have so many digits of a second.
    pub(super) moments: &'static str,
    pub(super) digits: u8,
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
            ("{key}", self.key.into()),
            ("{owner}", self.owner.into()),
            ("{ends}", self.ends.into()),
            ("{moments}", self.moments.into()),
            ("{digits}", self.digits.to_string()),
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
