//! Where requests and answers end in memcached's text protocol.

/// The length of all whole commands: what a lock sends in one go is one request.
pub(super) fn request(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(length) = command(&bytes[at..]) {
        at += length;
    }
    (at > 0).then_some(at)
}

/// How many answers come to a request.
pub(super) fn answers(request: &[u8]) -> usize {
    let (mut at, mut answers) = (0, 0);
    while let Some(length) = command(&request[at..]) {
        answers += usize::from(!is_silent(&request[at..]));
        at += length;
    }
    answers
}

/// Whether a request is one of a lock, and not a question to the server about itself.
pub(super) fn is_of_a_lock(request: &[u8]) -> bool {
    matches!(words(request).next(), Some(b"add" | b"cas" | b"set" | b"mg" | b"md"))
}

/// The length of the first whole answer, if there is one.
pub(super) fn answer(bytes: &[u8]) -> Option<usize> {
    let line = line(bytes)?;
    let mut words = words(bytes);
    let length = match words.next() {
        Some(b"VA") => line + number(words.next()) + 2,
        // A list of figures ends with a word.
        Some(b"STAT") => bytes.windows(5).position(|five| five == b"END\r\n")? + 5,
        _ => line,
    };
    (length <= bytes.len()).then_some(length)
}

/// The length of the first whole command, if there is one.
fn command(bytes: &[u8]) -> Option<usize> {
    let line = line(bytes)?;
    let mut words = words(bytes);
    let data = match words.next() {
        Some(b"add" | b"cas" | b"set") => words.nth(3),
        Some(b"ms") => words.nth(1),
        _ => None,
    };
    let length = line + data.map_or(0, |length| number(Some(length)) + 2);
    (length <= bytes.len()).then_some(length)
}

fn is_silent(command: &[u8]) -> bool {
    words(command).last() == Some(b"noreply")
}

/// The length of the first line with its end.
fn line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n").map(|end| end + 2)
}

/// The words of the first line.
fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = line(bytes).map_or(bytes.len(), |end| end - 2);
    bytes[..end].split(|byte| *byte == b' ')
}

/// A length that is no number is that of nothing.
fn number(word: Option<&[u8]>) -> usize {
    word.and_then(|word| std::str::from_utf8(word).ok()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &[u8] = b"add k 0 7 7 noreply\r\nab\r\n cd\r\nmg ~g v\r\nmg k v\r\n";

    #[test]
    fn what_was_sent_in_one_go_is_one_request() {
        for request in
            [ASKED, b"md k C5\r\n", b"cas k 0 7 1 5 noreply\r\nx\r\nmg k\r\n", b"ms k 2 T0\r\nab\r\n"]
        {
            assert_eq!(super::request(request), Some(request.len()), "{}", request.escape_ascii());
        }
        assert_eq!(request(b"mg k\r\nadd k 0 7 2 noreply\r\nx"), Some(6));
        assert_eq!(request(b"add k 0 7 2 noreply\r\nx"), None);
        assert_eq!((answers(ASKED), answers(b"md k C5\r\n")), (2, 1));
        assert!(is_of_a_lock(ASKED) && !is_of_a_lock(b"stats\r\n") && !is_of_a_lock(b"mn\r\n"));
    }

    #[test]
    fn an_answer_ends_where_its_value_does() {
        for answer in [
            &b"HD\r\n"[..],
            b"EN\r\n",
            b"VA 4 c5 t7\r\na\r\nb\r\n",
            b"VA 0 c5\r\n\r\n",
            b"STAT a 1\r\nSTAT b 2\r\nEND\r\n",
            b"SERVER_ERROR out of memory\r\n",
        ] {
            let more = [answer, b"HD\r\n"].concat();
            assert_eq!(super::answer(&more), Some(answer.len()), "{}", answer.escape_ascii());
            for part in 0..answer.len() {
                assert_eq!(super::answer(&answer[..part]), None, "{}", answer[..part].escape_ascii());
            }
        }
    }
}
