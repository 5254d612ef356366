//! What has to be asked of an empty ledger, so that everybody holds the number again that they hold.

use std::collections::HashMap;
use std::time::Duration;

use orderly_domain::command::CloseSession;
use orderly_domain::inventory::{Holding, Snapshot};
use orderly_domain::personal::{Fields, Sealed};
use orderly_domain::{Book, Cancel, Command, PatientId, Session, SessionRef, Timestamp, ticket};

/// Why a session is closed in the new log that was closed in the old one.
const CLOSED: &str = "closed before the log got other partitions";

/// How far the clocks of the new log's servers may be behind the one here.
const CLOCKS_APART_MAX: Duration = Duration::from_hours(1);

/// What was given of the patients behind tickets.
pub(super) type Given = HashMap<ticket::Id, Fields<Sealed>>;

/// The commands that make a session what it is, in the order in which its partition must have them.
///
/// A booking takes the lowest free number, so the bookings come in the order of their numbers. A number that is free below one
/// that is held is taken meanwhile by nobody's booking, which is cancelled when all are made.
pub(super) fn commands(snapshot: &Snapshot, given: &mut Given, now: Timestamp) -> Vec<Command> {
    let session = &snapshot.session;
    let reference = session.reference();
    if snapshot.closed {
        // Closing has cancelled its appointments.
        let close = CloseSession { session: reference, cause: CLOSED.to_owned() };
        return vec![open(session, session.release_at), Command::CloseSession(close)];
    }
    let mut held: Vec<&Holding> = snapshot.holdings.iter().filter(|holding| holding.active).collect();
    held.sort_unstable_by_key(|holding| holding.number);
    // Ops may have moved the release since these were booked.
    let waits = !held.is_empty() && session.release_at.plus(CLOCKS_APART_MAX) >= now;
    let mut commands = vec![open(session, if waits { Timestamp::from_micros(0) } else { session.release_at })];
    let mut nobodys = Vec::new();
    let mut next = 1;
    for holding in held {
        for number in next..holding.number {
            let (patient_id, ticket) = nobody(session, number);
            nobodys.push(Cancel { ticket, patient_id: patient_id.clone(), session: reference.clone() });
            commands.push(book(ticket, patient_id, &reference, None));
        }
        let details = given.remove(&holding.ticket).map(Box::new);
        commands.push(book(holding.ticket, holding.patient_id.clone(), &reference, details));
        next = holding.number + 1;
    }
    commands.extend(nobodys.into_iter().map(Command::Cancel));
    if waits {
        commands.push(open(session, session.release_at));
    }
    commands
}

fn open(session: &Session, release_at: Timestamp) -> Command {
    Command::OpenSession(Box::new(Session { release_at, ..session.clone() }))
}

fn book(
    ticket: ticket::Id,
    patient_id: PatientId,
    session: &SessionRef,
    details: Option<Box<Fields<Sealed>>>,
) -> Command {
    Command::Book(Book { ticket, patient_id, session: session.clone(), details })
}

/// Who holds a number for a moment: somebody else for each number of each session, as one patient may hold one a day.
fn nobody(session: &Session, number: u32) -> (PatientId, ticket::Id) {
    let nobody = "orderly-repartition".parse().expect("it is short");
    let ticket = ticket::Id::derive(&nobody, &format!("{number} of {}", session.session_id));
    (format!("{nobody}-{ticket}").parse().expect("it is short"), ticket)
}
