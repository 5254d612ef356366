//! `orderly repartition`: carries the sessions that are still to come, and who holds which number in them, into a new log of
//! another number of partitions.

mod append;
mod carry;
mod compare;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::inventory::{PAST_AFTER_DAYS, Snapshot};
use orderly_domain::port::store::Progress;
use orderly_domain::port::{IntentLog, Store};
use orderly_domain::{Partition, Timestamp};
use orderly_sinks::{log, store};
use prometheus::Registry;

use crate::config::{Config, Profile};
use crate::edges::Past;

/// Carries what is still to come from the system of `from` into the empty one of `into`, whose pipelines decide it then.
///
/// # Errors
/// When something in the old log is not decided, when the new log or store has something already, or when one of them fails.
pub(crate) async fn run(from: &Config, into: &Config) -> anyhow::Result<()> {
    let past = Past::open(from).await.context("the old system")?;
    let done = carry_over(&past, into).await;
    past.close().await;
    let told = done?;
    writeln!(
        std::io::stdout().lock(),
        "{} sessions and {} appointments are in the new log, in {} records; {} sessions are over and stay behind.\n\
         Start the new pipelines, and before the new ingresses: orderly repartition --compare",
        told.sessions,
        told.appointments,
        told.records,
        told.over
    )?;
    Ok(())
}

async fn carry_over(past: &Past, into: &Config) -> anyhow::Result<append::Carried> {
    is_decided(&*past.log, &*past.store).await?;
    let target = Target::open(into).await.context("the new system")?;
    let log = Arc::clone(target.log());
    let carried = async {
        ensure!(
            log.extents().await?.iter().all(|extent| extent.end == 0),
            "the new log has records already; name a new topic, database and Redis (or data folder) in the file --into"
        );
        ensure!(
            progress_of(into).await.context("the new system")?.is_empty(),
            "the new store has decisions already; name a new database and Redis (or data folder) in the file --into"
        );
        let carried = append::all(&*past.store, &*log, System.now()).await?;
        // Somebody may have started what was stopped: what came meanwhile would be lost.
        is_decided(&*past.log, &*past.store)
            .await
            .context("the old system went on meanwhile; begin with another new log")?;
        Ok(carried)
    };
    let carried = carried.await;
    target.close().await;
    carried
}

/// What the store that is to be filled has decided. Makes the store where there is none.
async fn progress_of(config: &Config) -> anyhow::Result<Vec<Progress>> {
    let store: Box<dyn Store> = match config.profile {
        Profile::Embedded => {
            Box::new(store::sqlite::Store::open(&config.data, config.store_options(), &Registry::new())?)
        }
        Profile::Distributed => {
            Box::new(store::postgres::Store::open(config.postgres_options(), &Registry::new()).await?)
        }
    };
    Ok(store.progress().await?)
}

/// Compares the two systems once the new one has decided what was carried; true when everybody holds the number that they
/// held.
///
/// # Errors
/// When a store cannot be read, or the new pipelines are not done.
pub(crate) async fn compare(from: &Config, into: &Config) -> anyhow::Result<bool> {
    let (old, new) = (Past::open(from).await.context("the old system")?, Past::open(into).await);
    let new = new.context("the new system")?;
    let compared = async {
        is_decided(&*old.log, &*old.store).await.context("the old system")?;
        is_decided(&*new.log, &*new.store).await.context("the new system")?;
        compare::compare(&*old.store, &*new.store, System.now()).await
    };
    let compared = compared.await;
    old.close().await;
    new.close().await;
    let comparison = compared?;
    write!(std::io::stdout().lock(), "{}", comparison.to_text())?;
    Ok(comparison.is_same())
}

/// Refuses while a record waits for its decision: it would be lost, or compared too early.
async fn is_decided(log: &dyn IntentLog, store: &dyn Store) -> anyhow::Result<()> {
    let progress = store.progress().await?;
    for extent in log.extents().await? {
        let decided = progress.iter().find(|progress| progress.partition == extent.partition);
        let decided = decided.map_or(0, |progress| progress.next_offset);
        ensure!(
            decided >= extent.end,
            "{} records of partition {} are not decided yet; stop the ingresses, let the pipelines run, and wait until \
             `orderly check --idle` passes",
            extent.end - decided,
            extent.partition
        );
    }
    Ok(())
}

/// The sessions of a store that are not over, with who holds what in them; and how many are over.
async fn to_come(store: &dyn Store, now: Timestamp) -> anyhow::Result<(Vec<(Partition, Snapshot)>, usize)> {
    let today = now.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    // In no time zone is a session of an earlier day still on.
    let since = today.checked_sub(jiff::Span::new().days(PAST_AFTER_DAYS))?;
    let (mut found, mut over) = (Vec::new(), 0);
    for progress in store.progress().await? {
        for snapshot in store.snapshots(&[progress.partition], since).await? {
            if snapshot.session.ends_at > now {
                found.push((progress.partition, snapshot));
            } else {
                over += 1;
            }
        }
    }
    Ok((found, over))
}

/// The log that is filled.
enum Target {
    Embedded(Arc<log::sqlite::Log>, Arc<dyn IntentLog>),
    Distributed(Arc<log::kafka::Log>, Arc<dyn IntentLog>),
}

impl Target {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let registry = Registry::new();
        match config.profile {
            Profile::Embedded => {
                let log = log::sqlite::Log::open(&config.data, config.log_options(), Arc::new(System), &registry)?;
                let log = Arc::new(log);
                Ok(Self::Embedded(Arc::clone(&log), log))
            }
            Profile::Distributed => {
                let log = Arc::new(log::kafka::Log::open(config.kafka_options(), &registry).await?);
                Ok(Self::Distributed(Arc::clone(&log), log))
            }
        }
    }

    const fn log(&self) -> &Arc<dyn IntentLog> {
        match self {
            Self::Embedded(_, log) | Self::Distributed(_, log) => log,
        }
    }

    async fn close(&self) {
        match self {
            Self::Embedded(log, _) => log.close().await,
            Self::Distributed(log, _) => log.close().await,
        }
    }
}
