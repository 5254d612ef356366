//! Faults that are planted in the files, past all constraints: each is found, and as what it is.

use std::path::Path;

use orderly_checker::Invariant;
use orderly_domain::{Position, partition_of};
use rusqlite::Connection;

use crate::hospital::{Hospital, PARTITIONS, Step, book, cancel, open, reference};

/// The history that faults are planted in. Session 0 has two numbers, session 1 four.
const STEPS: usize = 14;

pub(crate) fn steps() -> [Step; STEPS] {
    [
        Step::Ask(open(0, 2)),
        Step::Ask(open(1, 4)),
        Step::Wait(60),
        Step::Ask(book(1, 0, 0)),   // 3: booked 1
        Step::Ask(book(2, 0, 0)),   // 4: booked 2
        Step::Ask(book(3, 0, 0)),   // 5: sold out
        Step::Ask(book(4, 0, 1)),   // 6: booked 1
        Step::Ask(book(5, 0, 1)),   // 7: booked 2
        Step::Ask(book(6, 0, 1)),   // 8: booked 3
        Step::Ask(book(1, 1, 1)),   // 9: already booked
        Step::Ask(book(3, 0, 0)),   // 10: sold out, again
        Step::Ask(cancel(4, 0, 1)), // 11: cancelled 1
        Step::Noise,                // 12: malformed
        Step::Ask(book(7, 0, 9)),   // 13: unknown session
    ]
}

/// Where a step's record lies.
pub(crate) fn position(step: usize) -> Position {
    let partition = |step: &Step| match step {
        Step::Ask(command) => Some(partition_of(command.doctor_id(), PARTITIONS)),
        Step::Noise => Some(0),
        Step::Wait(_) => None,
    };
    let own = partition(&steps()[step]).expect("a step with a record");
    let before = steps()[..step].iter().filter(|earlier| partition(earlier) == Some(own)).count();
    Position { partition: own, offset: before as u64 }
}

/// Opens the store past its constraints.
pub(crate) fn unguarded(folder: &Path) -> Connection {
    let store = Connection::open(folder.join("store.sqlite")).expect("the store");
    store
        .execute_batch(
            "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; \
             DROP INDEX appointments_one_per_ticket; DROP INDEX appointments_one_per_number; \
             DROP INDEX appointments_one_per_scope;",
        )
        .expect("the indexes of the schema");
    store
}

/// The SQL that tells a step's row.
pub(crate) fn at(step: usize) -> String {
    let Position { partition, offset } = position(step);
    format!("partition = {partition} AND log_offset = {offset}")
}

/// A booking that was refused gets a number after all, with its appointment.
fn book_anyway(step: usize, session: u8, number: u32) -> String {
    let session = reference(session).session_id;
    format!(
        "UPDATE decisions SET outcome = 0, reason = NULL, number = {number} WHERE {at}; \
         INSERT INTO appointments SELECT partition, log_offset, session_key, {number}, patient_id, ticket_id, \
             (SELECT scope FROM appointments LIMIT 1), 0, partition, log_offset, NULL FROM decisions WHERE {at}; \
         UPDATE sessions SET booked = booked + 1 WHERE session_id = '{session}';",
        at = at(step)
    )
}

/// A booking is refused after all, and its appointment is gone.
fn refuse_anyway(step: usize, session: u8) -> String {
    let session = reference(session).session_id;
    format!(
        "UPDATE decisions SET outcome = 1, reason = 0, number = NULL WHERE {at}; \
         DELETE FROM appointments WHERE {at}; \
         UPDATE sessions SET booked = booked - 1 WHERE session_id = '{session}';",
        at = at(step)
    )
}

async fn broken_by(sql: &str) -> Vec<Invariant> {
    let hospital = Hospital::live(&steps(), 0).await;
    assert!(hospital.check(true).await.holds(), "before the fault");
    unguarded(hospital.folder.path()).execute_batch(sql).expect(sql);
    let report = hospital.check(false).await;
    assert!(report.findings.values().all(|finding| finding.rows.len() as u64 == finding.violations));
    report.broken().collect()
}

#[tokio::test]
async fn oversell() {
    let again = format!("UPDATE decisions SET outcome = 0, reason = NULL, number = 3 WHERE {};", at(10));
    assert_eq!(broken_by(&(book_anyway(5, 0, 3) + &again)).await, [Invariant::NoOversell]);
}

#[tokio::test]
async fn one_number_twice() {
    let rows = at(8);
    let sql = format!("UPDATE decisions SET number = 2 WHERE {rows}; UPDATE appointments SET number = 2 WHERE {rows};");
    assert_eq!(broken_by(&sql).await, [Invariant::NoOversell]);
}

#[tokio::test]
async fn a_decision_is_missing() {
    assert_eq!(broken_by(&format!("DELETE FROM decisions WHERE {}", at(9))).await, [Invariant::NoLoss]);
}

#[tokio::test]
async fn an_undecided_record_when_all_should_be() {
    let hospital = Hospital::live(&steps(), 1).await;
    let report = hospital.check(false).await;
    assert!(report.holds());
    assert_eq!(report.in_flight, 1);
    assert_eq!(hospital.check(true).await.broken().collect::<Vec<_>>(), [Invariant::NoLoss]);
}

