//! What stands in a lock file, and what it means. No I/O.
//!
//! The record fills one 512-byte sector, so that a disk writes it whole or not at all; the key
//! follows. All numbers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 6 | `TENURE` |
//! | 6 | 2 | format version, 1 |
//! | 8 | 8 | number of the grant, whose alive byte is 2^40 plus this |
//! | 16 | 8 | fence |
//! | 24 | 16 | owner token, zero for nobody |
//! | 40 | 8 | end of the lease, nanoseconds of `CLOCK_BOOTTIME`; all ones for a session |
//! | 48 | 16 | boot id of the host |
//! | 64 | 4 | process id of the holder, for people |
//! | 68 | 1 | state |
//! | 69 | 1 | bit 0: the grant outlives its process; bit 1: somebody waits to be told |
//! | 70 | 2 + 2 | lengths of label and reason |
//! | 76 | 8 | time of the grant, microseconds since 1970, for people |
//! | 84 | 16 | owner whose lock was opened by force last |
//! | 100 | 4 | length of the key, which begins at offset 512 |
//! | 124 | 4 | CRC-32 of the record with these bytes zero |
//! | 128 | 160 | label |
//! | 288 | 224 | reason of a force release |

use std::time::Duration;

use tenure_core::{Error, Fence, Moment, Owner, Result};

/// The size of a record, and where the key begins.
pub(crate) const SIZE: usize = 512;

const MAGIC: &[u8; 6] = b"TENURE";
const VERSION: u16 = 1;
const LABEL: std::ops::Range<usize> = 128..288;
const REASON: std::ops::Range<usize> = 288..512;

/// The host's boot, by its id.
pub(crate) type Boot = [u8; 16];

/// A record, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) fence: Fence,
    pub(crate) owner: Option<Owner>,
    /// [`Moment::FAR`] for a session.
    pub(crate) deadline: Moment,
    pub(crate) boot: Boot,
    pub(crate) pid: u32,
    pub(crate) state: State,
    pub(crate) detached: bool,
    /// Whether somebody waits to be told when the lock may be free.
    pub(crate) awaited: bool,
    pub(crate) since_micros: u64,
    pub(crate) evicted: Option<Owner>,
    pub(crate) key_len: u32,
    pub(crate) label: Box<str>,
    pub(crate) reason: Box<str>,
}

/// What became of the last grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody has it.
    Free = 0,
    /// The owner has it.
    Held = 1,
    /// Released, but kept closed until the deadline.
    Lingering = 2,
    /// Force-released; the owner has not let go yet.
    Broken = 3,
    /// Found torn; closed until no lease from before can live.
    Quarantined = 4,
    /// Its file is being removed; whoever has it open opens the next one.
    Retired = 5,
}

/// What a record says about the lock at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Whoever asks may have it.
    Free,
    /// Taken for this long, whatever becomes of the holder; `None` for a session.
    Taken(Option<Duration>),
    /// Taken, unless the holder's alive byte is unlocked.
    TakenIfAlive(Option<Duration>),
    /// Nobody may have it for this long.
    Quarantined(Duration),
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Nothing was ever written.
    Empty,
    /// Half-written or damaged.
    Torn,
    /// Written by a later version of the format.
    Newer(u16),
}

impl Record {
    /// The record of a file in which nothing was granted yet.
    pub(crate) fn new(key: &str, fence: Fence, boot: Boot) -> Self {
        Self {
            seq: 0,
            fence,
            owner: None,
            deadline: Moment::from_nanos(0),
            boot,
            pid: 0,
            state: State::Free,
            detached: false,
            awaited: false,
            since_micros: 0,
            evicted: None,
            key_len: u32::try_from(key.len()).unwrap_or(u32::MAX),
            label: "".into(),
            reason: "".into(),
        }
    }

