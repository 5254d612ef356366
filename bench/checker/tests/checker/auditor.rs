//! The auditor sees the same history piece by piece, forgets what is long past, and finds what is wrong amid it.

use std::time::Duration;

use orderly_checker::{Auditor, Invariant, LedgerWatch, Options, Report};
use orderly_domain::Timestamp;
use orderly_domain::port::{Ledger as _, Store as _};
use orderly_sinks::{ledger, log, store};
use proptest::prelude::*;

use crate::histories::{runtime, step};
use crate::hospital::{Hospital, PARTITIONS, Step, book, cancel, open};

/// Decides all that waits in commits of so many records, and has an auditor look after each. Returns what it found in the
/// end, and what it remembers.
async fn audited(mut hospital: Hospital, commit_records: usize, options: Options) -> (Report, (usize, usize)) {
    let log = log::sqlite::Log::open_read_only(hospital.folder.path()).expect("a log");
    let store = store::sqlite::Store::open_read_only(hospital.folder.path()).expect("a store");
    let mut auditor = Auditor::begin(&log, &store, options).await.expect("readable");
    let mut decisions = 0;
    while hospital.undecided() > 0 {
        hospital.decide(commit_records.min(hospital.undecided()), commit_records).await;
        let progress = store.progress().await.expect("readable");
        let judged = auditor.follow(&progress).await.expect("readable");
        assert_eq!(judged.decided_at.iter().map(|(_, count)| count).sum::<u64>(), judged.decisions);
        decisions += judged.decisions;
        let (tables, changing) = auditor.amid().await.expect("readable");
        assert!(tables.holds() && auditor.report().holds(), "{tables:#?} {:#?}", auditor.report());
        assert_eq!(changing, 0, "nothing was decided since");
        auditor.forget();
    }
    assert_eq!(auditor.report().checked(Invariant::ExactlyOnce), decisions);
    (auditor.report().clone(), auditor.remembered())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn finds_right_what_is_right(
        steps in prop::collection::vec(step(), 1..120), commit_records in 1_usize..8, known in 1_u64..20,
    ) {
        let records = steps.iter().filter(|step| !matches!(step, Step::Wait(_))).count();
        let options = Options { repeats_known_records: known, ..Options::default() };
        let (report, _) = runtime().block_on(async { audited(Hospital::open(&steps).await, commit_records, options).await });
        prop_assert_eq!(report.checked(Invariant::ExactlyOnce), records as u64);
    }

    #[test]
    fn finds_right_whichever_partition_comes_first(
        steps in prop::collection::vec(step(), 1..80), turns in prop::collection::vec(0..PARTITIONS, 1..150),
    ) {
        let report = runtime().block_on(async {
            let mut hospital = Hospital::open(&steps).await;
            let log = log::sqlite::Log::open_read_only(hospital.folder.path()).expect("a log");
            let store = store::sqlite::Store::open_read_only(hospital.folder.path()).expect("a store");
            let options = Options { embedded: false, ..Options::default() };
            let mut auditor = Auditor::begin(&log, &store, options).await.expect("readable");
            let mut turns = turns.into_iter().chain((0..PARTITIONS).cycle());
            while hospital.undecided() > 0 {
                hospital.decide_in_turns(turns.by_ref().take(1)).await;
                auditor.follow(&store.progress().await.expect("readable")).await.expect("readable");
                let (tables, _) = auditor.amid().await.expect("readable");
                assert!(tables.holds(), "{tables:#?}");
                auditor.forget();
            }
            auditor.into_report()
        });
        prop_assert!(report.holds(), "{report:#?}");
    }
}

/// Patients who ask again after days, and retries that are told again: memory stays what a day needs.
#[tokio::test]
async fn forgets_what_is_long_past() {
    const DAYS: u8 = 12;
    let opened = Step::Ask(open(0, 2));
    let day = |day: u8| {
        let tickets = (0..200).map(move |key| Step::Ask(book(day, key, 0)));
        tickets.chain([Step::Wait(24 * 3600)])
    };
    let steps: Vec<_> = [opened, Step::Wait(60)].into_iter().chain((0..DAYS).flat_map(day)).collect();
    let options =
        Options { repeats_known_records: 50, repeats_known_for: Duration::from_secs(3600), ..Options::default() };
    let (report, (tickets, sessions)) = audited(Hospital::open(&steps).await, 16, options).await;
    assert_eq!(report.checked(Invariant::Deterministic), u64::from(DAYS) * 200 + 1);
    assert!(tickets < 1_200, "{tickets} tickets are remembered");
    assert_eq!(sessions, 0, "the session's day is long past");
}

