//! MariaDB and MySQL: waiting rooms.
//!
//! These servers tell nobody that a row has changed, but a session can wait for a named lock of another one
//! (`GET_LOCK`), which ends with it. Each lock has two: a *seat*, which its holder has while others are known
//! to wait, and a *door*, which the first of those who wait has. That one waits for the seat; when it gets
//! it, the lock is free, or its holder has not sat down. So one process asks at a time, and the others come in
//! the order in which they came.
//!
//! The rows stay the truth: who comes in asks for the lock like anybody else.

use std::any::Any;
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use diesel::result::QueryResult;
use tenure_core::{Error, Moment, Result, Site};

use super::{Slot, Wake, here};
use crate::key::Key;
use crate::link::Link;
use crate::link::mysql::MySql;
use crate::pool::Open;
use crate::statement::{Statement, Text, Values};

/// The waiting rooms of a server.
pub(crate) struct Rooms {
    server: MySql,
    table: String,
    site: Site,
    here: Slot<Arc<House>>,
}

/// What one process has of them.
struct House {
    server: MySql,
    site: Site,
    waits: Mutex<HashMap<Box<str>, Arc<Waiting>>>,
    /// In whose rooms this process has sat down, and what seats it there.
    seats: Mutex<Option<Sender<Order>>>,
}

/// What is asked of the thread that sits down for those who got their lock without waiting.
enum Order {
    Sit(Box<str>),
    GetUp(Box<str>),
}

/// The locks that this process waits for at most, each with a connection and a thread; beyond that waiters
/// ask now and then.
const MOST: usize = 64;

/// How long a session waits before it is looked whether it is still wanted.
const TURN: i64 = 4;

/// How long whoever has the seat waits for its process to get the lock.
const OFFER: Duration = Duration::from_millis(20);

/// For how long the first of those who wait asks often, if nobody has sat down: a process that takes a lock
/// again and again steps back for [`STEP_BACK`] now and then, and is to be met there.
const KEEN: Duration = Duration::from_secs(2);

/// For how long core lets other processes go first.
const STEP_BACK: Duration = Duration::from_millis(2);

impl Rooms {
    pub(crate) fn new(server: &MySql, table: String, site: Site) -> Self {
        Self { server: server.patient(), table, site, here: Slot::default() }
    }

    fn house(&self) -> Result<Arc<super::Here<Arc<House>>>> {
        here(&self.here, || {
            Ok(Arc::new(House {
                server: self.server.clone(),
                site: self.site.clone(),
                waits: Mutex::default(),
                seats: Mutex::default(),
            }))
        })
    }

    /// What the named locks of a lock are called; all of a server share one space of names.
    fn room(&self, key: &Key) -> Box<str> {
        Key::new(&format!("{}/{}", self.table, key.payload())).payload().into()
    }
}

impl Wake for Rooms {
    fn needs_marks(&self) -> bool {
        true
    }

    fn watch(&self, key: &Key, whole: &str, _: Duration) -> Result<Option<Box<dyn Any + Send + Sync>>> {
        let house = self.house()?;
        Ok(House::wait(&house, self.room(key), whole)?.map(|ticket| Box::new(ticket) as _))
    }

    fn granted(&self, key: &Key, is_awaited: bool) {
        if let Ok(house) = self.house() {
            house.granted(self.room(key), is_awaited);
        }
    }

    fn denied(&self, key: &Key) {
        if let Ok(house) = self.house()
            && let Some(waiting) = lock(&house.waits).get(&self.room(key))
        {
            waiting.refuses_the_seat();
        }
    }

    fn released(&self, key: &Key, _: bool) {
        if let Ok(house) = self.house() {
            house.released(self.room(key));
        }
    }
}

/// A promise to tell of a lock.
struct Ticket(Arc<Waiting>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.state().tickets -= 1;
        self.0.changed.notify_all();
    }
}

/// One lock that this process waits for.
struct Waiting {
    room: Box<str>,
    key: Box<str>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tickets: u32,
    seat: Seat,
    /// Whether the lock came with the seat that was offered last, even if it is gone again.
    served: bool,
    /// Its thread ends, and serves no more tickets.
    ended: bool,
}

