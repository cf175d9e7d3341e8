//! The record of a lock, as bytes and as rules: who holds it, and whether it is free. No I/O.
//!
//! ```text
//!   0  magic "tenure"   6  format version   8  seq          16  fence        24  owner token
//!  40  boot id         56  deadline        64  granted at   72  process start
//!  80  pid             84  flags           88  key length   92  label length 94  reason length
//!  96  sum of the key 104  sum of label and reason         112  spare       120  sum of 0..120
//! 128  label          384  reason         640  key
//! ```
//!
//! Numbers are little endian. The deadline is in nanoseconds of the clock that starts at boot; the
//! boot id says of which boot. The key is written once, before the header is; a grant rewrites
//! header and label, a release the header alone.

use std::time::Duration;

use tenure_core::{Fence, Moment, Owner, Ttl};

pub(crate) const HEADER: usize = 128;
pub(crate) const LABEL: usize = 128;
pub(crate) const REASON: usize = 384;
pub(crate) const KEY: usize = 640;
/// The longest label and the longest reason that are stored, in bytes.
const TEXT: usize = 200;

const MAGIC: &[u8; 6] = b"tenure";
/// The newest format that this code reads and the one that it writes.
const VERSION: u16 = 1;
/// The deadline of what has no end of its own.
const NEVER: u64 = u64::MAX;
/// Beyond all numbers of grants and all fences: a grant in every microsecond comes here in 36,000
/// years.
pub(crate) const NUMBERS: u64 = 1 << 60;

/// What the bytes at the start of a record file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Nobody was ever granted anything: no bytes, or none but zeros.
    Blank,
    Record(Record),
    /// A record once; cut short, half written, or scribbled on.
    Torn,
    /// A text, so certainly never a record: somebody else's file.
    Foreign,
    /// Written by a later release in a format that this one does not know.
    Newer(u16),
}

/// A record without its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The number of the grant, which names its alive byte.
    pub(crate) seq: u64,
    pub(crate) fence: Fence,
    pub(crate) owner: Option<Owner>,
    pub(crate) boot: Boot,
    /// In nanoseconds of the clock that starts at boot.
    pub(crate) deadline: u64,
    /// When it was granted, in microseconds since 1970.
    pub(crate) granted: u64,
    pub(crate) holder: Process,
    pub(crate) state: State,
    /// Whether the grant outlives its process: the alive byte says nothing.
    pub(crate) detached: bool,
    pub(crate) key_len: u32,
    pub(crate) key_sum: u64,
    pub(crate) label_len: u16,
    pub(crate) reason_len: u16,
    pub(crate) text_sum: u64,
}

/// One boot of one host.
pub(crate) type Boot = [u8; 16];

/// A process, told apart from a later one with the same id by its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Ticks from boot to its start.
    pub(crate) start: u64,
}

/// What became of the last grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Held, or free if it has no owner.
    Plain,
    /// Released, and to stay taken until the deadline although nobody owns it.
    Lingering,
    /// What was here is unknown, so nothing is granted until the deadline.
    Quarantined,
    /// Taken away; closed until the owner acknowledges or is gone.
    Closed,
    /// Taken away and open; the owner is kept to tell it so.
    Broken,
    /// The file is being removed; who opened it must open it again by its path.
    Retired,
}

/// What a record says about the next grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Free,
    /// Somebody's, for this long at most; until the alive byte of this number is unlocked as well,
    /// if there is one to look at.
    Held {
        remaining: Option<Duration>,
        alive: Option<u64>,
    },
    Quarantined(Duration),
    Retired,
    /// Closed for longer than anybody may ask, so not by us.
    Impossible,
}

/// The life that a grant is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Until(Moment),
    Session,
}

impl Record {
    /// A record that nobody holds, for a new file.
    pub(crate) fn new(key: &str, fence: Fence) -> Self {
        Self {
            seq: 0,
            fence,
            owner: None,
            boot: [0; 16],
            deadline: 0,
            granted: 0,
            holder: Process::default(),
            state: State::Plain,
            detached: false,
            key_len: u32::try_from(key.len()).unwrap_or(u32::MAX),
            key_sum: sum(key.as_bytes()),
            label_len: 0,
            reason_len: 0,
            text_sum: sum(b""),
        }
    }

