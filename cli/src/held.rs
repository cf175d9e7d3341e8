//! A held lock of any store, as a running command needs it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use tenure::{Cause, Fence, Files, Handle, Held, Lock, Moment, Result, Status};

use crate::args;
use crate::store::Store;

/// A lock that a command runs under.
pub(crate) trait Holding: Send {
    fn fence(&self) -> Fence;
    fn deadline(&self) -> Option<Moment>;
    fn status(&self) -> Status;
    fn on_lost(&self, tell: Box<dyn FnOnce(Cause) + Send>);
    /// What keeps the lock taken while a process has it open.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
    /// Releases it, and tells whether it was held to the end.
    fn release(self: Box<Self>) -> Result<()>;
    /// Leaves it to the processes that inherited the descriptor.
    fn leave(self: Box<Self>);
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    None,
    For(Duration),
    Endless,
}

impl Patience {
    pub(crate) fn new(args: &args::Exec) -> Self {
        match (args.no_wait, args.wait) {
            (true, _) => Self::None,
            (false, Some(limit)) => Self::For(limit),
            (false, None) => Self::Endless,
        }
    }
}

/// Gets the lock that the arguments ask for.
pub(crate) fn acquire(store: Store, args: &args::Exec) -> Result<Box<dyn Holding>> {
    let patience = Patience::new(args);
    match store {
        Store::Files(files) => {
            let lock = with_options(Lock::new(files, args.name.as_str()), args);
            let lock = if args.ttl.is_none() { lock.session() } else { lock };
            Ok(Box::new(InFiles(wait(&lock, patience)?)))
        }
        Store::Any(any) => match any.sessions().filter(|_| args.ttl.is_none()) {
            Some(sessions) => {
                let lock = with_options(Lock::new(sessions, args.name.as_str()), args).session();
                Ok(Box::new(Elsewhere(wait(&lock, patience)?)))
            }
            None => {
                let lock = with_options(Lock::new(any, args.name.as_str()), args);
                Ok(Box::new(Elsewhere(wait(&lock, patience)?)))
            }
        },
    }
}

fn with_options<B: Handle>(lock: Lock<B>, args: &args::Exec) -> Lock<B> {
    let lock = match args.ttl {
        Some(ttl) => lock.ttl(ttl).keep_alive(),
        None => lock,
    };
    match args.at_least {
        Some(least) => lock.hold_at_least(least),
        None => lock,
    }
}

fn wait<B: Handle>(lock: &Lock<B>, patience: Patience) -> Result<Lock<B, Held>> {
    match patience {
        Patience::None => lock.try_acquire(),
        Patience::For(limit) => lock.acquire_for(limit),
        Patience::Endless => lock.acquire(),
    }
}

struct InFiles(Lock<Files, Held>);

struct Elsewhere<B: Handle>(Lock<B, Held>);

macro_rules! holding {
    ($($header:tt)*) => {
        $($header)* {
            fn fence(&self) -> Fence {
                self.0.fence()
            }

            fn deadline(&self) -> Option<Moment> {
                self.0.deadline()
            }

            fn status(&self) -> Status {
                self.0.status()
            }

            fn on_lost(&self, tell: Box<dyn FnOnce(Cause) + Send>) {
                self.0.on_lost(tell);
            }

            fn descriptor(&self) -> Option<BorrowedFd<'_>> {
                self.inherited()
            }

            fn release(self: Box<Self>) -> Result<()> {
                self.0.release()
            }

            fn leave(self: Box<Self>) {
                // The kernel closes the descriptor when this process ends, which it does now.
                std::mem::forget(self.0);
            }
        }
    };
}

holding!(impl Holding for InFiles);
holding!(impl<B: Handle> Holding for Elsewhere<B>);

impl InFiles {
    fn inherited(&self) -> Option<BorrowedFd<'_>> {
        self.0.grant().descriptor()
    }
}

impl<B: Handle> Elsewhere<B> {
    #[expect(clippy::unused_self, reason = "the same words for all stores")]
    fn inherited(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
