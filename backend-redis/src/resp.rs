//! Commands as bytes, and answers as values: the protocol that all connections speak. See the
//! Redis serialization protocol specification.

use std::fmt;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Int(i64),
    Text(Vec<u8>),
    List(Vec<Reply>),
    Error(Box<str>),
}

impl Reply {
    /// An error as the server wrote it, of which the crates make two parts.
    pub(crate) fn refusal(code: &str, detail: Option<&str>) -> Self {
        let detail = detail.unwrap_or_default();
        Self::Error(format!("{code} {detail}").trim_end().into())
    }

    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether the server does not know a script by its digest.
    pub(crate) fn is_no_script(&self) -> bool {
        matches!(self, Self::Error(message) if message.starts_with("NOSCRIPT"))
    }
}

/// What commands are written to.
pub(crate) trait Commands {
    fn push(&mut self, arguments: &[&[u8]]);
}

/// A command, or several to be answered one by one, as bytes.
#[derive(Clone, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    commands: usize,
    key: Option<Box<[u8]>>,
}

impl Packed {
    /// One command.
    pub(crate) fn command(arguments: &[&[u8]]) -> Self {
        Self::default().and(arguments)
    }

    /// With one more command behind it.
    pub(crate) fn and(mut self, arguments: &[&[u8]]) -> Self {
        self.push(arguments);
        self
    }

    pub(crate) fn followed_by(mut self, other: &Self) -> Self {
        self.bytes.extend_from_slice(&other.bytes);
        self.commands += other.commands;
        self.key = self.key.or_else(|| other.key.clone());
        self
    }

    /// For the server that holds this key.
    pub(crate) fn about(self, key: &[u8]) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    fn header(&mut self, mark: u8, number: usize) {
        self.bytes.push(mark);
        self.bytes.extend_from_slice(number.to_string().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key whose server it is for, if it is not for any.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// How many answers there will be.
    pub(crate) fn commands(&self) -> usize {
        self.commands
    }
}

impl Commands for Packed {
    fn push(&mut self, arguments: &[&[u8]]) {
        self.commands += 1;
        self.header(b'*', arguments.len());
        for argument in arguments {
            self.header(b'$', argument.len());
            self.bytes.extend_from_slice(argument);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes hold owner tokens.
        f.debug_struct("Packed").field("commands", &self.commands).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_length_prefixed_so_that_no_argument_can_be_another_command() {
        let packed = Packed::command(&[b"GET", b"a\r\nDEL b"]).and(&[b"PING"]);
        assert_eq!(packed.bytes(), b"*2\r\n$3\r\nGET\r\n$8\r\na\r\nDEL b\r\n*1\r\n$4\r\nPING\r\n");
        assert_eq!(packed.commands(), 2);
    }
}
