//! Which of several servers has a lock.

use std::str::FromStr;

use tenure_core::{Error, Result};

/// How locks are placed on several servers; see [`Builder::placement`](crate::Builder::placement).
///
/// All who share the locks must use the same placement and name the same servers in the same words, as
/// these words, and not what they resolve to, decide. A lock whose server is down is `Unavailable`: it is
/// never looked for on another one, where a second holder would get it.
///
/// In a URL it is the option `placement`: `rendezvous`, `pymemcache` or `python-memcached`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// By the highest of the hashes of the server and the key. The order of the servers does not matter,
    /// and one that is added or taken away moves no locks but its own. The same in every release.
    #[default]
    Rendezvous,
    /// As `HashClient` of pymemcache, which Django's `PyMemcacheCache` uses.
    Pymemcache,
    /// As `Client` of python-memcached. The order of the servers matters.
    PythonMemcached,
}

impl Placement {
    /// The server of a key, by its number; the servers are as in the URL, with their ports.
    pub(crate) fn place(self, key: &str, servers: &[impl AsRef<str>]) -> usize {
        match self {
            Self::Rendezvous => {
                best(servers, |server| mixed(fnv1a(&[server.as_bytes(), b"\0", key.as_bytes()])))
            }
            Self::Pymemcache => best(servers, |server| {
                // It looks at the characters of a text, and takes the last byte of each.
                let text: Vec<u8> = server
                    .chars()
                    .chain(['-'])
                    .chain(key.chars())
                    .map(|part| (u32::from(part) & 0xff) as u8)
                    .collect();
                u64::from(murmur3(&text))
            }),
            Self::PythonMemcached => {
                let hash = (crc32fast::hash(key.as_bytes()) >> 16 & 0x7fff).max(1);
                hash as usize % servers.len().max(1)
            }
        }
    }
}

/// The server with the highest score; of equal ones that with the later name.
fn best(servers: &[impl AsRef<str>], score: impl Fn(&str) -> u64) -> usize {
    let scored = servers.iter().map(|server| (score(server.as_ref()), server.as_ref())).enumerate();
    scored.max_by(|one, other| one.1.cmp(&other.1)).map_or(0, |(place, _)| place)
}

/// FNV-1a of 64 bits.
pub(crate) fn fnv1a(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().copied().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads a hash over all of its bits, as the last step of SplitMix64.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// MurmurHash3, x86, 32 bits, from zero.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |part: u32| part.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let little = |part: &[u8]| part.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let (words, rest) = bytes.split_at(bytes.len() & !3);
    let mut hash = words.chunks(4).fold(0_u32, |hash, word| {
        (hash ^ scramble(little(word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    hash ^= scramble(little(rest));
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// As in a URL.
impl FromStr for Placement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "rendezvous" => Ok(Self::Rendezvous),
            "pymemcache" => Ok(Self::Pymemcache),
            "python-memcached" => Ok(Self::PythonMemcached),
            _ => Err(Error::misconfigured(
                "there is no such placement; it is rendezvous, pymemcache or python-memcached",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: [&str; 3] = ["10.0.0.1:11211", "10.0.0.2:11211", "cache.example:11212"];

    const KEYS: [&str; 9] = [
        ":1:lock:a",
        ":1:lock:global",
        ":1:lock:order:7",
        "lock:x",
        "lock:nightly-report",
        "shop:2:lock:b",
        "k",
        ":1:lock:\u{e9}",
        ":1:lock:\u{416}\u{6f22}",
    ];

    fn places(placement: Placement) -> Vec<usize> {
        KEYS.iter().map(|key| placement.place(key, &SERVERS)).collect()
    }

    #[test]
    fn keys_are_placed_as_other_clients_place_them() {
        // Of pymemcache 4.0.0, `RendezvousHash(servers).get_node(key)`.
        assert_eq!(places(Placement::Pymemcache), [0, 2, 1, 1, 0, 1, 2, 1, 0]);
        // Of python-memcached 1.62, `cmemcache_hash(key) % 3`.
        assert_eq!(places(Placement::PythonMemcached), [1, 2, 0, 1, 2, 2, 1, 2, 2]);
        assert_eq!(murmur3(b"hello"), 0x248b_fa47);
        assert_eq!(murmur3(b"The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
    }

    #[test]
    fn our_own_placement_is_the_same_in_every_release() {
        assert_eq!(places(Placement::Rendezvous), [0, 2, 2, 2, 1, 1, 1, 2, 0]);
    }

    #[test]
    fn a_server_that_is_taken_away_moves_its_own_keys_alone() {
        let (mut moved, mut counts) = (0, [0; 3]);
        for key in 0..3000 {
            let key = format!("lock:{key}");
            let before = Placement::Rendezvous.place(&key, &SERVERS);
            counts[before] += 1;
            let turned = Placement::Rendezvous.place(&key, &[SERVERS[2], SERVERS[0], SERVERS[1]]);
            assert_eq!(turned, (before + 1) % 3, "{key}");
            let after = Placement::Rendezvous.place(&key, &SERVERS[..2]);
            moved += usize::from(after != before);
        }
        assert_eq!(moved, counts[2]);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