    /// What this record says at `now` of the boot `boot`.
    pub(crate) fn standing(&self, now: Moment, boot: Boot) -> Standing {
        if self.state == State::Retired {
            return Standing::Retired;
        }
        let remaining = match self.deadline {
            NEVER => None,
            until => Some(Moment::from_nanos(until).since(now)),
        };
        // Whoever held it ended with the host.
        if self.boot != boot || remaining == Some(Duration::ZERO) {
            return Standing::Free;
        }
        let too_long = remaining.is_none_or(|remaining| remaining > Ttl::MAX.get());
        match (self.state, remaining) {
            (State::Quarantined | State::Lingering, _) if too_long => Standing::Impossible,
            (State::Quarantined, Some(remaining)) => Standing::Quarantined(remaining),
            (State::Lingering, Some(_)) => Standing::Held { remaining, alive: None },
            (State::Plain | State::Closed, Some(_)) if self.detached && too_long => Standing::Impossible,
            (State::Plain | State::Closed, _) if self.owner.is_some() => {
                Standing::Held { remaining, alive: (!self.detached).then_some(self.seq) }
            }
            _ => Standing::Free,
        }
    }

    /// Whether the grant has no end of its own.
    pub(crate) fn is_session(&self) -> bool {
        self.deadline == NEVER
    }

    /// Gives the lock away: the next number, the next fence, a new life.
    ///
    /// Numbers follow the wall clock, so that they go on above those that an older record says, or
    /// one that was lost, and an older record never looks newer than a grant that was given since.
    pub(crate) fn grant(&mut self, owner: Owner, fence: Fence, life: Life, boot: Boot, wall_micros: u64) {
        self.seq = self.seq.saturating_add(1).max(wall_micros);
        self.fence = fence;
        self.owner = Some(owner);
        self.state = State::Plain;
        self.reason_len = 0;
        self.live(life, boot);
    }

    /// Whether it has come to the end of the numbers, so that it must not be written.
    pub(crate) fn is_spent(&self) -> bool {
        self.seq.max(self.fence.get()) >= NUMBERS
    }

    /// Sets the life of what is held.
    pub(crate) fn live(&mut self, life: Life, boot: Boot) {
        self.boot = boot;
        self.deadline = match life {
            Life::Until(end) => end.as_nanos().min(NEVER - 1),
            Life::Session => NEVER,
        };
    }

    /// Ends the grant.
    pub(crate) fn free(&mut self) {
        self.owner = None;
        self.state = State::Plain;
        self.deadline = 0;
    }

    /// Leaves the name taken until `end`, and nobody's.
    pub(crate) fn close_until(&mut self, end: Moment, state: State, boot: Boot) {
        self.owner = None;
        self.state = state;
        self.live(Life::Until(end), boot);
    }

    /// Sets label and reason, cut to what is stored of them, and returns these.
    pub(crate) fn describe<'t>(&mut self, label: &'t str, reason: &'t str) -> (&'t str, &'t str) {
        let (label, reason) = (cut(label), cut(reason));
        self.label_len = u16::try_from(label.len()).unwrap_or(0);
        self.reason_len = u16::try_from(reason.len()).unwrap_or(0);
        self.text_sum = text_sum(label.as_bytes(), reason.as_bytes());
        (label, reason)
    }

    /// Reads label and reason from the bytes of a whole record; `None` if they are not this
    /// record's, as in a look that crossed a write.
    pub(crate) fn texts(&self, bytes: &[u8]) -> Option<(String, String)> {
        let label = bytes.get(LABEL..LABEL + usize::from(self.label_len))?;
        let reason = bytes.get(REASON..REASON + usize::from(self.reason_len))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text_sum(label, reason) == self.text_sum).then(|| (text(label), text(reason)))
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, MAGIC);
        put(6, &VERSION.to_le_bytes());
        put(8, &self.seq.to_le_bytes());
        put(16, &self.fence.get().to_le_bytes());
        put(24, &self.owner.map_or([0; 16], Owner::to_bytes));
        put(40, &self.boot);
        put(56, &self.deadline.to_le_bytes());
        put(64, &self.granted.to_le_bytes());
        put(72, &self.holder.start.to_le_bytes());
        put(80, &self.holder.pid.to_le_bytes());
        let flags = u32::from(self.state.code()) | u32::from(self.detached) << 8;
        put(84, &flags.to_le_bytes());
        put(88, &self.key_len.to_le_bytes());
        put(92, &self.label_len.to_le_bytes());
        put(94, &self.reason_len.to_le_bytes());
        put(96, &self.key_sum.to_le_bytes());
        put(104, &self.text_sum.to_le_bytes());
        let sum = sum(&bytes[..120]);
        bytes[120..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

impl Parsed {
    /// Reads a header from as many bytes as the file had.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        if !bytes.starts_with(MAGIC) {
            return if is_text(bytes) && !MAGIC.starts_with(bytes) { Self::Foreign } else { Self::Torn };
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Self::Torn };
        let version = u16::from_le_bytes(part(header, 6));
        if version > VERSION {
            return Self::Newer(version);
        }
        let number = |at| u64::from_le_bytes(part(header, at));
        let flags = u32::from_le_bytes(part(header, 84));
        let state = State::from_code(part::<1>(header, 84)[0]);
        let whole = version == VERSION && number(120) == sum(&header[..120]);
        match state {
            // Numbers beyond the end are nobody's, whatever the sum says.
            Some(state) if whole && number(8).max(number(16)) < NUMBERS => Self::Record(Record {
                seq: number(8),
                fence: Fence::new(number(16)),
                owner: Owner::from_bytes(part(header, 24)),
                boot: part(header, 40),
                deadline: number(56),
                granted: number(64),
                holder: Process { start: number(72), pid: u32::from_le_bytes(part(header, 80)) },
                state,
                detached: flags >> 8 & 1 == 1,
                key_len: u32::from_le_bytes(part(header, 88)),
                label_len: u16::from_le_bytes(part(header, 92)),
                reason_len: u16::from_le_bytes(part(header, 94)),
                key_sum: number(96),
                text_sum: number(104),
            }),
            _ => Self::Torn,
        }
    }
}

