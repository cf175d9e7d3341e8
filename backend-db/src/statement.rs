//! Statements: their text, and the values that go into it. No I/O: threads and tasks use them alike, on
//! connections of our own and on those of a caller.

use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Nullable, Text as SqlText, Untyped};
use tenure_core::{Claim, Mode, Moment, Owner, wall_micros};

use crate::key::Key;

/// The text of a statement, cut where values go.
#[derive(Debug)]
pub(crate) struct Text {
    parts: Box<[(Box<str>, Option<Slot>)]>,
}

/// A value that a statement asks for; written `:name` in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// The key as the table has it.
    Name,
    /// The whole key, if that is longer.
    Whole,
    /// The key as a text, which compares as the column that it is compared with.
    Key,
    /// The token of the owner.
    Token,
    /// The token of the owner who is to lose the lock.
    Victim,
    /// A lifetime, in microseconds.
    Ttl,
    /// How long the name is to stay taken, in microseconds; zero if not at all.
    Keep,
    /// What the fence must be above.
    Floor,
    /// The fence that was seen.
    Fence,
    /// Who asks, for people.
    Label,
    /// Why a lock is taken away.
    Reason,
    /// How it is taken away: one if it is to open now.
    Force,
    /// For how long others are told that somebody waits, in microseconds.
    Patience,
    /// The moment now, where the store's clock is ours, in microseconds.
    Now,
    /// The wall clock, where the store's clock is ours, in microseconds.
    Wall,
    /// The boot under which moments count.
    Boot,
    /// What listeners listen to.
    Channel,
    /// Which lock listeners are told of.
    Payload,
    /// The first key of a range.
    From,
    /// What keys of a range are below.
    To,
    /// How many rows at most.
    Limit,
    /// For how long locks stay closed after the database was started anew, in microseconds.
    Longest,
    /// As what the lock is shared: 2 by readers, 3 by permits.
    Kind,
    /// How many permits there are; zero for readers.
    Permits,
}

const SLOTS: [(&str, Slot); 24] = [
    ("name", Slot::Name),
    ("whole", Slot::Whole),
    ("key", Slot::Key),
    ("token", Slot::Token),
    ("victim", Slot::Victim),
    ("ttl", Slot::Ttl),
    ("keep", Slot::Keep),
    ("floor", Slot::Floor),
    ("fence", Slot::Fence),
    ("label", Slot::Label),
    ("reason", Slot::Reason),
    ("force", Slot::Force),
    ("patience", Slot::Patience),
    ("now", Slot::Now),
    ("wall", Slot::Wall),
    ("boot", Slot::Boot),
    ("channel", Slot::Channel),
    ("payload", Slot::Payload),
    ("from", Slot::From),
    ("to", Slot::To),
    ("limit", Slot::Limit),
    ("longest", Slot::Longest),
    ("kind", Slot::Kind),
    ("permits", Slot::Permits),
];

impl Text {
    /// Reads a text: `:ttl` and the like stand for values, `::` for itself.
    pub(crate) fn new(sql: &str) -> Self {
        let mut parts = Vec::new();
        let (mut part, mut rest) = (String::new(), sql);
        while let Some(colon) = rest.find(':') {
            let (before, after) = (&rest[..colon], &rest[colon + 1..]);
            part.push_str(before);
            let word = after.bytes().take_while(u8::is_ascii_lowercase).count();
            let slot = SLOTS.iter().find(|(name, _)| *name == &after[..word]).map(|(_, slot)| *slot);
            match slot.filter(|_| word > 0) {
                Some(slot) => {
                    parts.push((std::mem::take(&mut part).into_boxed_str(), Some(slot)));
                    rest = &after[word..];
                }
                None => {
                    let taken = if after.starts_with(':') { 1 } else { 0 };
                    part.push_str(&rest[colon..=colon + taken]);
                    rest = &after[taken..];
                }
            }
        }
        part.push_str(rest);
        parts.push((part.into_boxed_str(), None));
        Self { parts: parts.into() }
    }
}

/// What statements are filled with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) name: Vec<u8>,
    pub(crate) whole: Option<Vec<u8>>,
    pub(crate) key: String,
    pub(crate) token: Vec<u8>,
    pub(crate) victim: Vec<u8>,
    pub(crate) ttl: i64,
    pub(crate) keep: i64,
    pub(crate) floor: i64,
    pub(crate) fence: i64,
    pub(crate) label: Vec<u8>,
    pub(crate) reason: Vec<u8>,
    pub(crate) force: i64,
    pub(crate) patience: i64,
    pub(crate) now: i64,
    pub(crate) wall: i64,
    pub(crate) boot: Vec<u8>,
    pub(crate) channel: String,
    pub(crate) payload: String,
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    pub(crate) limit: i64,
    pub(crate) longest: i64,
    pub(crate) kind: i64,
    pub(crate) permits: i64,
}

impl Values {
    /// Of a lock.
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            name: key.name().to_vec(),
            whole: key.whole().map(<[u8]>::to_vec),
            payload: key.payload(),
            ..Self::default()
        }
    }

    /// Of a claim on a lock.
    pub(crate) fn of_claim(claim: &Claim, key: &Key) -> Self {
        Self {
            token: token(claim.owner()),
            ttl: claim.term().ttl().map_or(0, |ttl| micros(ttl.get())),
            floor: i64::try_from(claim.floor().get()).unwrap_or(i64::MAX - 1),
            label: cut(claim.label()).to_vec(),
            kind: if matches!(claim.mode(), Mode::Permit { .. }) { PERMITS } else { READERS },
            permits: match claim.mode() {
                Mode::Permit { limit } => limit.into(),
                _ => 0,
            },
            ..Self::of(key)
        }
    }

    /// With what our own clocks say now.
    pub(crate) fn read_clocks(&mut self) {
        self.now = i64::try_from(Moment::now().as_nanos() / 1000).unwrap_or(i64::MAX);
        self.wall = i64::try_from(wall_micros()).unwrap_or(i64::MAX);
    }
}

