//! Mistakes that can be made on purpose, to see whether the simulation (`bench/sim`) finds them. Without the feature
//! `planted-bugs`, which no program but the simulation asks for, none can be made and nothing of this is compiled in.

#[cfg(feature = "planted-bugs")]
use std::sync::atomic::{AtomicU8, Ordering};

macro_rules! bugs {
    ($($bug:ident => $text:literal,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $(#[doc = $text] $bug,)*
        }

        impl Bug {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// What is done wrong.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$bug => $text,)*
                }
            }
        }
    };
}

bugs! {
    CapacityOffByOne => "a session gives out one number more than it has",
    FreedTwice => "a repeated cancellation gives the number back again",
    CancelKeepsNumber => "a cancelled number is not given out again",
    CancelKeepsPatient => "a patient who cancelled is still taken for a holder",
    CloseKeepsBookings => "closing a session leaves its appointments",
    ClosedStillBooks => "a closed session takes bookings",
    ReleaseIgnored => "bookings are taken before the release",
    EndIgnored => "bookings are taken after the session's end",
    RuleIgnored => "a patient may hold two appointments of a department's day",
    CancelledByAnyone => "anybody who knows a ticket can cancel it",
    ShrunkBelowBooked => "a capacity may fall below a number that is held",
    ReopenedStaysClosed => "a session that is opened again stays closed",
    RuleChangesLater => "opening a session again changes whom its bookings exclude",
    CapacityNotRaised => "a changed capacity is answered, and not applied",
    NotTheLowest => "the next number is given out, not the lowest that is free",
    RestoreForgetsCancelled => "a restore forgets tickets whose appointments were cancelled",
    RestoreForgetsPatients => "a restore forgets who holds appointments",
    RestoreReopens => "a restore opens closed sessions",
    RepeatIsNew => "a ticket that booked before books again",
    DedupOff => "a retry of a refused ticket is decided afresh",
    DedupForgetsAtTakeover => "dedup forgets its tickets at a restart",
    DedupKeepsOldWindow => "dedup goes on with the tickets of an earlier takeover",
    DedupMixesSessions => "a ticket that names another session is answered as the first",
    DedupNamesItself => "a retry names the record before its first as the first",
    SoldOutStays => "the memory of a full session outlives a number that comes back",
    SoldOutForHolders => "a full session refuses the retry of a ticket that booked",
    TimeoutIsNo => "a ledger's timeout is taken for a no",
    PrunedTooEarly => "the ledger forgets sessions three days too early",
    CommitTimeoutIsYes => "a commit's timeout is taken for a yes",
    PublishedBeforeCommit => "outcomes are published before they are committed",
    FenceSkipped => "a fenced commit takes the partition over and goes on",
    UndoForgotten => "a number that the store refused stays taken in the ledger",
    UndoTooMuch => "with one refused number all of the commit's go back",
    MarkBeforePublished => "what is committed counts as published",
    RepublishForgotten => "a takeover does not publish what may not have been",
    SeekSkipsOne => "a takeover goes on one record too far",
    SeekRepeatsOne => "a takeover goes on one record too early",
    LedgerNotRestored => "a takeover leaves the ledger as it is",
    RestoredInFlight => "the ledger is restored while commits fly, with what the store had before its fence",
    LostIsFatal => "a ledger that has forgotten ends the process",
    LostIsIgnored => "a forgotten session is taken for an unknown one",
    PoisonSkipped => "a record that cannot be read is left out",
    MisroutedTaken => "a record in another doctor's partition is decided",
    ErrorSwallowed => "an operator's error is taken for progress",
    RetryGivesUp => "a call that failed five times ends the process",
    EpochUnsorted => "records of an epoch are decided in the reverse order of partitions",
}

/// The number of the mistake that is made, from 1 on; 0 for none.
#[cfg(feature = "planted-bugs")]
static MADE: AtomicU8 = AtomicU8::new(0);

/// Makes one mistake from now on, in the whole process, or none.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    MADE.store(bug.map_or(0, |bug| bug as u8 + 1), Ordering::SeqCst);
}

/// Whether this mistake is to be made.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    MADE.load(Ordering::Relaxed) == bug as u8 + 1
}

/// Whether this mistake is to be made: it never is.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}