    /// What the record says at `now`, in this boot of the host.
    pub(crate) fn standing(&self, now: Moment, boot: &Boot) -> Standing {
        let ended = matches!(self.state, State::Free | State::Retired);
        if ended || self.boot != *boot || self.deadline <= now {
            return Standing::Free;
        }
        let left = (self.deadline != Moment::FAR).then(|| self.deadline.since(now));
        match self.state {
            State::Held | State::Broken if !self.detached => Standing::TakenIfAlive(left),
            State::Quarantined => Standing::Quarantined(left.unwrap_or_default()),
            _ => Standing::Taken(left),
        }
    }

    /// Whether this owner's grant stands at `now`.
    pub(crate) fn is_held_by(&self, owner: Owner, now: Moment, boot: &Boot) -> bool {
        let stands = self.standing(now, boot) != Standing::Free;
        self.state == State::Held && self.owner == Some(owner) && stands
    }

    /// Whether this owner lost the lock by force.
    pub(crate) fn was_forced(&self, owner: Owner) -> bool {
        self.evicted == Some(owner) || (self.state == State::Broken && self.owner == Some(owner))
    }

    /// Ends the last grant.
    pub(crate) fn clear(&mut self) {
        self.state = State::Free;
        self.owner = None;
        self.deadline = Moment::from_nanos(0);
        self.detached = false;
        self.reason = "".into();
    }

    pub(crate) fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let (label, reason) = (fitting(&self.label, LABEL.len()), fitting(&self.reason, REASON.len()));
        put(0, MAGIC);
        put(6, &VERSION.to_le_bytes());
        put(8, &self.seq.to_le_bytes());
        put(16, &self.fence.get().to_le_bytes());
        put(24, &self.owner.map_or([0; 16], Owner::to_bytes));
        put(40, &self.deadline.as_nanos().to_le_bytes());
        put(48, &self.boot);
        put(64, &self.pid.to_le_bytes());
        put(68, &[self.state as u8, u8::from(self.detached) | u8::from(self.awaited) << 1]);
        put(70, &short(label.len()));
        put(72, &short(reason.len()));
        put(76, &self.since_micros.to_le_bytes());
        put(84, &self.evicted.map_or([0; 16], Owner::to_bytes));
        put(100, &self.key_len.to_le_bytes());
        put(LABEL.start, label.as_bytes());
        put(REASON.start, reason.as_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(Unreadable::Empty);
        }
        let Ok(bytes) = <&[u8; SIZE]>::try_from(bytes) else { return Err(Unreadable::Torn) };
        let mut zeroed = *bytes;
        zeroed[124..128].fill(0);
        if bytes[..6] != *MAGIC || u32::from_le_bytes(array(bytes, 124)) != crc32fast::hash(&zeroed) {
            return Err(Unreadable::Torn);
        }
        match u16::from_le_bytes(array(bytes, 6)) {
            VERSION => {}
            0 => return Err(Unreadable::Torn),
            newer => return Err(Unreadable::Newer(newer)),
        }
        let text = |range: std::ops::Range<usize>, length_at: usize| {
            let length = usize::from(u16::from_le_bytes(array(bytes, length_at))).min(range.len());
            String::from_utf8_lossy(&bytes[range.start..range.start + length]).into_owned().into_boxed_str()
        };
        Ok(Self {
            seq: u64::from_le_bytes(array(bytes, 8)),
            fence: Fence::new(u64::from_le_bytes(array(bytes, 16))),
            owner: Owner::from_bytes(array(bytes, 24)),
            deadline: Moment::from_nanos(u64::from_le_bytes(array(bytes, 40))),
            boot: array(bytes, 48),
            pid: u32::from_le_bytes(array(bytes, 64)),
            state: State::from_byte(bytes[68]).ok_or(Unreadable::Torn)?,
            detached: bytes[69] & 1 != 0,
            awaited: bytes[69] & 2 != 0,
            since_micros: u64::from_le_bytes(array(bytes, 76)),
            evicted: Owner::from_bytes(array(bytes, 84)),
            key_len: u32::from_le_bytes(array(bytes, 100)),
            label: text(LABEL, 70),
            reason: text(REASON, 72),
        })
    }
}

