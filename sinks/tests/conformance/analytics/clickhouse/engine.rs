//! What must hold on every engine, and is ClickHouse's own.

use orderly_sinks::analytics::sqlite::{Analytics as Sqlite, Options as SqliteOptions};
use tempfile::TempDir;

pub(super) use super::queries::answer_analysts_as_expected;
use super::random;
use super::*;

/// Declares these tests for an engine; `$database` makes a new database.
macro_rules! engine_suite {
    ($database:expr) => {
        crate::analytics::clickhouse::engine::suite!(@all [] $database);
    };
    (ignored $why:literal; $database:expr) => {
        crate::analytics::clickhouse::engine::suite!(@all [#[ignore = $why]] $database);
    };
    (@all $attributes:tt $database:expr) => {
        crate::analytics::clickhouse::engine::suite!(@each $attributes $database;
            rows_that_lie_there_twice_count_once, views_count_every_record_once, two_writers_do_no_harm, refuses_a_newer_schema,
            runs_what_a_killed_migration_left, reports_agree_with_sqlite, answer_analysts_as_expected);
    };
    (@each $attributes:tt $database:expr; $($name:ident),*) => {
        $(crate::analytics::clickhouse::engine::suite!(@one $attributes $database; $name);)*
    };
    (@one [$($attribute:tt)*] $database:expr; $name:ident) => {
        $($attribute)*
        #[tokio::test]
        async fn $name() {
            crate::analytics::clickhouse::engine::$name(&$database).await;
        }
    };
}
pub(super) use engine_suite as suite;

const ROWS: &str = "SELECT count() FROM decisions";

pub(super) async fn rows_that_lie_there_twice_count_once(place: &Database) {
    let analytics = place.own().await;
    place.execute("SYSTEM STOP MERGES decisions").await;
    let (first, second) = day();
    analytics.append(&first).await.unwrap();
    analytics.append(&second).await.unwrap();
    let whole = all_reports(&analytics, 0, i64::MAX / 1_000).await;
    // As when the answer to an insert was lost: the same rows once more, in another part.
    place.execute("INSERT INTO decisions SELECT * FROM decisions").await;
    assert_eq!(place.number(ROWS).await, 28);
    assert_eq!(analytics.count().await.unwrap(), 14);
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 7), (1, 7)]);
    assert_eq!(all_reports(&analytics, 0, i64::MAX / 1_000).await, whole);
    place.execute("SYSTEM START MERGES decisions").await;
    place.execute("OPTIMIZE TABLE decisions FINAL").await;
    assert_eq!(place.number(ROWS).await, 14, "a merge leaves one of each");
}

/// One insert twice, as when its answer was lost: the table has each row twice, and what people ask through the views is the same.
pub(super) async fn views_count_every_record_once(place: &Database) {
    let analytics = place.own().await;
    place.execute("SYSTEM STOP MERGES decisions").await;
    let (first, second) = day();
    analytics.append(&first).await.unwrap();
    analytics.append(&second).await.unwrap();
    let questions = [
        "SELECT count() FROM decisions_once",
        "SELECT sum(wait_ms) FROM decisions_once WHERE logged_at >= toDateTime('1970-01-01 00:01:00', 'UTC')",
        "SELECT ifNull(countIf(clinic_day = toDate('1970-01-01')), 0) FROM decisions_once WHERE logged_on = toDate('1970-01-01')",
        "SELECT ifNull(uniqExact(patient), 0) FROM decisions_once",
        "SELECT sum(records) FROM outcomes_by_day",
        "SELECT sum(records) FROM outcomes_by_day WHERE kind = 'book' AND repeat = 0",
        "SELECT sum(records) FROM outcomes_by_day WHERE reason = 'sold_out'",
    ];
    let mut once = Vec::new();
    for question in questions {
        once.push(place.number(question).await);
    }
    assert_eq!(once, [14, 126, 12, 3, 14, 7, 2]);
    place.execute("INSERT INTO decisions SELECT * FROM decisions").await;
    assert_eq!(place.number(ROWS).await, 28);
    for (question, once) in questions.into_iter().zip(once) {
        assert_eq!(place.number(question).await, once, "{question}");
    }
}

pub(super) async fn two_writers_do_no_harm(place: &Database) {
    let (one, other) = (place.own().await, place.own().await);
    let (first, second) = day();
    one.append(&first[..2]).await.unwrap();
    other.append(&first).await.unwrap();
    // What it believes to have arrived is out of date.
    one.append(&first[2..]).await.unwrap();
    let (a, b) = tokio::join!(one.append(&second), other.append(&second));
    a.unwrap();
    b.unwrap();
    assert_eq!((one.count().await.unwrap(), other.count().await.unwrap()), (14, 14));
    assert_eq!(one.next_offsets().await.unwrap(), [(0, 7), (1, 7)]);
}

pub(super) async fn refuses_a_newer_schema(place: &Database) {
    drop(place.own().await);
    place.execute("INSERT INTO schema_versions (version) VALUES (1000)").await;
    let error = ClickHouse::open(place.0.clone(), &Registry::new()).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("version 1000") && text.contains("use the program that wrote it"), "{text}");
}

pub(super) async fn runs_what_a_killed_migration_left(place: &Database) {
    place.own().await.append(&day().0).await.unwrap();
    place.execute("DROP TABLE schema_versions").await;
    for _ in 0..2 {
        assert_eq!(place.own().await.count().await.unwrap(), 7);
        assert_eq!(
            place.number("SELECT toUInt64(sum(version)) FROM schema_versions").await,
            1 + 2 + 3 + 4,
            "each once"
        );
    }
}

pub(super) async fn reports_agree_with_sqlite(place: &Database) {
    for seed in 0..6 {
        let mut place = place.another();
        place.0.batch_rows_max = if seed % 2 == 0 { 7 } else { 100_000 };
        let folder = TempDir::new().unwrap();
        let sqlite = Sqlite::open(folder.path(), SqliteOptions::default(), &Registry::new()).unwrap();
        let clickhouse = place.own().await;
        for rows in random::partitions(seed) {
            sqlite.append(&rows).await.unwrap();
            clickhouse.append(&rows).await.unwrap();
            // A part of them comes again, as after a lost answer.
            clickhouse.append(&rows[..rows.len() / 2]).await.unwrap();
        }
        assert_eq!(clickhouse.count().await.unwrap(), sqlite.count().await.unwrap());
        assert_eq!(clickhouse.next_offsets().await.unwrap(), sqlite.next_offsets().await.unwrap());
        for (from, to) in random::spans(seed) {
            let expected = all_reports(&sqlite, from, to).await;
            for (found, expected) in all_reports(&clickhouse, from, to).await.into_iter().zip(expected) {
                assert_eq!(found, expected, "seed {seed}, from {from} to {to}");
            }
        }
    }
}

/// Every report's name, columns and rows.
async fn all_reports(analytics: &dyn Analytics, from_ms: i64, to_ms: i64) -> Vec<(String, Vec<String>, String)> {
    let (from, to) = (Timestamp::from_millis(from_ms), Timestamp::from_millis(to_ms));
    let mut all = vec![];
    for info in analytics.reports() {
        let report = analytics.report(info.name, from, to).await.unwrap().unwrap();
        // As text, which tells 1 from 1.0.
        all.push((report.name, report.columns, serde_json::to_string_pretty(&report.rows).unwrap()));
    }
    all
}