/// Whose the seat is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Seat {
    #[default]
    Others,
    /// This process has it, and may get the lock.
    Offered,
    /// This process has it because it has the lock.
    Taken,
}

impl House {
    fn wait(house: &Arc<Self>, room: Box<str>, key: &str) -> Result<Option<Ticket>> {
        let mut waits = lock(&house.waits);
        if let Some(waiting) = waits.get(&room) {
            let mut state = waiting.state();
            if !state.ended && *waiting.key == *key {
                state.tickets += 1;
                return Ok(Some(Ticket(waiting.clone())));
            }
        }
        if waits.len() >= MOST {
            return Ok(None);
        }
        let state = State { tickets: 1, ..State::default() };
        let waiting = Arc::new(Waiting {
            room: room.clone(),
            key: key.into(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let (own, served) = (house.clone(), waiting.clone());
        thread::Builder::new()
            .name("tenure-db-watch".into())
            .spawn(move || served.run(&own))
            .map_err(|source| Error::unavailable("no thread to wait with").with_source(source).settled())?;
        waits.insert(room, waiting.clone());
        Ok(Some(Ticket(waiting)))
    }

    fn granted(&self, room: Box<str>, is_awaited: bool) {
        let waiting = lock(&self.waits).get(&room).cloned();
        if let Some(waiting) = waiting
            && waiting.takes_the_seat()
        {
            return;
        }
        if is_awaited {
            self.order(Order::Sit(room));
        }
    }

    fn released(&self, room: Box<str>) {
        if let Some(waiting) = lock(&self.waits).get(&room) {
            let mut state = waiting.state();
            if state.seat == Seat::Taken {
                state.seat = Seat::Others;
                waiting.changed.notify_all();
                return;
            }
        }
        if let Some(orders) = &*lock(&self.seats) {
            let _ = orders.send(Order::GetUp(room));
        }
    }

    fn order(&self, order: Order) {
        let mut seats = lock(&self.seats);
        if let Some(orders) = &*seats {
            let _ = orders.send(order);
            return;
        }
        let (orders, ordered) = mpsc::channel();
        let server = self.server.clone();
        let thread = thread::Builder::new().name("tenure-db-seats".into());
        // Without it, who waits asks now and then.
        if thread.spawn(move || sit(&server, &ordered)).is_ok() {
            let _ = orders.send(order);
            *seats = Some(orders);
        }
    }
}

/// Sits down and gets up as it is told, until nobody is left who tells.
fn sit(server: &MySql, ordered: &Receiver<Order>) {
    let (mut session, mut seats) = (None, HashMap::new());
    while let Ok(order) = ordered.recv() {
        match order {
            Order::Sit(room) if !seats.contains_key(&room) => {
                if session.is_none() {
                    session = Session::open(server).ok();
                }
                let Some(open) = &mut session else { continue };
                match open.take(&seat(&room), 0) {
                    Ok(true) => drop(seats.insert(room, ())),
                    Ok(false) => {}
                    // All seats end with the session.
                    Err(_) => (session, seats) = (None, HashMap::new()),
                }
            }
            Order::GetUp(room) if seats.remove(&room).is_some() => {
                if let Some(open) = &mut session
                    && open.leave(&seat(&room)).is_err()
                {
                    (session, seats) = (None, HashMap::new());
                }
            }
            Order::Sit(_) | Order::GetUp(_) => {}
        }
    }
}

fn seat(room: &str) -> String {
    format!("tenure.seat.{room}")
}

fn door(room: &str) -> String {
    format!("tenure.door.{room}")
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Says that this process has the lock, if it was offered the seat.
    fn takes_the_seat(&self) -> bool {
        let mut state = self.state();
        if state.seat != Seat::Offered {
            return false;
        }
        (state.seat, state.served) = (Seat::Taken, true);
        self.changed.notify_all();
        true
    }

    /// Says that somebody else has the lock, if this process was offered the seat.
    fn refuses_the_seat(&self) {
        let mut state = self.state();
        if state.seat == Seat::Offered {
            state.seat = Seat::Others;
            self.changed.notify_all();
        }
    }

    /// Serves those who wait, until there have been none for a turn.
    fn run(&self, house: &House) {
        let mut pause = Duration::from_millis(1);
        while self.is_wanted(house) {
            let served = Session::open(&house.server).map(|session| self.serve(house, session));
            self.state().seat = Seat::Others;
            // Without a session the waiters ask now and then.
            house.site.notify(&self.key);
            pause = if served.is_ok() { Duration::from_millis(1) } else { pause * 2 };
            pause = pause.min(house.site.settings().sleep());
            thread::sleep(pause);
        }
    }

    fn is_wanted(&self, house: &House) -> bool {
        if self.state().tickets > 0 {
            return true;
        }
        let mut waits = lock(&house.waits);
        let mut state = self.state();
        state.ended = state.tickets == 0;
        if state.ended && waits.get(&self.room).is_some_and(|waiting| std::ptr::eq(&**waiting, self)) {
            waits.remove(&self.room);
        }
        !state.ended
    }

    /// Waits in the room until the session fails or nobody wants it.
    fn serve(&self, house: &House, mut session: Session) -> QueryResult<()> {
        let (mut pause, mut entered) = (Duration::from_millis(1), Moment::now());
        while self.state().tickets > 0 {
            if !session.has_door && !session.enter(&self.room)? {
                continue;
            }
            let began = Moment::now();
            if !session.take(&seat(&self.room), TURN)? {
                continue;
            }
            let waited = Moment::now().since(began);
            if self.offer(house) {
                // The next of those who wait may wait for the seat.
                session.let_in(&self.room)?;
                self.stay();
                session.leave(&seat(&self.room))?;
                (pause, entered) = (Duration::from_millis(1), Moment::now());
                continue;
            }
            session.leave(&seat(&self.room))?;
            // Somebody had sat there. Else the holder has not sat down; it does when it has asked next.
            if waited > pause {
                pause = Duration::from_millis(1);
            }
            thread::sleep(pause);
            let most = house.site.settings().sleep();
            pause =
                (pause * 2).min(if Moment::now().since(entered) < KEEN { most.min(STEP_BACK) } else { most });
        }
        Ok(())
    }

    /// Lets this process ask for the lock; whether it got it.
    fn offer(&self, house: &House) -> bool {
        {
            let mut state = self.state();
            (state.seat, state.served) = (Seat::Offered, false);
        }
        house.site.notify(&self.key);
        let until = Moment::now() + OFFER;
        let mut state = self.state();
        while state.seat == Seat::Offered {
            let left = until.since(Moment::now());
            if left.is_zero() {
                state.seat = Seat::Others;
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.served
    }

    /// Waits until this process lets go of the lock.
    fn stay(&self) {
        let mut state = self.state();
        while state.seat == Seat::Taken {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A session that has named locks.
struct Session {
    link: Box<dyn Link + Send>,
    take: Text,
    leave: Text,
    has_door: bool,
}

impl Session {
    fn open(server: &MySql) -> Result<Self> {
        let answer = "AS code, 0 AS fence, 0 AS remaining, 0 AS awaited";
        let text = |what: &str| Text::new(&format!("SELECT CAST(COALESCE({what}, 0) AS SIGNED) {answer}"));
        Ok(Self {
            link: server.open()?,
            take: text("GET_LOCK(:payload, :limit)"),
            leave: text("RELEASE_LOCK(:payload)"),
            has_door: false,
        })
    }

    /// Waits for a named lock, for so many seconds.
    fn take(&mut self, name: &str, limit: i64) -> QueryResult<bool> {
        let values = Values { payload: name.into(), limit, ..Values::default() };
        let answers = self.link.ask(Statement::new(&self.take, &values))?;
        Ok(answers.first().is_some_and(|answer| answer.code == 1))
    }

    fn leave(&mut self, name: &str) -> QueryResult<()> {
        let values = Values { payload: name.into(), ..Values::default() };
        self.link.ask(Statement::new(&self.leave, &values)).map(drop)
    }

    /// Waits to be the first of those who wait.
    fn enter(&mut self, room: &str) -> QueryResult<bool> {
        self.has_door = self.take(&door(room), TURN)?;
        Ok(self.has_door)
    }

    /// Lets the next one be the first.
    fn let_in(&mut self, room: &str) -> QueryResult<()> {
        self.has_door = false;
        self.leave(&door(room))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
