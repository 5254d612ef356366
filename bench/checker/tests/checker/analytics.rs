//! Analytics beside the store.

use std::path::Path;

use orderly_checker::{Invariant, Options, Report, check_analytics};
use orderly_domain::command::Kind;
use orderly_domain::port::Feed as _;
use orderly_domain::port::analytics::Row;
use orderly_domain::{Outcome, Position, Reason};
use orderly_sinks::{analytics, log, store};

use crate::hospital::{Hospital, Step, moment};

const DECISIONS: u64 = 5;

fn row(offset: u64) -> Row {
    Row {
        position: Position { partition: 0, offset },
        logged_at: moment(0),
        decided_at: moment(0),
        kind: Kind::Malformed,
        patient: None,
        outcome: Outcome::Rejected(Reason::Malformed),
        repeat: false,
        session_id: None,
        session: None,
    }
}

async fn check(folder: &Path, idle: bool) -> Report {
    let log = log::sqlite::Log::open_read_only(folder).expect("a log");
    let store = store::sqlite::Store::open_read_only(folder).expect("a store");
    let analytics = analytics::sqlite::Analytics::open_read_only(folder).expect("analytics");
    let mut report = orderly_checker::check(&log, &store, Options::default()).await.expect("readable");
    let options = Options { idle, ..Options::default() };
    check_analytics(&analytics, &store, options, &mut report).await.expect("readable");
    report
}

#[tokio::test]
async fn agree_when_all_has_arrived() {
    let hospital = Hospital::live(&[Step::Noise, Step::Noise, Step::Noise, Step::Noise, Step::Noise], 0).await;
    let folder = hospital.folder.path();
    let registry = prometheus::Registry::new();
    let options = analytics::sqlite::Options::default();
    let analytics = analytics::sqlite::Analytics::open(folder, options, &registry).expect("analytics");

    analytics.append(&(0..DECISIONS - 1).map(row).collect::<Vec<_>>()).await.expect("appended");
    let trailing = check(folder, false).await;
    assert!(trailing.holds() && trailing.findings[&Invariant::AnalyticsAgree].skipped.is_some());
    assert_eq!(check(folder, true).await.broken().collect::<Vec<_>>(), [Invariant::AnalyticsAgree]);

    analytics.append(&[row(DECISIONS - 1)]).await.expect("appended");
    let complete = check(folder, true).await;
    assert!(complete.holds(), "{complete:#?}");
    assert_eq!(complete.checked(Invariant::AnalyticsAgree), DECISIONS);

    analytics.append(&[row(DECISIONS)]).await.expect("appended");
    assert_eq!(check(folder, false).await.broken().collect::<Vec<_>>(), [Invariant::AnalyticsAgree]);
}
