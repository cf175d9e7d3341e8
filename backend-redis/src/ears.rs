//! What a server tells tasks unasked, on the connection that they share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind};

use crate::listener;
use crate::net::{Manner, Net};
use crate::places::Places;
use crate::resp::Reply;
use crate::script::{By, Call};
use crate::waited::Waited;
use crate::wire::reply;

/// Hears it, and tells waiters.
pub(crate) struct Ears {
    pub(crate) waited: Arc<Waited>,
    to: OnceLock<To>,
    wanted: AtomicBool,
}

/// What is listened to besides changes of keys.
struct To {
    /// Where releases are told, or what is handed to this process; nothing if the server tracks keys.
    channel: Vec<u8>,
    places: Option<Arc<Places>>,
    net: Weak<Net>,
}

impl Ears {
    pub(crate) fn new(waited: Arc<Waited>) -> Self {
        Self { waited, to: OnceLock::new(), wanted: AtomicBool::new(false) }
    }

    /// Says, once it is known, what is to be listened to as soon as somebody waits.
    pub(crate) fn set(&self, channel: &[u8], places: Option<Arc<Places>>, net: &Arc<Net>) {
        let channel = places.as_ref().map_or_else(|| channel.into(), |places| places.channel().into_bytes());
        let _ = self.to.set(To { channel, places, net: Arc::downgrade(net) });
    }

    /// The channel to listen to, if there is one.
    pub(crate) fn channel(&self) -> Option<&[u8]> {
        self.to.get().map(|to| &*to.channel).filter(|channel| !channel.is_empty())
    }

    /// Somebody waits: every connection listens from now on.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// The channel, if somebody waited already.
    pub(crate) fn wanted(&self) -> Option<&[u8]> {
        self.channel().filter(|_| self.wanted.load(Ordering::SeqCst))
    }

    /// What a connection gives to hear by.
    pub(crate) fn pushes(self: Arc<Self>) -> impl AsyncPushSender {
        Pushes(self)
    }

    /// What a thread with a connection of its own is to listen to.
    pub(crate) fn apart(&self) -> listener::Ears {
        let places = self.to.get().and_then(|to| to.places.clone());
        let channel = if places.is_none() { self.channel().unwrap_or_default().to_vec() } else { Vec::new() };
        listener::Ears { waited: self.waited.clone(), channel, places }
    }

    fn message(&self, payload: &[u8]) {
        match self.to.get().and_then(|to| to.places.as_ref()) {
            None => self.waited.changed(payload),
            Some(places) => {
                if let Some(release) = places.hear(payload) {
                    self.say(release);
                }
            }
        }
    }

    /// Sends a call besides; whether it is answered matters to nobody.
    fn say(&self, call: Arc<Call>) {
        let Some(net) = self.to.get().and_then(|to| to.net.upgrade()) else { return };
        let runtime = net.runtime.clone();
        drop(runtime.spawn(async move {
            let _ = net.exchange(&call, Manner { by: By::Text, ..Manner::plain() }).await;
        }));
    }
}

struct Pushes(Arc<Ears>);

impl AsyncPushSender for Pushes {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        let mut data = info.data.into_iter().map(reply);
        match (info.kind, data.next(), data.next()) {
            (PushKind::Invalidate, Some(Reply::List(keys)), _) => {
                keys.iter().filter_map(Reply::text).for_each(|key| self.0.waited.changed(key));
            }
            (PushKind::Message, _, Some(Reply::Text(payload))) => self.0.message(&payload),
            // All keys are gone, or the connection is.
            (PushKind::Invalidate | PushKind::Disconnection, ..) => self.0.waited.all_changed(),
            _ => {}
        }
        Ok(())
    }
}