#[tokio::test]
async fn the_later_of_two_got_the_number() {
    let again = format!("UPDATE decisions SET outcome = 0, reason = NULL, number = 2 WHERE {};", at(10));
    let sql = refuse_anyway(4, 0) + &book_anyway(5, 0, 2) + &again;
    assert_eq!(broken_by(&sql).await, [Invariant::InOrder]);
}

#[tokio::test]
async fn sold_out_while_a_number_was_free() {
    assert_eq!(broken_by(&refuse_anyway(8, 1)).await, [Invariant::InOrder]);
}

#[tokio::test]
async fn two_appointments_of_one_patient() {
    assert_eq!(broken_by(&book_anyway(9, 1, 4)).await, [Invariant::OnePerPatient]);
}

#[tokio::test]
async fn progress_runs_ahead() {
    let sql = "UPDATE partitions SET next_offset = next_offset + 1 WHERE partition = 0";
    assert_eq!(broken_by(sql).await, [Invariant::AtomicProgress]);
}

#[tokio::test]
async fn progress_lags_behind() {
    let sql = "UPDATE partitions SET next_offset = next_offset - 1 WHERE partition = 0";
    assert_eq!(broken_by(sql).await, [Invariant::AtomicProgress]);
}

#[tokio::test]
async fn published_before_it_was_decided() {
    let sql = "UPDATE partitions SET published_offset = next_offset + 1";
    assert_eq!(broken_by(sql).await, [Invariant::AtomicProgress]);
}

#[tokio::test]
async fn a_session_miscounts() {
    assert_eq!(broken_by("UPDATE sessions SET booked = booked - 1").await, [Invariant::Conserved]);
}

#[tokio::test]
async fn a_session_is_not_what_its_commands_made_of_it() {
    assert_eq!(broken_by("UPDATE sessions SET capacity = capacity + 1").await, [Invariant::Deterministic]);
}

#[tokio::test]
async fn an_appointment_is_gone() {
    let sql = format!(
        "DELETE FROM appointments WHERE {}; UPDATE sessions SET booked = booked - 1 WHERE session_id = 's0'",
        at(3)
    );
    assert_eq!(broken_by(&sql).await, [Invariant::ExactlyOnce]);
}

#[tokio::test]
async fn a_cancellation_without_effect() {
    let sql = format!(
        "UPDATE appointments SET status = 0 WHERE {}; UPDATE sessions SET booked = booked + 1 WHERE session_id = 's1'",
        at(6)
    );
    assert_eq!(broken_by(&sql).await, [Invariant::ExactlyOnce]);
}

#[tokio::test]
async fn a_retry_is_decided_afresh() {
    let sql = format!("UPDATE decisions SET first_offset = NULL WHERE {}", at(10));
    assert_eq!(broken_by(&sql).await, [Invariant::ExactlyOnce]);
}

#[tokio::test]
async fn a_decision_on_another_record() {
    let sql = format!("UPDATE decisions SET ticket_id = zeroblob(16) WHERE {}", at(9));
    assert_eq!(broken_by(&sql).await, [Invariant::ExactlyOnce]);
}

#[tokio::test]
async fn a_refusal_with_another_cause() {
    let sql = format!("UPDATE decisions SET reason = 6 WHERE {}", at(12));
    assert_eq!(broken_by(&sql).await, [Invariant::Deterministic]);
}

#[tokio::test]
async fn the_log_lost_its_end() {
    let hospital = Hospital::live(&steps(), 0).await;
    let last =
        (0..STEPS).rev().map(position).find(|position| position.partition == 0).expect("partition 0 has records");
    let log = Connection::open(hospital.folder.path().join("log.sqlite")).expect("the log");
    let sql = format!("DELETE FROM records WHERE partition = 0 AND log_offset = {}", last.offset);
    assert_eq!(log.execute(&sql, []).expect("deleted"), 1);
    assert_eq!(hospital.check(false).await.broken().collect::<Vec<_>>(), [Invariant::ExactlyOnce]);
}

/// What the log has dropped cannot be decided again; what it did still must agree with the tables.
#[tokio::test]
async fn a_trimmed_log() {
    let hospital = Hospital::live(&steps(), 0).await;
    let log = Connection::open(hospital.folder.path().join("log.sqlite")).expect("the log");
    log.execute_batch("DELETE FROM records WHERE log_offset < 2; UPDATE partitions SET start_offset = 2")
        .expect("trimmed");
    let report = hospital.check(true).await;
    assert!(report.holds(), "{report:#?}");
    assert!(report.findings[&Invariant::Deterministic].skipped.is_some());
    let sql = format!("DELETE FROM appointments WHERE {}", at(3));
    unguarded(hospital.folder.path()).execute_batch(&sql).expect("planted");
    let broken: Vec<_> = hospital.check(true).await.broken().collect();
    assert_eq!(broken, [Invariant::ExactlyOnce, Invariant::Conserved]);
}