/// An edit behind the point that was judged shows in the tables, and names the session; others are not suspected.
#[tokio::test]
async fn finds_an_edited_appointment_and_names_its_session() {
    let steps = [open(0, 2), open(1, 2)].map(Step::Ask).into_iter().chain([Step::Wait(60)]);
    let steps: Vec<_> =
        steps.chain([book(1, 0, 0), book(2, 0, 1), book(3, 0, 1), cancel(3, 0, 1)].map(Step::Ask)).collect();
    let mut hospital = Hospital::open(&steps).await;
    hospital.decide(hospital.undecided(), 4).await;
    let folder = hospital.folder.path();
    let log = log::sqlite::Log::open_read_only(folder).expect("a log");
    let store = store::sqlite::Store::open_read_only(folder).expect("a store");
    let mut auditor = Auditor::begin(&log, &store, Options::default()).await.expect("readable");
    auditor.follow(&store.progress().await.expect("readable")).await.expect("readable");
    assert!(auditor.amid().await.expect("readable").0.holds());
    let edited = rusqlite::Connection::open(folder.join("store.sqlite")).expect("the store");
    let edit = "UPDATE sessions SET booked = booked + 1 WHERE session_id = 's1'";
    assert_eq!(edited.execute(edit, []).expect("edited"), 1);
    let (report, _) = auditor.amid().await.expect("readable");
    assert_eq!(report.broken().collect::<Vec<_>>(), [Invariant::Conserved]);
    let suspects: Vec<_> = report.suspects.iter().map(|session| session.as_str()).collect();
    assert_eq!(suspects, ["s1"]);
}

/// A decision that breaks the rules is found as soon as it is committed, and its session is named.
#[tokio::test]
async fn finds_a_wrong_decision_as_it_comes() {
    let steps: Vec<_> = [open(0, 2), open(1, 2)].map(Step::Ask).into_iter().chain([Step::Wait(60)]).collect();
    let steps = [steps, [book(1, 0, 0), book(2, 0, 1)].map(Step::Ask).to_vec()].concat();
    let mut hospital = Hospital::open(&steps).await;
    hospital.decide(hospital.undecided() - 1, 1).await;
    let folder = hospital.folder.path().to_owned();
    let log = log::sqlite::Log::open_read_only(&folder).expect("a log");
    let store = store::sqlite::Store::open_read_only(&folder).expect("a store");
    let mut auditor = Auditor::begin(&log, &store, Options::default()).await.expect("readable");
    auditor.follow(&store.progress().await.expect("readable")).await.expect("readable");
    assert!(auditor.amid().await.expect("readable").0.holds());
    hospital.decide(1, 1).await;
    let edited = rusqlite::Connection::open(folder.join("store.sqlite")).expect("the store");
    let edit = "UPDATE decisions SET outcome = 1, reason = 0, number = NULL \
                WHERE logged_at_us = (SELECT max(logged_at_us) FROM decisions)";
    assert_eq!(edited.execute(edit, []).expect("edited"), 1);
    auditor.follow(&store.progress().await.expect("readable")).await.expect("readable");
    let report = auditor.report();
    assert_eq!(report.violations(Invariant::InOrder), 1, "{report:#?}");
    assert_eq!(report.suspects.iter().map(|session| session.as_str()).collect::<Vec<_>>(), ["s1"]);
}

