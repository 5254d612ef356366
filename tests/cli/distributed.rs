//! The distributed profile on real servers: rushes during which nodes and servers are killed, stopped, emptied and cut off.

use std::io::Write as _;
use std::path::Path;

use orderly_faults::campaign::Campaign;
use orderly_faults::cluster::Cluster;
use orderly_faults::report::Report;

/// Intents per second: what a debug build takes on a machine that is busy with other tests.
const RATE: f64 = 60.0;

/// One fault of every kind in the middle of rushes: no acknowledged intent is lost, none is decided twice, no session is
/// oversold, and after every rush, once it is quiet, ledger, store and analytics agree. Last, Kafka's log is gone, and the
/// pipelines say so and stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_survives_every_fault_of_nodes_and_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    match every_fault(folder.path()).await {
        // Not with a macro: its output would be kept from whoever runs all tests.
        Ok(report) => std::io::stderr().write_all(report.to_text().as_bytes()).expect("it is told"),
        Err(error) => panic!("{error:?}\nthe logs are in {}", folder.keep().display()),
    }
}

async fn every_fault(folder: &Path) -> anyhow::Result<Report> {
    let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_orderly")), folder).await?;
    let mut campaign = Campaign::new(cluster, 1, RATE).await?;
    campaign.each_once().await?;
    campaign.end().await
}
