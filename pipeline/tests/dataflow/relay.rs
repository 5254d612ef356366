//! Analytics get every decision once, also after they were away.

use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::port::analytics::Row;
use orderly_domain::port::{Analytics as _, Feed, Result, Store as _};
use orderly_domain::{Offset, Partition};
use orderly_pipeline::{Options, Relay};
use orderly_sinks::analytics::sqlite::Analytics;
use prometheus::Registry;
use tokio::sync::watch;

use crate::kit::{Hospital, book, open, published};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn analytics_agree_when_idle() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = Hospital::open(folder.path());
    hospital.append(open(1, 10)).await;
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    for patient in 0..500 {
        hospital.append(book(patient, patient, 1)).await;
    }
    published(&mut events, 501).await;

    let analytics = Arc::new(Analytics::open(folder.path(), Default::default(), &Registry::new()).unwrap());
    for _ in 0..2 {
        let (stop, stopped) = watch::channel(false);
        let (store, state) = (Arc::clone(&hospital.store) as _, pipeline.state());
        let relay = Relay::new(&store, vec![Arc::clone(&analytics) as _], Some(&state), &Registry::new()).unwrap();
        let running = tokio::spawn(relay.run(stopped));
        let total: u64 = hospital.store.progress().await.unwrap().iter().map(|progress| progress.next_offset).sum();
        while analytics.count().await.unwrap() < total {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        running.await.unwrap();
        assert_eq!(analytics.count().await.unwrap(), total);
        let after = u32::try_from(total).unwrap();
        hospital.append(book(after, after, 1)).await;
        published(&mut events, 1).await;
    }
    pipeline.drain().await.unwrap();
}

/// A feed that is so far away that no call ends.
struct Away;

#[async_trait]
impl Feed for Away {
    fn name(&self) -> &'static str {
        "away"
    }
    async fn next_offsets(&self) -> Result<Vec<(Partition, Offset)>> {
        std::future::pending().await
    }
    async fn append(&self, _rows: &[Row]) -> Result<()> {
        std::future::pending().await
    }
    async fn skip_to(&self, _partition: Partition, _offset: Offset) -> Result<()> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_does_not_answer_holds_up_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let store = Hospital::open(folder.path()).store as _;
    let relay = Relay::new(&store, vec![Arc::new(Away)], None, &Registry::new()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(relay.run(stopped));
    tokio::task::yield_now().await;
    stop.send_replace(true);
    running.await.unwrap();
}