impl State {
    const ALL: [Self; 6] =
        [Self::Plain, Self::Lingering, Self::Quarantined, Self::Closed, Self::Broken, Self::Retired];

    fn code(self) -> u8 {
        Self::ALL.iter().position(|state| *state == self).map_or(0, |index| index as u8)
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A sum that tells a torn write, not a forger.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(0x7465_6e75_7265_6673, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

/// Whether this is the beginning of a text, which may be cut within a character.
fn is_text(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
    text && !bytes.contains(&0)
}

fn text_sum(label: &[u8], reason: &[u8]) -> u64 {
    sum(label) ^ sum(reason).rotate_left(1)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

fn part<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&header[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Boot = [7; 16];

    fn held(deadline: u64) -> Record {
        let mut record = Record::new("a key", Fence::new(41));
        let life = if deadline == NEVER { Life::Session } else { Life::Until(Moment::from_nanos(deadline)) };
        record.grant(Owner::random(), Fence::new(42), life, BOOT, 0);
        record
    }

    #[test]
    fn a_reboot_voids_what_was_held() {
        let now = Moment::from_nanos(5);
        for mut record in [held(1000), held(NEVER)] {
            assert!(matches!(record.standing(now, BOOT), Standing::Held { alive: Some(1), .. }));
            assert_eq!(record.standing(now, [8; 16]), Standing::Free);
            record.detached = true;
            assert!(matches!(record.standing(now, BOOT), Standing::Held { alive: None, .. }));
        }
    }

    #[test]
    fn a_lease_ends_at_its_deadline_and_not_before() {
        let record = held(1000);
        let remaining = |now| match record.standing(Moment::from_nanos(now), BOOT) {
            Standing::Held { remaining, .. } => remaining,
            _ => None,
        };
        assert_eq!(remaining(999), Some(Duration::from_nanos(1)));
        assert_eq!(record.standing(Moment::from_nanos(1000), BOOT), Standing::Free);
    }

    #[test]
    fn the_longest_lease_is_no_session() {
        let mut record = held(1000);
        record.live(Life::Until(Moment::FAR), BOOT);
        assert!(!record.is_session());
    }

    #[test]
    fn a_text_file_is_foreign_and_a_newer_format_is_told() {
        assert_eq!(Parsed::read(b"# This file is generated\n"), Parsed::Foreign);
        let cut = &format!("{}\u{e9}", "x".repeat(HEADER - 1)).into_bytes()[..HEADER];
        assert_eq!(Parsed::read(cut), Parsed::Foreign);
        assert_eq!(Parsed::read(&[0; 640]), Parsed::Blank);
        assert_eq!(Parsed::read(b""), Parsed::Blank);
        let mut bytes = held(1).encode();
        bytes[6] = 2;
        assert_eq!(Parsed::read(&bytes), Parsed::Newer(2));
    }

    #[test]
    fn texts_are_cut_between_characters_and_belong_to_their_record() {
        let mut record = held(1);
        let long = "\u{e9}".repeat(300);
        let (label, reason) = record.describe(&long, "why");
        let mut bytes = vec![0; KEY];
        bytes[LABEL..LABEL + label.len()].copy_from_slice(label.as_bytes());
        bytes[REASON..REASON + 3].copy_from_slice(reason.as_bytes());
        assert_eq!(record.texts(&bytes), Some(("\u{e9}".repeat(100), "why".into())));
        bytes[LABEL] ^= 1;
        assert_eq!(record.texts(&bytes), None);
        assert_eq!(record.texts(&bytes[..LABEL]), None);
    }
}

#[cfg(test)]
mod properties;
