//! What is a record and what is not, over random, torn and hostile bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn records() -> impl Strategy<Value = Record> {
    let who = (any::<[u8; 16]>(), any::<Boot>(), any::<(u32, u64)>(), 0..State::ALL.len(), any::<bool>());
    let texts = any::<(u32, u64, u16, u16, u64)>();
    (0..NUMBERS, 0..NUMBERS, any::<(u64, u64)>(), who, texts).prop_map(
        |(seq, fence, (deadline, granted), (owner, boot, (pid, start), state, detached), texts)| Record {
            seq,
            fence: Fence::new(fence),
            owner: Owner::from_bytes(owner),
            boot,
            deadline,
            granted,
            holder: Process { pid, start },
            state: State::ALL[state],
            detached,
            key_len: texts.0,
            key_sum: texts.1,
            label_len: texts.2,
            reason_len: texts.3,
            text_sum: texts.4,
        },
    )
}

proptest! {
    #[test]
    fn a_record_survives_its_bytes(record in records()) {
        prop_assert_eq!(Parsed::read(&record.encode()), Parsed::Record(record));
    }

    #[test]
    fn a_number_that_none_can_follow_is_torn(record in records(), beyond in NUMBERS..=u64::MAX, fence: bool) {
        let mut record = record;
        match fence {
            true => record.fence = Fence::new(beyond),
            false => record.seq = beyond,
        }
        prop_assert_eq!(Parsed::read(&record.encode()), Parsed::Torn);
    }

    #[test]
    fn random_bytes_are_never_a_record(bytes in vec(any::<u8>(), 0..300), magic: bool) {
        let mut bytes = bytes;
        if magic && bytes.len() > 8 {
            bytes[..8].copy_from_slice(b"tenure\x01\0");
        }
        prop_assert!(!matches!(Parsed::read(&bytes), Parsed::Record(_)));
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_torn(record in records(), at in 64..HEADER * 8, cut in 1..HEADER) {
        let mut bytes = record.encode();
        prop_assert_eq!(Parsed::read(&bytes[..cut]), Parsed::Torn);
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert_eq!(Parsed::read(&bytes), Parsed::Torn);
    }

    #[test]
    fn half_of_one_write_and_half_of_another_is_torn(
        old in records(), new in records(), cut in 9..HEADER,
    ) {
        let (old, new) = (old.encode(), new.encode());
        let mixed = [&new[..cut], &old[cut..]].concat();
        prop_assume!(mixed != new && mixed != old);
        prop_assert_eq!(Parsed::read(&mixed), Parsed::Torn);
    }

    #[test]
    fn a_text_is_somebody_elses_file(text in "[^\0]{1,200}") {
        prop_assume!(!text.starts_with("tenure"));
        prop_assume!(!"tenure".starts_with(&text));
        // As much as is read of it, which may end within a character.
        prop_assert_eq!(Parsed::read(&text.as_bytes()[..text.len().min(HEADER)]), Parsed::Foreign);
    }

    #[test]
    fn texts_are_this_records_or_none(
        record in records(), label in any::<String>(), reason in any::<String>(), bytes in vec(any::<u8>(), 0..1200),
    ) {
        let mut record = record;
        // Lengths and sums as they come lead nowhere, and never out of bounds.
        prop_assert_eq!(record.texts(&bytes), None);
        let (label, reason) = record.describe(&label, &reason);
        prop_assert!(label.len() <= TEXT && reason.len() <= TEXT);
        let mut bytes = vec![0; KEY];
        bytes[LABEL..LABEL + label.len()].copy_from_slice(label.as_bytes());
        bytes[REASON..REASON + reason.len()].copy_from_slice(reason.as_bytes());
        prop_assert_eq!(record.texts(&bytes), Some((label.to_owned(), reason.to_owned())));
        // With one byte of either changed they are another's.
        let written = [(LABEL, label.len()), (REASON, reason.len())];
        for (at, _) in written.into_iter().filter(|(_, len)| *len > 0) {
            bytes[at] ^= 1;
            prop_assert_eq!(record.texts(&bytes), None);
            bytes[at] ^= 1;
        }
    }

    /// Whatever a record says, a name is closed for no longer than somebody could have asked, unless
    /// there is a holder who can be seen to be dead or alive.
    #[test]
    fn a_record_closes_its_name_for_a_holder_or_for_thirty_days_at_most(
        record in records(), now: u64, same: bool,
    ) {
        let boot = if same { record.boot } else { [0xee; 16] };
        prop_assume!(same || record.boot != boot);
        match record.standing(Moment::from_nanos(now), boot) {
            Standing::Quarantined(left) => prop_assert!(left <= Ttl::MAX.get() && !left.is_zero()),
            Standing::Held { alive, remaining } => {
                prop_assert!(same && remaining != Some(Duration::ZERO));
                let seen = alive == Some(record.seq) || record.detached;
                prop_assert!(seen || remaining.is_some_and(|left| left <= Ttl::MAX.get()));
            }
            Standing::Free | Standing::Retired | Standing::Impossible => {}
        }
    }
}
