//! PostgreSQL: one connection of this process that listens for all of its waiters, on a channel which
//! whoever releases a lock notifies if somebody is known to wait.
//!
//! diesel's connections cannot block until there is news, so this one is of another crate. Behind a pooler
//! nobody can listen; then waiters ask now and then.

use std::any::Any;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Config, NoTls};
use tenure_core::{Error, Moment, Result, Site};

use super::waited::Waited;
use super::{Slot, Wake, here};
use crate::key::Key;

/// Listening on a channel of a server.
pub(crate) struct Listen {
    server: Server,
    waited: Arc<Waited>,
    listener: Slot<Listener>,
}

#[derive(Clone)]
struct Server {
    url: String,
    channel: String,
    limit: Duration,
}

impl Listen {
    pub(crate) fn new(url: &str, channel: &str, limit: Duration, site: Site) -> Self {
        let server = Server { url: url.into(), channel: channel.into(), limit };
        Self { server, waited: Waited::new(site), listener: Slot::default() }
    }
}

impl Wake for Listen {
    fn needs_marks(&self) -> bool {
        true
    }

    fn watch(
        &self,
        key: &Key,
        whole: &str,
        patience: Duration,
    ) -> Result<Option<Box<dyn Any + Send + Sync>>> {
        let listener = here(&self.listener, || Listener::start(&self.server, &self.waited))?;
        Ok(match listener.listens(patience)? {
            true => Some(Box::new(self.waited.register(key, whole))),
            false => None,
        })
    }

    /// Who releases notifies in the same statement.
    fn released(&self, _: &Key, _: bool) {}
}

/// The listener of a process; its thread ends after it.
struct Listener(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Connecting,
    Listening,
    /// It could not connect, and will try again.
    Failed,
    /// Nobody can listen here.
    Deaf,
}

/// How long the thread listens before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// After so much silence it asks the server whether it is there.
const SILENCE: Duration = Duration::from_secs(30);

impl Listener {
    fn start(server: &Server, waited: &Arc<Waited>) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread =
            Thread { server: server.clone(), waited: waited.clone(), shared: Arc::downgrade(&shared) };
        thread::Builder::new()
            .name("tenure-db-watch".into())
            .spawn(move || thread.run())
            .map_err(|source| Error::unavailable("no thread to listen with").with_source(source).settled())?;
        Ok(Self(shared))
    }

    /// Whether it listens, once that is known.
    fn listens(&self, patience: Duration) -> Result<bool> {
        let until = Moment::now() + patience;
        let mut state = self.0.state();
        loop {
            let left = until.since(Moment::now());
            match *state {
                State::Listening => return Ok(true),
                State::Deaf => return Ok(false),
                State::Connecting if !left.is_zero() => {}
                _ => return Err(Error::unavailable("no connection to listen on").settled()),
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }
}

/// The thread.
struct Thread {
    server: Server,
    waited: Arc<Waited>,
    shared: Weak<Shared>,
}

impl Thread {
    fn run(self) {
        let mut pause = Duration::from_millis(50);
        while self.shared.strong_count() > 0 {
            let began = Moment::now();
            let ended = self.server.connect().map(|client| client.map(|client| self.listen(client)));
            match ended {
                Ok(Some(())) => self.says(State::Connecting),
                Ok(None) => return self.says(State::Deaf),
                Err(_) => self.says(State::Failed),
            }
            // Whoever waits asks again now, and then at its own pace.
            self.waited.all_changed();
            pause = if Moment::now().since(began) > SILENCE { Duration::from_millis(50) } else { pause * 2 };
            pause = pause.min(Duration::from_secs(2));
            self.sleep(pause);
        }
    }

    fn says(&self, state: State) {
        if let Some(shared) = self.shared.upgrade() {
            shared.is(state);
        }
    }

    fn sleep(&self, time: Duration) {
        let until = Moment::now() + time;
        while self.shared.strong_count() > 0 {
            let left = until.since(Moment::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Listens until the connection fails or nobody is left to listen for.
    fn listen(&self, mut client: Client) {
        self.says(State::Listening);
        // What happened before the connection was there was heard by nobody.
        self.waited.all_changed();
        let mut last = Moment::now();
        while self.shared.strong_count() > 0 {
            let heard = client.notifications().timeout_iter(LOOK).next();
            match heard {
                Ok(Some(heard)) => {
                    last = Moment::now();
                    if let Ok(number) = u64::from_str_radix(heard.payload(), 16) {
                        self.waited.changed(|lock| lock == number);
                    }
                }
                Ok(None) if Moment::now().since(last) > SILENCE => {
                    last = Moment::now();
                    if client.is_valid(self.server.limit).is_err() {
                        return;
                    }
                }
                Ok(None) if client.is_closed() => return,
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }
}

impl Server {
    /// A connection that listens; none if nobody can listen there.
    fn connect(&self) -> std::result::Result<Option<Client>, postgres::Error> {
        let session = format!("{:032x}", rand::random::<u128>());
        // Options of libpq that the crate does not know; it has no TLS either.
        let Ok(mut config) = self.url.parse::<Config>() else { return Ok(None) };
        let given = config.get_options().unwrap_or_default().to_owned();
        config.options(format!("{given} -c tenure.session={session}").trim());
        config.connect_timeout(self.limit).application_name("tenure");
        let mut client = match config.connect(NoTls) {
            Ok(client) => client,
            Err(error) if is_of_a_pooler(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let row = client.query_one("SELECT current_setting('tenure.session', true)", &[])?;
        if row.get::<_, Option<String>>(0).as_deref() != Some(session.as_str()) {
            return Ok(None);
        }
        client.batch_execute(&format!("LISTEN \"{}\"", self.channel))?;
        Ok(Some(client))
    }
}

fn is_of_a_pooler(error: &postgres::Error) -> bool {
    let said = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
    said.contains("unsupported startup parameter")
}
