//! Waiting until a cluster works again.

use std::time::Duration;

use anyhow::Context as _;

use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::probe::Probe;

/// Long enough for any machine; whoever waits this long waits in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// What the relay carried to ClickHouse.
const RELAYED: &str = "orderly_relay_rows_total{feed=\"analytics\"}";

/// Waits until the pipelines share all partitions, each has decided something more, a booking in every partition has got its
/// outcome, and, after a fault of ClickHouse, decisions reach it.
///
/// # Errors
/// When one of these does not come.
pub(crate) async fn recovered(cluster: &Cluster, probe: &Probe, fault: Fault) -> anyhow::Result<()> {
    let relayed = async {
        match fault.is_of_clickhouse() {
            true => relays(cluster).await,
            false => Ok(()),
        }
    };
    tokio::try_join!(cluster.until_shared(), all_decide(cluster), probe.all_answer(), relayed)?;
    Ok(())
}

/// Waits until every pipeline decides something, as it does amid a rush.
///
/// # Errors
/// When one does not.
pub(crate) async fn all_decide(cluster: &Cluster) -> anyhow::Result<()> {
    futures::future::try_join_all((0..cluster.pipelines.len()).map(|nth| decides(cluster, nth))).await.map(drop)
}

async fn decides(cluster: &Cluster, nth: usize) -> anyhow::Result<()> {
    let node = &cluster.pipelines[nth];
    let mut before = None;
    until(&format!("{} decides", node.name), async || {
        let decided = node.pipeline(&cluster.ops).await?.decided_total;
        anyhow::ensure!(decided > *before.get_or_insert(decided), "it has decided {decided} records");
        Ok(())
    })
    .await
}

async fn relays(cluster: &Cluster) -> anyhow::Result<()> {
    let mut before = None;
    until("the relay carries decisions", async || {
        let rows = cluster.relay.api().metric(RELAYED).await.context("it does not tell")?;
        anyhow::ensure!(rows > *before.get_or_insert(rows), "it has carried {rows} rows");
        Ok(())
    })
    .await
}

/// Asks again and again until there is no error.
///
/// # Errors
/// The last one, when it takes too long.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut last = None;
    let asking = async {
        while let Err(error) = ask().await {
            last = Some(error);
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(last.unwrap_or_else(|| anyhow::anyhow!("no answer")))
                .with_context(|| format!("waited {seconds} s in vain until {what}"))
        }
    }
}
