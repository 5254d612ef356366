//! Bookings of patients who hold an appointment in a partition that the commit is not about: the ledger does not know of it.

use orderly_domain::port::store::Commit;
use orderly_domain::{Command, Outcome, Partition, Position};

use super::books::Books;

/// The first booking of a commit whose patient holds another appointment in its scope, with that one, as far as this can be
/// told before decisions are applied: sessions that the commit itself opens are not looked at.
pub(super) fn first(
    commit: &Commit,
    books: &Books,
    is_of_commit: impl Fn(Partition) -> bool,
) -> Option<(Position, Position)> {
    commit.decisions.iter().find_map(|decision| {
        let at = decision.position;
        let (Some(Command::Book(book)), Outcome::Booked { .. }) = (&decision.command, decision.outcome) else {
            return None;
        };
        let session = &books.session(books.find(&book.session.session_id)?).state.session;
        if session.doctor_id != book.session.doctor_id || books.has_booked(&book.ticket) {
            return None;
        }
        let by = books.held_in(&session.exclusivity.scope(&session.reference())?, &book.patient_id)?.position;
        (!is_of_commit(by.partition) && !commit.resigned.contains(&at)).then_some((at, by))
    })
}
