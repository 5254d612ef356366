//! Bookings of patients who still hold an appointment that the ledger takes for cancelled: the cancellation lies in a
//! partition that the commit is not about, and is mostly about to be committed there.

use orderly_domain::port::store::Commit;
use orderly_domain::{Command, Fence, Outcome, Partition, Position, port};

use super::books::Books;
use super::rows::column;
use super::service::Inner;

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

impl Inner {
    /// Who decides a partition; `None` when a commit there is under way.
    pub(super) async fn decider(&self, partition: Partition) -> port::Result<Option<Fence>> {
        // A commit holds the row of each of its partitions; this never waits for one.
        let select = "SELECT fence FROM partitions WHERE partition = $1 FOR KEY SHARE SKIP LOCKED";
        let number = i32::from(partition);
        self.writers
            .call(
                |client| {
                    Box::pin(async move {
                        let row = client.query_opt(&client.prepare_cached(select).await?, &[&number]).await?;
                        row.map(|row| Ok(column::<i64>(&row, 0)?.cast_unsigned())).transpose()
                    })
                },
                port::Error::DidNotHappen,
            )
            .await
    }
}
