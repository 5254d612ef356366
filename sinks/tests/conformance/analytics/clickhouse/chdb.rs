//! Today's engine. These tests need a library of 570 MB, so they run when they are asked for: `-- --ignored chdb::`.

use orderly_stack::chdb::{ChDb, Options as ChDbOptions};

use super::*;

/// One engine for all tests of this process; each has a database of its own.
static SERVER: LazyLock<ChDb> =
    LazyLock::new(|| ChDb::start(&folder("chdb"), ChDbOptions::default()).expect("chDB and its front"));

fn database() -> Database {
    let Database(options) = Database::on(SERVER.url());
    // Tests may wait for each other: the front does one thing at a time.
    Database(Options { compress: false, timeout: std::time::Duration::from_secs(60), ..options })
}

super::super::suite!(ignored "run bench/stack/clickhouse/fetch-chdb.sh and cargo build -p orderly-chdb"; database());
super::engine::suite!(ignored "run bench/stack/clickhouse/fetch-chdb.sh and cargo build -p orderly-chdb"; database());

const ENGINE: &str = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'decisions'";

#[tokio::test]
#[ignore = "run bench/stack/clickhouse/fetch-chdb.sh and cargo build -p orderly-chdb"]
async fn what_only_newer_servers_have_is_added_once() {
    let place = database();
    drop(place.own().await);
    let engine: String = place.client().query_raw(ENGINE).fetch_one().await.unwrap();
    assert!(engine.contains("fsync_after_insert = 1, fsync_part_directory = 1"), "{engine}");
    let codecs = "SELECT count() FROM system.columns \
                  WHERE database = currentDatabase() AND table = 'decisions' AND compression_codec LIKE '%Delta%'";
    assert_eq!(place.number(codecs).await, 3);
    place.own().await.append(&day().0).await.unwrap();
    place.own().await;
    let mutations = "SELECT count() FROM system.mutations WHERE database = currentDatabase()";
    assert_eq!(place.number(mutations).await, 0, "opening again changes nothing");
}

#[tokio::test]
#[ignore = "run bench/stack/clickhouse/fetch-chdb.sh and cargo build -p orderly-chdb"]
async fn rows_go_when_their_time_is_over() {
    let mut place = database();
    let mutations = "SELECT count() FROM system.mutations WHERE database = currentDatabase()";
    place.0.retention_days = Some(400);
    let analytics = place.own().await;
    let before = place.number(mutations).await;
    let mut rows = day().0;
    let now = Timestamp::from(jiff::Timestamp::now());
    rows[6] = Row { logged_at: now, decided_at: now, ..rows[6].clone() };
    analytics.append(&rows).await.unwrap();
    drop(place.own().await);
    let engine: String = place.client().query_raw(ENGINE).fetch_one().await.unwrap();
    assert!(engine.contains("TTL logged_at + toIntervalDay(400)"), "{engine}");
    assert_eq!(place.number(mutations).await, before, "the same retention is not set again");
    place.execute("OPTIMIZE TABLE decisions FINAL").await;
    assert_eq!(analytics.count().await.unwrap(), 1, "what is older than 400 days is gone");
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 7)], "and not carried again");

    place.0.retention_days = None;
    drop(place.own().await);
    let engine: String = place.client().query_raw(ENGINE).fetch_one().await.unwrap();
    assert!(!engine.contains("TTL "), "{engine}");
}