/// What an auditor finds broken, and which sessions it suspects, when this row of the store is gone. Session 0 has one number and
/// refuses two patients; nobody asks for session 1.
async fn found_without(row: &str) -> (Vec<Invariant>, Vec<String>) {
    let opened = [open(0, 1), open(1, 1)].map(Step::Ask).into_iter().chain([Step::Wait(60)]);
    let asked = [book(1, 0, 0), book(2, 0, 0), book(3, 0, 0)].map(Step::Ask);
    let hospital = Hospital::live(&opened.chain(asked).collect::<Vec<_>>(), 0).await;
    let folder = hospital.folder.path();
    let edited = rusqlite::Connection::open(folder.join("store.sqlite")).expect("the store");
    edited.execute_batch("PRAGMA foreign_keys = OFF").expect("set");
    assert_eq!(edited.execute(&format!("DELETE FROM {row}"), []).expect("edited"), 1);
    let log = log::sqlite::Log::open_read_only(folder).expect("a log");
    let store = store::sqlite::Store::open_read_only(folder).expect("a store");
    let mut auditor = Auditor::begin(&log, &store, Options::default()).await.expect("readable");
    auditor.follow(&store.progress().await.expect("readable")).await.expect("readable");
    let mut report = auditor.report().clone();
    report.add(&auditor.amid().await.expect("readable").0);
    let suspects = report.suspects.iter().map(|session| session.as_str().to_owned()).collect();
    (report.broken().collect(), suspects)
}

#[tokio::test]
async fn a_session_of_which_something_is_missing_is_suspected() {
    let newest = |before: u8| {
        format!(
            "decisions WHERE logged_at_us = (SELECT logged_at_us FROM decisions ORDER BY 1 DESC LIMIT 1 OFFSET {before})"
        )
    };
    for (row, broken, suspect) in [
        (newest(1), Invariant::NoLoss, "s0"),
        // Nothing comes after it.
        (newest(0), Invariant::AtomicProgress, "s0"),
        ("sessions WHERE session_id = 's1'".to_owned(), Invariant::ExactlyOnce, "s1"),
    ] {
        assert_eq!(found_without(&row).await, (vec![broken], vec![suspect.to_owned()]), "{row}");
    }
}

/// A ledger that has another number than the store is found once nobody is booking there any more; one that is merely ahead
/// of the store is not.
#[tokio::test]
async fn finds_a_ledger_that_lost_count() {
    let steps = [Step::Ask(open(0, 4)), Step::Wait(60), Step::Ask(book(1, 0, 0)), Step::Ask(book(2, 0, 0))];
    let mut hospital = Hospital::open(&steps).await;
    hospital.decide(2, 1).await;
    let folder = hospital.folder.path().to_owned();
    let log = log::sqlite::Log::open_read_only(&folder).expect("a log");
    let store = store::sqlite::Store::open_read_only(&folder).expect("a store");
    let ledger = ledger::memory::Ledger::default();
    let partitions: Vec<_> = (0..PARTITIONS).collect();
    let restore = async |ahead: u32| {
        let mut snapshots = store.snapshots(&partitions, jiff::civil::Date::MIN).await.expect("readable");
        snapshots.iter_mut().for_each(|snapshot| snapshot.session.capacity -= ahead);
        ledger.restore(snapshots.into_iter().map(|snapshot| (1, snapshot)).collect()).await.expect("restored");
    };
    let mut watch = LedgerWatch::default();
    let mut report = Report::default();
    // It has decided what is not committed yet.
    restore(1).await;
    for _ in 0..3 {
        watch.look(&log, &ledger, &store, Timestamp::from_micros(0), &mut report).await.expect("readable");
    }
    assert!(report.holds() && report.checked(Invariant::Conserved) == 0, "{report:#?}");
    hospital.decide(1, 1).await;
    restore(0).await;
    for _ in 0..2 {
        watch.look(&log, &ledger, &store, Timestamp::from_micros(0), &mut report).await.expect("readable");
    }
    assert!(report.holds() && report.checked(Invariant::Conserved) == 1, "{report:#?}");
    restore(1).await;
    watch.look(&log, &ledger, &store, Timestamp::from_micros(0), &mut report).await.expect("readable");
    assert!(report.holds(), "it may be about to be committed: {report:#?}");
    watch.look(&log, &ledger, &store, Timestamp::from_micros(0), &mut report).await.expect("readable");
    assert_eq!(report.broken().collect::<Vec<_>>(), [Invariant::Conserved]);
}
