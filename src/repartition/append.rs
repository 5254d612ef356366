//! Appends what is carried over.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::{IntentLog, Store};
use orderly_domain::{DoctorId, Partition, Position, Timestamp, partition_of};

use super::carry::{self, Given};
use super::to_come;

/// Doctors whose records are appended at once: each one's after the other, as they must lie.
const DOCTORS_AT_ONCE: usize = 64;

/// What was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) sessions: usize,
    pub(super) appointments: usize,
    pub(super) records: usize,
    /// Sessions that are over.
    pub(super) over: usize,
}

/// Appends all sessions of a store that are still to come, and who holds what in them.
///
/// # Errors
/// When the store cannot be read, or the log does not take a record for sure: then a new one has to be begun.
pub(super) async fn all(store: &dyn Store, log: &dyn IntentLog, now: Timestamp) -> anyhow::Result<Carried> {
    let (found, over) = to_come(store, now).await?;
    let mut doctors: BTreeMap<DoctorId, Vec<(Partition, Snapshot)>> = BTreeMap::new();
    for (partition, snapshot) in found {
        doctors.entry(snapshot.session.doctor_id.clone()).or_default().push((partition, snapshot));
    }
    let appends = futures::stream::iter(doctors).map(|(doctor, sessions)| async move {
        let mut carried = Carried::default();
        for (partition, snapshot) in sessions {
            let mut given = given(store, partition, &snapshot).await?;
            let commands = carry::commands(&snapshot, &mut given, now);
            carried.sessions += 1;
            carried.appointments += snapshot.holdings.iter().filter(|holding| holding.active).count();
            carried.records += commands.len();
            for command in commands {
                let intent = Intent { requested_by: "orderly repartition".to_owned(), command };
                let appended =
                    log.append(partition_of(&doctor, log.partitions()), doctor.as_str(), encode(&intent)).await;
                appended.context("the new log is filled in part; begin with another one")?;
            }
        }
        anyhow::Ok(carried)
    });
    let add = |sum: Carried, one: Carried| async move {
        anyhow::Ok(Carried {
            sessions: sum.sessions + one.sessions,
            appointments: sum.appointments + one.appointments,
            records: sum.records + one.records,
            ..sum
        })
    };
    appends.buffer_unordered(DOCTORS_AT_ONCE).try_fold(Carried { over, ..Carried::default() }, add).await
}

/// What is kept of the patients who hold a session's numbers.
pub(super) async fn given(store: &dyn Store, partition: Partition, snapshot: &Snapshot) -> anyhow::Result<Given> {
    let active = snapshot.holdings.iter().filter(|holding| holding.active);
    let of: Vec<_> = active.map(|holding| Position { partition, offset: holding.booked_at }).collect();
    Ok(store.details(&of).await?.into_iter().map(|details| (details.ticket, details.fields)).collect())
}
