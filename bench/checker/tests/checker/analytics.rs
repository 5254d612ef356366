//! Analytics beside the store.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use orderly_checker::{Invariant, Options, Report, check_analytics};
use orderly_domain::command::Kind;
use orderly_domain::port::Feed as _;
use orderly_domain::port::analytics::Row;
use orderly_domain::{Outcome, Position, Reason};
use orderly_sinks::{analytics, log, store};

use crate::hospital::{Hospital, Step, moment};

const LIVE: Options = Options { embedded: true, ..DISTRIBUTED };
const IDLE: Options = Options { idle: true, ..LIVE };
const DISTRIBUTED: Options = Options {
    idle: false,
    repeats_known_records: 1_000,
    repeats_known_for: Duration::from_secs(60),
    embedded: false,
    analytics_forget: false,
};

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

async fn check(folder: &Path, options: Options) -> Report {
    let log = log::sqlite::Log::open_read_only(folder).expect("a log");
    let store = store::sqlite::Store::open_read_only(folder).expect("a store");
    let analytics = analytics::sqlite::Analytics::open_read_only(folder).expect("analytics");
    let mut report = orderly_checker::check(&log, &store, options).await.expect("readable");
    check_analytics(&analytics, &log, &store, options, &mut report).await.expect("readable");
    report
}

async fn arrived(folder: &Path, offsets: Range<u64>) {
    let registry = prometheus::Registry::new();
    let options = analytics::sqlite::Options::default();
    let analytics = analytics::sqlite::Analytics::open(folder, options, &registry).expect("analytics");
    analytics.append(&offsets.map(row).collect::<Vec<_>>()).await.expect("appended");
}

#[tokio::test]
async fn agree_when_all_has_arrived() {
    let hospital = Hospital::live(&[Step::Noise, Step::Noise, Step::Noise, Step::Noise, Step::Noise], 0).await;
    let folder = hospital.folder.path();
    arrived(folder, 0..DECISIONS - 1).await;
    let trailing = check(folder, LIVE).await;
    assert!(trailing.holds() && trailing.findings[&Invariant::AnalyticsAgree].skipped.is_some());
    assert_eq!(check(folder, IDLE).await.broken().collect::<Vec<_>>(), [Invariant::AnalyticsAgree]);

    arrived(folder, DECISIONS - 1..DECISIONS).await;
    let complete = check(folder, IDLE).await;
    assert!(complete.holds(), "{complete:#?}");
    assert_eq!(complete.checked(Invariant::AnalyticsAgree), DECISIONS);

    arrived(folder, DECISIONS..DECISIONS + 1).await;
    assert_eq!(check(folder, LIVE).await.broken().collect::<Vec<_>>(), [Invariant::AnalyticsAgree]);
}

#[tokio::test]
async fn may_be_ahead_of_an_embedded_store_that_lost_its_newest_commits() {
    let mut hospital = Hospital::live(&[Step::Noise, Step::Noise, Step::Noise, Step::Noise, Step::Noise], 2).await;
    let folder = hospital.folder.path().to_owned();
    arrived(&folder, 0..DECISIONS).await;

    let lost = check(&folder, LIVE).await;
    assert!(lost.holds(), "{lost:#?}");
    assert!(
        lost.findings[&Invariant::AnalyticsAgree].skipped.as_ref().is_some_and(|why| why.starts_with("2 decisions"))
    );
    let broken = check(&folder, DISTRIBUTED).await.broken().collect::<Vec<_>>();
    assert_eq!(broken, [Invariant::AnalyticsAgree], "a server loses none");
    assert!(check(&folder, IDLE).await.violations(Invariant::AnalyticsAgree) > 0, "it should have decided them");

    hospital.decide(2, 1).await;
    let complete = check(&folder, IDLE).await;
    assert!(complete.holds(), "{complete:#?}");
}
