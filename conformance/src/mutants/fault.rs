//! The list of faults.

use std::fmt;

/// The list as an enum. What documents a fault is also its sentence in the tables.
macro_rules! faults {
    ($(#[doc = $sentence:literal] $fault:ident,)*) => {
        /// One mistake in a store.
        ///
        /// Its identifier is its name in `CASES.md` and `MUTANTS.md`; its documentation says, of a
        /// store, what is wrong with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $(#[doc = $sentence] $fault,)*
        }

        impl Fault {
            /// All of them, in the order in which they are listed.
            pub fn all() -> impl Iterator<Item = Self> {
                [$(Self::$fault),*].into_iter()
            }

            /// Its identifier.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => stringify!($fault),)*
                }
            }

            /// What is wrong, in one sentence about a store.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$fault => $sentence.trim_ascii(),)*
                }
            }
        }
    };
}

faults! {
    // Who gets a lock.

    /// Grants nothing, to nobody.
    GrantsNothing,
    /// Grants whoever asks, and forgets who had it.
    GrantsWhoeverAsks,
    /// Answers contention with a grant that it does not store.
    SwallowsContention,
    /// Answers contention with an error of its own.
    ContentionIsAnError,
    /// Grants every name twice.
    TwoOfEach,
    /// Grants a held lock again to the process that holds it.
    ReentrantByProcess,
    /// Grants a held lock again to the thread that holds it.
    ReentrantByThread,
    /// Has one lock for all names.
    OneLockForAll,
    /// Looks whether a name is free and takes it in two steps.
    LooksThenTakes,
    /// Takes the name of an expired holder over in two steps.
    ReplacesTheExpiredInTwoSteps,
    /// Keeps its locks in the process.
    LocksPerProcess,
    /// Keeps its locks in the handle that it was opened as.
    LocksPerHandle,
    /// Forgets the oldest lock when it has many.
    ForgetsOldLocks,
    /// Writes the new owner down before it looks whether the name is free.
    WritesBeforeLooking,
    /// Sets the lifetime that a denied attempt asked for.
    DeniedAttemptExtends,
    /// Keeps a name for whoever was denied it last.
    DeniedAttemptReserves,
    /// Names a fence in its denials that is not the holder's.
    NamesTheWrongFence,
    /// Says nothing of the lease that is in the way.
    HidesTheLease,
    /// Takes a lifetime below a second for none, and what it is to replace for expired.
    ShortTtlSteals,
    /// Takes two seconds for every attempt.
    AnswersLate,
    /// Waits in the store for a while before it denies.
    BlocksWhileHeld,
    /// Keeps a released name for the process that released it.
    PrefersWhoeverReleased,

    // What makes a request repeatable.

    /// Denies a claim the lock that it has when it asks again.
    ForgetsTheToken,
    /// Makes a token of its own for every attempt.
    NewTokenPerRetry,
    /// Keeps what was granted to a claim that is abandoned.
    KeepsTheAbandoned,
    /// Frees a lock when a claim on it is abandoned, whosever it is.
    AbandonFreesAnybody,

    // The end of a grant.

    /// Answers a release and frees nothing.
    ForgetsToFree,
    /// Lets a released name rest for three seconds.
    RestsAfterRelease,
    /// Releases whatever is there, and calls that a success.
    ReleasesWithoutOwnerCheck,
    /// Tells a late release that it is too late, and frees the next owner's lock.
    LateReleaseFrees,
    /// Compares the owner and frees in two steps.
    GetThenDelete,
    /// Removes the record of a released name, and its fence with it.
    UnlinksOnRelease,
    /// Releases nothing in a thread that panics.
    ReleasesNothingInAPanic,
    /// Releases the key that the prefix opened last makes of the name.
    ReleasesUnderTheLatestPrefix,
    /// Frees what is dropped although it was to be left.
    FreesWhatWasLeft,
    /// Takes the thread that asked for the owner.
    ThreadIsTheOwner,
    /// Frees what a thread was granted when the thread ends.
    EndsWithTheThread,
    /// Frees a name at once that was to stay taken.
    ReleaseIgnoresKeep,
    /// Keeps a name that was to stay taken to the end of its old lease.
    KeepsToTheEndOfTheLease,
    /// Leaves the token with a name that stays taken.
    KeepLeavesTheToken,
    /// Frees a name that was to stay taken when the process that asked for that ends.
    KeepEndsWithTheProcess,

    // Lifetimes.

    /// Grants without an end, and says so.
    IgnoresTtl,
    /// Says when a lease ends, and does not end it.
    NeverExpires,
    /// Ends a lease after half of it.
    ExpiresEarly,
    /// Ends a lease that is not renewed every tenth of a second.
    NeedsAHeartbeat,
    /// Judges leases by the wall clocks of its clients.
    TrustsClientClocks,
    /// Counts lifetimes in whole seconds, rounded down.
    WholeSeconds,
    /// Counts lifetimes in quarters of a minute, rounded up.
    RoundsTtlUp,
    /// Grants at most ten minutes.
    CapsLongLeases,
    /// Says a longer lifetime than it keeps.
    SaysALongerLease,
    /// Grants a lease and says that it has no end.
    SaysNoLease,
    /// Frees with its process what was to outlive it.
    DetachedEndsWithTheProcess,

    // Renewals.

    /// Answers a renewal and does nothing.
    RenewsNothing,
    /// Renews whatever is there.
    RenewsWithoutOwnerCheck,
    /// Compares the owner and renews in two steps.
    RenewsInTwoSteps,
    /// Renews what has ended.
    RenewsTheExpired,
    /// Renews what was released, and so brings it back.
    RenewsTheReleased,
    /// Renews a lock that was taken away by force.
    RenewsTheBroken,
    /// Sets the lock's own lifetime when it renews, although more is left.
    RenewShortens,
    /// Sets the lock's own lifetime when it renews, whatever it is asked for.
    RenewIgnoresTtl,
    /// Lets a renewal only lengthen.
    RenewTakesTheLonger,
    /// Renews for an eighth of what it is asked for.
    RenewsForLess,
    /// Drops the end of a lease at its renewal.
    RenewDropsTheEnd,
    /// Makes a new grant of a renewal.
    RenewMovesTheFence,
    /// Renews the first of many, and answers for all.
    RenewsTheFirstOfMany,
    /// Extends a lease that it is only to verify.
    VerifyingExtends,
    /// Tells a holder of a loss when somebody else asks for its lock.
    RevokesTheHolder,

    // Fences.

    /// Gives every grant the same fence.
    SameFence,
    /// Counts fences in the handle.
    FencePerHandle,
    /// Counts fences in the process.
    FencePerProcess,
    /// Begins to count fences again when a lease has expired.
    FenceResetOnExpiry,
    /// Begins to count fences again when it is opened.
    FenceResetOnReopen,
    /// Forgets idle names and their fences.
    ForgetsIdleNames,
    /// Gives fences of 64 bits.
    HugeFences,

    // Locks that several hold together.

    /// Lets one reader in at a time.
    SharesWithNobody,
    /// Shares a name that somebody has alone.
    SharesBesideAHolder,
    /// Grants a name to one alone that others share.
    HolderBesideShares,
    /// Lets new readers pass whoever waits to have the name alone.
    ReadersOvertakeWriters,
    /// Ends all shares when one is released.
    ReleasesAllShares,
    /// Renews all shares when one is renewed.
    RenewsAllShares,
    /// Keeps all shares to the end of the longest.
    SharesLiveTogether,
    /// Gives all who share a name one fence.
    OneFenceForAllShares,
    /// Takes one share away by force, and leaves the others.
    ForceTakesOneShare,
    /// Shows whoever shares a name as one that has it alone.
    HidesSharing,
    /// Grants one permit less than there are.
    OnePermitTooFew,
    /// Grants one permit more than there are.
    OnePermitTooMany,
    /// Counts against the limit that the first holder gave, whatever the others give.
    PermitsKeepTheFirstLimit,
    /// Grants two permits to whoever waits for one.
    TwoPermitsForAWaiter,

    // Waiting.

    /// Promises to notify, and never does.
    NeverNotifies,
    /// Notifies a third of a second late.
    NotifiesLate,
    /// Cannot notify, so that waiters have to poll.
    CannotNotify,

    // Names and settings.

    /// Compares names without regard to case.
    FoldsCase,
    /// Drops spaces at the end of a name.
    TrimsNames,
    /// Reads a name up to its first U+0000.
    CutsAtNul,
    /// Takes names for paths, and two ways to one place for one.
    NormalisesPaths,
    /// Cuts long names.
    TruncatesNames,
    /// Has no room for long names.
    RefusesLongNames,
    /// Uses the shortened form of one name as another name's own.
    MistakesShortenedNames,
    /// Undoes the escapes in the segments of a name.
    UnescapesSegments,
    /// Ignores the settings that it is opened with.
    IgnoresTheSettings,
    /// Leaves the prefix out of its keys.
    LeavesOutThePrefix,
    /// Puts something between prefix and name.
    SeparatesThePrefix,

    // Looking.

    /// Shows nobody.
    ShowsNobody,
    /// Shows whom a name had last.
    ShowsTheLast,
    /// Shows holders whose lease has ended.
    ShowsTheExpired,
    /// Shows the locks of its own process only.
    ShowsOnlyItsOwn,
    /// Shows a name as free that stays taken.
    HidesKeptNames,
    /// Renews what it looks at.
    LookingRenews,
    /// Clears an expired holder when it looks, in two steps.
    LookingClears,
    /// Lists in the order of its storage.
    ListsUnsorted,
    /// Lists shortened names.
    ListsShortenedNames,
    /// Lists the locks of all prefixes.
    ListsOtherPrefixes,

    // Taking a lock away by force.

    /// Opens a name at once whose loser was to let go first.
    ForceOpensAtOnce,
    /// Waits for a loser that it was not to wait for.
    ForceWaits,
    /// Waits for a loser that is not there.
    ForceWaitsForNobody,
    /// Never ends the lease of a loser.
    ForceClosesForEver,
    /// Leaves a name closed whose loser has let go.
    BrokenStaysClosed,
    /// Tells a loser of a loss, but not of force.
    ForceSaysNothing,
    /// Leaves the fence as it was.
    ForceKeepsTheFence,
    /// Forgets the fence with the holder.
    ForceForgetsTheFence,
    /// Forgets the reason.
    ForceForgetsTheReason,
    /// Returns what is there afterwards.
    ForceReturnsWhatIsLeft,
    /// Finds somebody to take a free lock from.
    ForceFindsAnybody,

    // Restoring.

    /// Grants anew what it is to restore.
    RestoreGrantsAnew,
    /// Leaves the old lifetime when it restores.
    RestoreLeavesTheLife,
    /// Restores for any token.
    RestoresForAnybody,
    /// Grants a free name that it is to restore.
    RestoreInserts,
    /// Restores for whoever had it last.
    RestoresTheReleased,
    /// Restores what has ended.
    RestoresTheExpired,
    /// Restores what was taken away by force.
    RestoresTheBroken,
    /// Restores only what its own process was granted.
    RestoresOnlyItsOwn,

    // Sessions.

    /// Gives a session a lease.
    SessionHasALease,
    /// Keeps sessions apart from leases.
    SessionsApart,
    /// Does not see that the holder of a session has died.
    SessionsOutliveTheDead,
    /// Verifies nothing when it renews a session.
    SessionVerifiesNothing,

    // Processes.

    /// Says that it lives inside the process, so that a forked child's drop releases.
    ClaimsToBeDirect,
    /// Takes a forked child for its parent.
    ChildIsItsParent,
    /// Holds a lock for as long as a file is open, which children and programs inherit.
    HeldByAnOpenFile,

    // A store that does not answer.

    /// Answers that somebody has the lock when it is down.
    DownIsContended,
    /// Hangs when it is down.
    DownHangs,
    /// Answers that a lock is lost when it is down.
    DownIsALoss,
    /// Answers a release with success when it is down.
    DownReleases,

    // A store for tasks.

    /// Sends a request although its future was dropped before, and after what follows it.
    SendsWhatWasDropped,
    /// Ends a grant when the future of a renewal is dropped.
    EndsWithTheFuture,
    /// Does not carry out what it is given to do in the background.
    DropsTasks,

    // A store inside the process, which queues its waiters itself.

    /// Hands the lock to whoever came last.
    ServesTheLastFirst,
    /// Hands the lock to waiters that have gone.
    GrantsTheGone,
    /// Hands a released lock to nobody.
    HandsOnToNobody,
    /// Does not tell its first waiter that a lease was shortened.
    ShortensInSilence,
    /// Does not say where in this process a lock is held.
    HidesThePlace,
}

impl Fault {
    /// Whether only tasks can meet it; see [`suite_async`](super::suite_async).
    #[must_use]
    pub fn is_of_tasks(self) -> bool {
        matches!(self, Self::SendsWhatWasDropped | Self::EndsWithTheFuture | Self::DropsTasks)
    }

    /// Whether it is one of a store that queues its waiters itself; see
    /// [`QueueModel`](super::QueueModel). All others are faults of [`Model`](super::Model).
    #[must_use]
    pub fn is_of_queue(self) -> bool {
        matches!(
            self,
            Self::ServesTheLastFirst
                | Self::GrantsTheGone
                | Self::HandsOnToNobody
                | Self::ShortensInSilence
                | Self::HidesThePlace
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
