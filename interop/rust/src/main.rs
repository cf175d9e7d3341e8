//! Locks of other crates: `tenure-interop-rust CLIENT URL`, then a verb and the name of a lock in each line.
//!
//! Answers yes or no, done where the crate does not say, none where it cannot, or an error.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

const LIFE: Duration = Duration::from_secs(60);

type Answer = Result<&'static str, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, client, url] = &arguments[..] else { return Err("the arguments are CLIENT and URL".into()) };
    let mut client: Box<dyn Client> = match client.as_str() {
        "rslock" => Box::new(RsLock::new(url)?),
        "redlock" => Box::new(RedLock::new(url)),
        other => return Err(format!("there is no client {other}").into()),
    };
    for line in stdin().lock().lines() {
        let line = line?;
        let (verb, name) = line.split_once(' ').ok_or("a line is a verb and a name")?;
        let answer = match verb {
            "acquire" => client.acquire(name),
            "wait" => wait(&mut *client, name),
            "release" => client.release(name),
            "extend" => client.extend(name),
            _ => Ok("none"),
        };
        match answer {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error {error}"),
        }
    }
    Ok(())
}

/// A crate.
trait Client {
    fn acquire(&mut self, name: &str) -> Answer;
    fn release(&mut self, name: &str) -> Answer;
    fn extend(&mut self, name: &str) -> Answer;
}

/// As those do that ask again and again; none of them is told when a lock becomes free.
fn wait(client: &mut dyn Client, name: &str) -> Answer {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if client.acquire(name)? == "yes" {
            return Ok("yes");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok("no")
}

struct RsLock {
    runtime: Runtime,
    manager: rslock::LockManager,
    locks: HashMap<String, rslock::Lock>,
}

impl RsLock {
    fn new(url: &str) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut manager = rslock::LockManager::new(vec![url]);
        manager.set_retry(1, Duration::from_millis(1));
        Ok(Self { runtime, manager, locks: HashMap::new() })
    }
}

impl Client for RsLock {
    fn acquire(&mut self, name: &str) -> Answer {
        match self.runtime.block_on(self.manager.lock(name, LIFE)) {
            Ok(lock) => {
                self.locks.insert(name.into(), lock);
                Ok("yes")
            }
            Err(rslock::LockError::Unavailable) => Ok("no"),
            Err(error) => Err(error.into()),
        }
    }

    fn release(&mut self, name: &str) -> Answer {
        let lock = self.locks.remove(name).ok_or("it never held it")?;
        self.runtime.block_on(lock.release());
        Ok("done")
    }

    fn extend(&mut self, name: &str) -> Answer {
        let lock = self.locks.get(name).ok_or("it never held it")?;
        Ok(if self.runtime.block_on(self.manager.extend(lock, LIFE)).is_ok() { "yes" } else { "no" })
    }
}

struct RedLock {
    manager: redlock::RedLock,
    locks: HashMap<String, Vec<u8>>,
}

impl RedLock {
    fn new(url: &str) -> Self {
        let mut manager = redlock::RedLock::new(vec![url]);
        manager.set_retry(1, 1);
        Self { manager, locks: HashMap::new() }
    }
}

impl Client for RedLock {
    fn acquire(&mut self, name: &str) -> Answer {
        let Some(lock) = self.manager.lock(name.as_bytes(), LIFE.as_millis() as usize)? else {
            return Ok("no");
        };
        self.locks.insert(name.into(), lock.val);
        Ok("yes")
    }

    fn release(&mut self, name: &str) -> Answer {
        let val = self.locks.remove(name).ok_or("it never held it")?;
        let lock =
            redlock::Lock { resource: name.into(), val, validity_time: 0, lock_manager: &self.manager };
        self.manager.unlock(&lock);
        Ok("done")
    }

    fn extend(&mut self, _: &str) -> Answer {
        Ok("none")
    }
}
