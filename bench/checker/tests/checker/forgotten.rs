//! A store that has forgotten old days.

use jiff::civil::date;
use orderly_checker::Invariant;
use rusqlite::Connection;

use crate::hospital::{Hospital, Step, book, cancel, open};

const DAY_S: i64 = 86_400;

async fn with_a_past() -> Hospital {
    let steps = [
        Step::Ask(open(0, 2)),
        Step::Ask(open(1, 4)),
        Step::Wait(60),
        Step::Ask(book(1, 0, 0)),
        Step::Ask(book(2, 0, 0)),
        Step::Ask(book(3, 0, 1)),
        Step::Ask(cancel(1, 0, 0)),
        Step::Wait(10 * DAY_S),
        Step::Ask(book(4, 0, 0)),
        Step::Ask(book(4, 0, 1)),
        Step::Ask(book(5, 0, 0)),
        Step::Ask(book(5, 0, 1)),
    ];
    let hospital = Hospital::live(&steps, 0).await;
    hospital.forget_before(date(2026, 11, 25)).await;
    hospital
}

#[tokio::test]
async fn what_is_kept_is_judged_and_what_is_forgotten_is_not_missed() {
    let report = with_a_past().await.check(true).await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!(report.checked(Invariant::ExactlyOnce), 4, "those of the last day");
    let cause = report.findings[&Invariant::Deterministic].skipped.as_deref().expect("it cannot be decided again");
    assert!(cause.contains("forgotten"), "{cause}");
}

#[tokio::test]
async fn a_younger_decision_that_is_missing_is_found() {
    let hospital = with_a_past().await;
    let store = Connection::open(hospital.folder.path().join("store.sqlite")).expect("the store");
    let delete = "DELETE FROM decisions WHERE (partition, log_offset) IN \
                  (SELECT partition, MIN(log_offset) FROM decisions GROUP BY partition)";
    assert!(store.execute(delete, []).expect("deleted") > 0);
    let report = hospital.check(true).await;
    assert_eq!(report.broken().collect::<Vec<_>>(), [Invariant::NoLoss], "{report:#?}");
}
