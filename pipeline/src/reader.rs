//! The reader: takes records from the log and cuts them into epochs.

use std::collections::HashMap;
use std::time::Duration;

use orderly_domain::planted::{self, Bug};
use orderly_domain::port::log::{Delivery, LogReader, Record};
use orderly_domain::port::store::Claim;
use orderly_domain::{Fence, Offset, Partition, port};
use orderly_operators::Entry;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::dataflow::Feeder;
use crate::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::takeover::Takeover;

/// One a process. It owns the partitions' fences and numbers the epochs.
pub(crate) struct Reader {
    pub log: Box<dyn LogReader>,
    pub feeders: Vec<Feeder>,
    pub takeover: Takeover,
    pub in_flight: InFlight,
    pub assigned: watch::Sender<Vec<Partition>>,
    pub records_max: usize,
    /// The shortest time between the starts of two epochs, unless the second is full.
    pub linger: Duration,
    pub metrics: Metrics,
}

impl Reader {
    /// Reads until `stop` is set. Once the feeders are dropped, the dataflow drains.
    pub(crate) async fn run(&mut self, mut stop: watch::Receiver<bool>) -> port::Result<()> {
        let mut fences: HashMap<Partition, Fence> = HashMap::new();
        let mut next_epoch_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = tokio::time::sleep_until(next_epoch_at) => {}
            }
            let epoch = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                epoch = self.in_flight.enter() => epoch,
            };
            let delivery = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {
                    self.in_flight.leave_unused();
                    return Ok(());
                }
                delivery = self.log.next(self.records_max) => delivery?,
            };
            self.metrics.epochs_in_flight.set(i64::try_from(self.in_flight.epochs()).unwrap_or(i64::MAX));
            match delivery {
                Delivery::Records(records) => {
                    let full = records.len() >= self.records_max;
                    next_epoch_at = if full { Instant::now() } else { Instant::now() + self.linger };
                    #[allow(clippy::cast_precision_loss, reason = "an epoch has far fewer than 2^52 records")]
                    self.metrics.epoch_records.observe(records.len() as f64);
                    for (feeder, entries) in self.feeders.iter().zip(self.spread(records, &fences)) {
                        feeder.give(epoch, entries);
                    }
                }
                Delivery::Assigned(partitions) => {
                    self.in_flight.leave_unused();
                    drained(&self.in_flight).await;
                    let (claims, decided) = self.takeover.assume(&partitions, &mut fences).await?;
                    let from: Vec<_> = claims.iter().map(|claim| (claim.partition, first_offset(claim))).collect();
                    self.log.seek(&from).await?;
                    self.takeover.recognise(&decided).await?;
                    self.tell(&fences);
                }
                Delivery::Revoked(partitions) => {
                    self.in_flight.leave_unused();
                    drained(&self.in_flight).await;
                    fences.retain(|partition, _| !partitions.contains(partition));
                    self.takeover.leave(&partitions);
                    self.tell(&fences);
                }
            }
        }
    }

    /// Every worker's share; workers own partitions by `partition % workers`.
    fn spread(&self, records: Vec<Record>, fences: &HashMap<Partition, Fence>) -> Vec<Vec<Entry>> {
        let workers = self.feeders.len();
        let mut shares: Vec<Vec<Entry>> =
            self.feeders.iter().map(|_| Vec::with_capacity(records.len() / workers + 1)).collect();
        for Record { position, logged_at, payload } in records {
            // A record of a partition that is not ours any more is the next owner's.
            let Some(fence) = fences.get(&position.partition).copied() else { continue };
            shares[usize::from(position.partition) % workers].push(Entry { position, logged_at, fence, payload });
        }
        shares
    }

    fn tell(&self, fences: &HashMap<Partition, Fence>) {
        let mut partitions: Vec<_> = fences.keys().copied().collect();
        partitions.sort_unstable();
        self.assigned.send_replace(partitions);
    }
}

async fn drained(in_flight: &InFlight) {
    if !planted::is(Bug::RestoredInFlight) {
        in_flight.drained().await;
    }
}

/// Where reading goes on after a takeover.
fn first_offset(claim: &Claim) -> Offset {
    if planted::is(Bug::SeekSkipsOne) {
        return claim.next_offset + 1;
    }
    claim.next_offset.saturating_sub(u64::from(planted::is(Bug::SeekRepeatsOne)))
}
