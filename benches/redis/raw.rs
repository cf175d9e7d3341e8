//! The raw client, which sends what the store sends.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use redis::{Client, Cmd, Connection, Value};
use tenure_servers::Redis;

/// A plain connection.
pub(crate) fn connection(server: &Redis) -> Connection {
    Client::open(server.url()).unwrap().get_connection().unwrap()
}

/// Sends a command and waits for its answer.
pub(crate) fn send(connection: &mut Connection, command: &[Vec<u8>]) -> Value {
    self::command(command).query(connection).unwrap()
}

pub(crate) fn command(words: &[Vec<u8>]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(&word[..]);
    }
    command
}

/// The scripts that `act` makes a store call, word for word, in order.
pub(crate) fn scripts_of(server: &Redis, act: impl FnOnce()) -> Vec<Vec<Vec<u8>>> {
    let mut monitor = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    monitor.write_all(b"MONITOR\r\n").unwrap();
    monitor.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    thread::sleep(Duration::from_millis(50));
    act();
    let lines = BufReader::new(monitor).split(b'\n').map_while(Result::ok);
    let scripts =
        lines.map(|line| words(&line)).filter(|words| words.first().is_some_and(|word| word == b"EVALSHA"));
    scripts.collect()
}

/// The words of a line of `MONITOR`, each within quotes, with escapes.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    // What a script does itself is marked in the brackets, and is no command of the store.
    if line.windows(4).any(|part| part == b" lua") && !line.contains(&b'.') {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut bytes = line.iter().copied().skip_while(|byte| *byte != b'"');
    while let Some(byte) = bytes.next() {
        if byte != b'"' {
            continue;
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => break,
                b'\\' => word.push(match bytes.next().unwrap() {
                    b'x' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    plain => plain,
                }),
                plain => word.push(plain),
            }
        }
        words.push(word);
    }
    words
}
