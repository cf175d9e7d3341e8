//! What can be done to a record file by somebody who does not take part.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tenure_core::Fence;

use crate::record::{HEADER, Parsed, Record, State};

/// What records looked like that can be put in the place of another.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The record itself before each grant.
    pub(super) older: Vec<Vec<u8>>,
    /// The record of another name.
    pub(super) another: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Damage {
    Flips(Vec<(Index, u8)>),
    Cut(Index),
    Append(Vec<u8>),
    Zeros(Index, Index),
    Noise(Index, Vec<u8>),
    /// As it was before one of the grants.
    Older(Index),
    /// The record of another name.
    OfAnother,
    /// In a format of a later release.
    Newer(u16),
    Forged(Forgery),
}

/// A record that is whole, its sums are right, and it is not true: something in it, or in the locks
/// on its file, says so.
#[derive(Clone, Debug)]
pub(super) enum Forgery {
    /// Of another boot, in which nobody of this one can have held anything.
    Boot([u8; 16]),
    /// Being removed, which no record is under a holder.
    Retired,
    /// An earlier grant than the last one.
    Seq(Index),
    /// A number that no grant has had, and none could follow.
    Numbers { seq: u64, fence: u64 },
    /// Closed for longer than anything may be.
    Closed { state: State, deadline: u64 },
    /// Texts and a key that are not there.
    Texts { label: u16, reason: u16, key: u32, sum: u64 },
}

pub(super) fn damages() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    let noise = vec(any::<u8>(), 1..200);
    prop_oneof![
        1 => vec((index(), any::<u8>()), 1..4).prop_map(Damage::Flips),
        1 => index().prop_map(Damage::Cut),
        1 => noise.clone().prop_map(Damage::Append),
        1 => (index(), index()).prop_map(|(at, len)| Damage::Zeros(at, len)),
        1 => (index(), noise).prop_map(|(at, bytes)| Damage::Noise(at, bytes)),
        4 => index().prop_map(Damage::Older),
        1 => Just(Damage::OfAnother),
        1 => (2..=u16::MAX).prop_map(Damage::Newer),
        4 => forgeries().prop_map(Damage::Forged),
    ]
}

fn forgeries() -> impl Strategy<Value = Forgery> {
    let closed = prop_oneof![Just(State::Quarantined), Just(State::Lingering)];
    prop_oneof![
        any::<[u8; 16]>().prop_map(Forgery::Boot),
        Just(Forgery::Retired),
        any::<Index>().prop_map(Forgery::Seq),
        ((1 << 60)..=u64::MAX, any::<u64>()).prop_map(|(seq, fence)| Forgery::Numbers { seq, fence }),
        (any::<u64>(), (1 << 62)..=u64::MAX).prop_map(|(seq, fence)| Forgery::Numbers { seq, fence }),
        (closed, (1 << 62)..=u64::MAX).prop_map(|(state, deadline)| Forgery::Closed { state, deadline }),
        any::<(u16, u16, u32, u64)>().prop_map(|(label, reason, key, sum)| Forgery::Texts {
            label,
            reason,
            key,
            sum
        }),
    ]
}

impl Damage {
    /// Does it to a record, if it is there.
    pub(super) fn act(&self, path: &Path, past: &Past) {
        let Ok(mut bytes) = fs::read(path) else { return };
        match self {
            Self::Flips(flips) if !bytes.is_empty() => {
                for (at, bit) in flips {
                    // Most of what counts is in the header.
                    let len = if bit & 64 == 0 { bytes.len() } else { bytes.len().min(HEADER) };
                    bytes[at.index(len)] ^= 1 << (bit % 8);
                }
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Append(more) => bytes.extend(more),
            Self::Zeros(at, len) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                let end = at + 1 + len.index(bytes.len() - at);
                bytes[at..end].fill(0);
            }
            Self::Noise(at, noise) => {
                let at = at.index(bytes.len() + 1);
                bytes.resize(bytes.len().max(at + noise.len()), 0);
                bytes[at..at + noise.len()].copy_from_slice(noise);
            }
            Self::Older(which) if !past.older.is_empty() => bytes.clone_from(which.get(&past.older)),
            Self::OfAnother => bytes.clone_from(&past.another),
            Self::Newer(version) if bytes.len() > 8 => bytes[6..8].copy_from_slice(&version.to_le_bytes()),
            Self::Forged(forgery) => {
                let Parsed::Record(mut record) = Parsed::read(&bytes[..bytes.len().min(HEADER)]) else {
                    return;
                };
                forgery.act(&mut record);
                bytes[..HEADER].copy_from_slice(&record.encode());
            }
            _ => return,
        }
        overwrite(path, &bytes);
    }
}

impl Forgery {
    fn act(&self, record: &mut Record) {
        match self {
            Self::Boot(boot) => record.boot = *boot,
            Self::Retired => record.state = State::Retired,
            Self::Seq(which) => record.seq = which.index(record.seq.max(1) as usize) as u64,
            Self::Numbers { seq, fence } => (record.seq, record.fence) = (*seq, Fence::new(*fence)),
            Self::Closed { state, deadline } => {
                (record.state, record.owner) = (*state, None);
                record.deadline = *deadline;
            }
            Self::Texts { label, reason, key, sum } => {
                (record.label_len, record.reason_len) = (*label, *reason);
                (record.key_len, record.text_sum) = (*key, *sum);
            }
        }
    }
}

/// Writes in place: the file keeps its locks and stays the one that others have open.
fn overwrite(path: &Path, bytes: &[u8]) {
    let Ok(file) = File::options().write(true).open(path) else { return };
    file.set_len(bytes.len() as u64).expect("the file is our own");
    file.write_all_at(bytes, 0).expect("the file is our own");
}
