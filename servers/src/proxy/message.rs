//! Where a message ends: the framing of the Redis serialization protocol, versions 2 and 3, and of memcached's.

use super::memcached;

/// What clients and servers speak.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    Redis,
    Memcached,
}

impl Protocol {
    /// The length of the first whole request, if there is one.
    pub(super) fn request(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Redis => length(bytes),
            Self::Memcached => memcached::request(bytes),
        }
    }

    /// The length of the first whole answer, if there is one.
    pub(super) fn answer(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Redis => length(bytes),
            Self::Memcached => memcached::answer(bytes),
        }
    }

    /// How many answers come to a request.
    pub(super) fn answers(self, request: &[u8]) -> usize {
        match self {
            Self::Redis => 1,
            Self::Memcached => memcached::answers(request),
        }
    }

    /// Whether trouble may come to a request: to all that a lock asks for, and to nothing else.
    pub(super) fn is_of_a_lock(self, request: &[u8]) -> bool {
        match self {
            Self::Redis => calls_script(request),
            Self::Memcached => memcached::is_of_a_lock(request),
        }
    }
}

/// The length of the first whole message, if there is one.
fn length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut left) = (0, 1_usize);
    while left > 0 {
        let line = bytes.get(at..)?;
        let end = line.windows(2).position(|two| two == b"\r\n")?;
        let (kind, text) = line[..end].split_first()?;
        let number = || std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
        at += end + 2;
        left -= 1;
        match kind {
            // A length that is no number is that of nothing.
            b'$' | b'=' | b'!' => at += number().map_or(0, |length| length + 2),
            b'*' | b'~' | b'>' => left += number().unwrap_or(0),
            b'%' => left += number().unwrap_or(0) * 2,
            // Attributes come before what they belong to.
            b'|' => left += number().unwrap_or(0) * 2 + 1,
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// Whether a server sends it unasked.
pub(super) fn is_push(message: &[u8]) -> bool {
    message.first() == Some(&b'>')
}

/// Whether a request calls a script.
fn calls_script(request: &[u8]) -> bool {
    matches!(&*command(request), b"EVAL" | b"EVALSHA" | b"FCALL")
}

/// Whether a request makes of its connection one on which the server speaks when it wants.
pub(super) fn subscribes(request: &[u8]) -> bool {
    command(request).ends_with(b"SUBSCRIBE")
}

/// The first word, in capitals.
fn command(request: &[u8]) -> Vec<u8> {
    let mut lines = request.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let word = if first.starts_with(b"*") { lines.nth(1).unwrap_or_default() } else { first };
    let end = word.iter().position(|byte| byte.is_ascii_whitespace()).unwrap_or(word.len());
    word[..end].to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_last_part_does() {
        for message in [
            &b"+OK\r\n"[..],
            b":1\r\n",
            b"_\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
            b"%1\r\n+a\r\n*2\r\n:1\r\n:2\r\n",
            b"|1\r\n+a\r\n:1\r\n:2\r\n",
            b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
            b"PING\r\n",
        ] {
            let more = [message, b"+more\r\n"].concat();
            assert_eq!(length(&more), Some(message.len()), "{}", message.escape_ascii());
            for part in 0..message.len() {
                assert_eq!(length(&message[..part]), None, "{}", message[..part].escape_ascii());
            }
        }
    }

    #[test]
    fn requests_are_known_by_their_first_word() {
        assert!(calls_script(b"*3\r\n$7\r\nevalsha\r\n$1\r\nx\r\n$1\r\n0\r\n"));
        assert!(calls_script(b"EVAL x 0\r\n") && !calls_script(b"*1\r\n$4\r\nPING\r\n"));
        assert!(subscribes(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n") && !subscribes(b"PING\r\n"));
        assert!(is_push(b">1\r\n+x\r\n") && !is_push(b"+x\r\n"));
    }
}
