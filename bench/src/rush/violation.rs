//! What a client can see of broken promises.

use std::collections::HashMap;

use crate::api::{Session, Status, Ticket};
use crate::demand::Intent;

use super::life::{Cancellation, Life, Look, Repeat};

/// Every broken promise, as a sentence.
pub(super) fn find(intents: &[Intent], sessions: &[Session], lives: &[Life]) -> Vec<String> {
    let mut found = Vec::new();
    let mut holders: HashMap<(usize, u32), usize> = HashMap::new();
    for life in lives {
        let intent = &intents[life.index];
        let session = &sessions[intent.session];
        let who = format!("patient-{} in {}", intent.patient, session.session_id);
        if let Some(why) = &life.refused {
            found.push(format!("{who}: a well-formed request was refused: {why}"));
        }
        if life.accepted.is_some() && life.outcome.is_none() {
            found.push(format!("{who}: accepted, and no outcome was learnt"));
        }
        match (&life.repeat, &life.outcome) {
            (Some(Repeat::Unknown), _) => found.push(format!("{who}: a retry was accepted, and no outcome was learnt")),
            (Some(Repeat::Decided(second)), Some(first)) if !same(first, second) => {
                found.push(format!("{who}: {} at first, {} for the retry", words(first), words(second)));
            }
            _ => {}
        }
        match (&life.looked, &life.outcome) {
            (Some(Look::Nothing), _) => found.push(format!("{who}: the outcome was pushed, and a look told none")),
            (Some(Look::Told(looked)), Some(pushed)) if !same(pushed, looked) => {
                found.push(format!("{who}: {} was pushed, {} was told by a look", words(pushed), words(looked)));
            }
            _ => {}
        }
        if life.cancellation == Some(Cancellation::Unknown) {
            found.push(format!("{who}: a cancellation has no outcome"));
        }
        let Some(Ticket { status: Status::Booked, number, .. }) = &life.outcome else { continue };
        match *number {
            Some(number) if (1..=session.capacity).contains(&number) => {
                if life.cancellation.is_none_or(|cancellation| cancellation == Cancellation::NotAccepted)
                    && let Some(other) = holders.insert((intent.session, number), life.index)
                {
                    let other = intents[other].patient;
                    found.push(format!("{who}: number {number} is also held by patient-{other}"));
                }
            }
            Some(number) => found.push(format!("{who}: number {number} of {}", session.capacity)),
            None => found.push(format!("{who}: booked, without a number")),
        }
    }
    found
}

/// Whether the same was told twice.
fn same(first: &Ticket, second: &Ticket) -> bool {
    (first.status, &first.reason, first.number) == (second.status, &second.reason, second.number)
}

fn words(ticket: &Ticket) -> String {
    let reason = ticket.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let number = ticket.number.map(|number| format!(" number {number}")).unwrap_or_default();
    format!("{:?}{reason}{number}", ticket.status).to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demand::{Follow, Retry};

    fn ticket(status: Status, number: Option<u32>) -> Ticket {
        let reason = (status == Status::Rejected).then(|| "sold_out".to_owned());
        Ticket { ticket: "t".to_owned(), status, reason, number, decided_at: None, log: None, cancellation: None }
    }

    fn booked(index: usize, number: u32) -> Life {
        let outcome = Some(ticket(Status::Booked, Some(number)));
        Life { index, accepted: Some(Duration::ZERO), outcome, ..Life::default() }
    }

    fn sold_out(index: usize) -> Life {
        Life { outcome: Some(ticket(Status::Rejected, None)), ..booked(index, 1) }
    }

    fn find_in(lives: &[Life]) -> Vec<String> {
        let intent = |patient| Intent {
            at: Duration::ZERO,
            patient,
            session: 0,
            retry: Retry::Never,
            cancel: false,
            follow: Follow::Poll,
        };
        let session = Session {
            session_id: "s".to_owned(),
            doctor_id: "d".to_owned(),
            department: "x".to_owned(),
            day: jiff::civil::date(2026, 11, 23),
            capacity: 2,
            remaining: 2,
            state: "open".to_owned(),
        };
        find(&(0..8).map(intent).collect::<Vec<_>>(), &[session], lives)
    }

    #[test]
    fn a_kept_promise_is_none() {
        let cancelled = Life { cancellation: Some(Cancellation::Done), ..booked(0, 1) };
        let retried = Life { repeat: Some(Repeat::Decided(ticket(Status::Booked, Some(2)))), ..booked(2, 2) };
        let looked = Life { looked: Some(Look::Told(ticket(Status::Rejected, None))), ..sold_out(3) };
        assert_eq!(find_in(&[cancelled, booked(1, 1), retried, looked]), Vec::<String>::new());
    }

    #[test]
    fn each_broken_promise_is_seen() {
        let broken = [
            (vec![booked(0, 1), booked(1, 1)], "also held by patient-0"),
            (vec![booked(0, 3)], "number 3 of 2"),
            (vec![Life { outcome: None, ..booked(0, 1) }], "no outcome"),
            (vec![Life { refused: Some("400".to_owned()), ..Life::default() }], "refused"),
            (vec![Life { repeat: Some(Repeat::Unknown), ..booked(0, 1) }], "retry was accepted"),
            (vec![Life { cancellation: Some(Cancellation::Unknown), ..booked(0, 1) }], "cancellation"),
            (
                vec![Life { repeat: Some(Repeat::Decided(ticket(Status::Rejected, None))), ..booked(0, 1) }],
                "booked number 1 at first, rejected (sold_out) for the retry",
            ),
            (vec![Life { outcome: Some(ticket(Status::Booked, None)), ..booked(0, 1) }], "without a number"),
            (
                vec![Life { looked: Some(Look::Told(ticket(Status::Booked, Some(2)))), ..booked(0, 1) }],
                "booked number 1 was pushed, booked number 2 was told by a look",
            ),
            (vec![Life { looked: Some(Look::Nothing), ..booked(0, 1) }], "a look told none"),
        ];
        for (lives, expected) in broken {
            let found = find_in(&lives);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?} says nothing of {expected:?}");
        }
    }
}