/// The state of a lock that readers share.
pub(crate) const READERS: i64 = 2;

/// The state of a lock of which several have permits.
pub(crate) const PERMITS: i64 = 3;

/// A token as the table has it.
pub(crate) fn token(owner: Owner) -> Vec<u8> {
    owner.to_bytes().to_vec()
}

/// Whole microseconds, never less.
pub(crate) fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// The longest text for people that the table has room for, in bytes.
pub(crate) const LONGEST_TEXT: usize = 200;

/// A text for people, cut to what the table has room for.
pub(crate) fn cut(text: &str) -> &[u8] {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

/// A text with its values, as diesel carries it out on any connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement<'a> {
    text: &'a Text,
    values: &'a Values,
    kept: bool,
}

impl<'a> Statement<'a> {
    /// A statement that the connection keeps prepared.
    pub(crate) fn new(text: &'a Text, values: &'a Values) -> Self {
        Self { text, values, kept: true }
    }

    /// The same for a connection behind which servers change, where nothing can be kept.
    pub(crate) fn kept(self, kept: bool) -> Self {
        Self { kept, ..self }
    }
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

macro_rules! for_backends {
    ($($(#[$feature:meta])* $backend:ty, $connection:ty;)*) => {$(
        $(#[$feature])*
        impl QueryFragment<$backend> for Statement<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                if !self.kept {
                    out.unsafe_to_cache_prepared();
                }
                let values = self.values;
                for (part, slot) in &self.text.parts {
                    out.push_sql(part);
                    match slot {
                        None => {}
                        Some(Slot::Name) => out.push_bind_param::<Binary, _>(&values.name)?,
                        Some(Slot::Whole) => out.push_bind_param::<Nullable<Binary>, _>(&values.whole)?,
                        Some(Slot::Key) => out.push_bind_param::<SqlText, _>(&values.key)?,
                        Some(Slot::Token) => out.push_bind_param::<Binary, _>(&values.token)?,
                        Some(Slot::Victim) => out.push_bind_param::<Binary, _>(&values.victim)?,
                        Some(Slot::Ttl) => out.push_bind_param::<BigInt, _>(&values.ttl)?,
                        Some(Slot::Keep) => out.push_bind_param::<BigInt, _>(&values.keep)?,
                        Some(Slot::Floor) => out.push_bind_param::<BigInt, _>(&values.floor)?,
                        Some(Slot::Fence) => out.push_bind_param::<BigInt, _>(&values.fence)?,
                        Some(Slot::Label) => out.push_bind_param::<Binary, _>(&values.label)?,
                        Some(Slot::Reason) => out.push_bind_param::<Binary, _>(&values.reason)?,
                        Some(Slot::Force) => out.push_bind_param::<BigInt, _>(&values.force)?,
                        Some(Slot::Patience) => out.push_bind_param::<BigInt, _>(&values.patience)?,
                        Some(Slot::Now) => out.push_bind_param::<BigInt, _>(&values.now)?,
                        Some(Slot::Wall) => out.push_bind_param::<BigInt, _>(&values.wall)?,
                        Some(Slot::Boot) => out.push_bind_param::<Binary, _>(&values.boot)?,
                        Some(Slot::Channel) => out.push_bind_param::<SqlText, _>(&values.channel)?,
                        Some(Slot::Payload) => out.push_bind_param::<SqlText, _>(&values.payload)?,
                        Some(Slot::From) => out.push_bind_param::<Binary, _>(&values.from)?,
                        Some(Slot::To) => out.push_bind_param::<Binary, _>(&values.to)?,
                        Some(Slot::Limit) => out.push_bind_param::<BigInt, _>(&values.limit)?,
                        Some(Slot::Longest) => out.push_bind_param::<BigInt, _>(&values.longest)?,
                        Some(Slot::Kind) => out.push_bind_param::<BigInt, _>(&values.kind)?,
                        Some(Slot::Permits) => out.push_bind_param::<BigInt, _>(&values.permits)?,
                    }
                }
                Ok(())
            }
        }

        $(#[$feature])*
        impl diesel::RunQueryDsl<$connection> for Statement<'_> {}
    )*};
}

for_backends! {
    #[cfg(feature = "sqlite")] diesel::sqlite::Sqlite, diesel::SqliteConnection;
    #[cfg(feature = "postgres")] diesel::pg::Pg, diesel::PgConnection;
    #[cfg(feature = "mysql")] diesel::mysql::Mysql, diesel::MysqlConnection;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_values_go() {
        let text = Text::new("SELECT 1::bigint, :name, ':' || x FROM t WHERE a=:ttl");
        let parts: Vec<_> = text.parts.iter().map(|(part, slot)| (&**part, *slot)).collect();
        assert_eq!(
            parts,
            [
                ("SELECT 1::bigint, ", Some(Slot::Name)),
                (", ':' || x FROM t WHERE a=", Some(Slot::Ttl)),
                ("", None),
            ]
        );
    }

    #[test]
    fn a_long_label_is_cut_between_characters() {
        assert_eq!(cut("short"), b"short");
        assert_eq!(cut(&"\u{e9}".repeat(150)).len(), LONGEST_TEXT);
        assert_eq!(cut(&format!("x{}", "\u{e9}".repeat(150))).len(), LONGEST_TEXT - 1);
    }
}