impl State {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Free, Self::Held, Self::Lingering, Self::Broken, Self::Quarantined, Self::Retired]
            .into_iter()
            .find(|state| *state as u8 == byte)
    }
}

impl Unreadable {
    /// The error for a record that a later version wrote.
    pub(crate) fn newer(version: u16) -> Error {
        Error::misconfigured(format!(
            "the lock file has format version {version}, this build knows version {VERSION}; update this program"
        ))
    }
}

/// As much of a text as fits, cut between characters.
fn fitting(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

fn array<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the offsets of the format lie inside the record")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: Boot = [7; 16];
    const NOW: Moment = Moment::from_nanos(1_000_000);

    fn held(owner: Owner, deadline: Moment) -> Record {
        Record {
            seq: 3,
            owner: Some(owner),
            deadline,
            state: State::Held,
            label: "host/1".into(),
            ..Record::new("key", Fence::new(9), BOOT)
        }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let record = Record { reason: "\u{e9}".repeat(112).into(), ..held(Owner::random(), Moment::FAR) };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let record = Record { label: "\u{20ac}".repeat(100).into(), ..Record::new("k", Fence::ZERO, BOOT) };
        let read = Record::from_bytes(&record.to_bytes()).unwrap();
        assert_eq!(&*read.label, "\u{20ac}".repeat(53));
    }

    #[test]
    fn a_lease_ends_with_its_time_its_boot_or_its_release() {
        let owner = Owner::random();
        let mut record = held(owner, NOW + Duration::from_nanos(1));
        let left = Some(Duration::from_nanos(1));
        assert_eq!(record.standing(NOW, &BOOT), Standing::TakenIfAlive(left));
        assert!(record.is_held_by(owner, NOW, &BOOT) && !record.is_held_by(Owner::random(), NOW, &BOOT));
        assert_eq!(record.standing(NOW + Duration::from_nanos(1), &BOOT), Standing::Free);
        assert_eq!(record.standing(NOW, &[8; 16]), Standing::Free);
        record.detached = true;
        assert_eq!(record.standing(NOW, &BOOT), Standing::Taken(left));
        record.clear();
        assert_eq!(record.standing(NOW, &BOOT), Standing::Free);
        assert!(!record.is_held_by(owner, NOW, &BOOT));
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = held(Owner::random(), Moment::FAR).to_bytes();
        bytes[6] = 2;
        bytes[124..128].fill(0);
        let crc = crc32fast::hash(&bytes);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Record::from_bytes(&bytes), Err(Unreadable::Newer(2)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let read = Record::from_bytes(&bytes);
            prop_assert!(read.is_err());
        }

        #[test]
        fn a_torn_record_is_never_taken_for_a_whole_one(cut in 1..SIZE, junk: u8) {
            let (before, after) = (held(Owner::random(), Moment::FAR), held(Owner::random(), NOW));
            let (before, mut bytes) = (before.to_bytes(), after.to_bytes());
            bytes[cut..].copy_from_slice(&before[cut..]);
            let whole = bytes == before || bytes == after.to_bytes();
            prop_assert!(whole || Record::from_bytes(&bytes) == Err(Unreadable::Torn));
            let mut bytes = after.to_bytes();
            bytes[cut] ^= junk;
            prop_assert_eq!(Record::from_bytes(&bytes).is_ok(), junk == 0);
        }

        #[test]
        fn hostile_fields_with_a_good_checksum_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), SIZE)) {
            bytes[..8].copy_from_slice(b"TENURE\x01\x00");
            bytes[124..128].fill(0);
            let crc = crc32fast::hash(&bytes);
            bytes[124..128].copy_from_slice(&crc.to_le_bytes());
            if let Ok(record) = Record::from_bytes(&bytes) {
                let _ = (record.standing(NOW, &BOOT), record.to_bytes());
            }
        }
    }
}
