//! Requests that are past: what the log has of them, or what an ingress recorded.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;
use orderly_domain::port::log::Delivery;
use orderly_domain::port::{IntentLog, Store};
use orderly_domain::{CampusId, Command, SessionId, Timestamp, envelope};
use orderly_ingress::throttle::Arrival;

use crate::bar::bar;

/// Records that are read at once.
const BATCH: usize = 8_192;

/// The bookings and cancellations that lie in the log, ascending by time. Those that were throttled do not.
///
/// # Errors
/// When the log or the store cannot be read.
pub(super) async fn of_log(log: &dyn IntentLog, store: &dyn Store) -> anyhow::Result<Vec<Arrival>> {
    let extents = log.extents().await?;
    let starts: Vec<_> = extents.iter().map(|extent| (extent.partition, extent.start)).collect();
    let mut missing: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    let mut sessions: HashMap<SessionId, (CampusId, Timestamp)> = HashMap::new();
    for known in store.sessions(jiff::civil::Date::MIN).await? {
        sessions.insert(known.session.session_id, (known.session.campus, known.session.release_at));
    }
    let mut arrivals = Vec::new();
    if missing == 0 {
        return Ok(arrivals);
    }
    let mut reader = log.scan(&starts).await?;
    let bar = bar(missing, "read")?;
    while missing > 0 {
        // A scan is not told of assignments.
        let Delivery::Records(records) = reader.next(BATCH).await? else { continue };
        let read = (records.len() as u64).min(missing);
        (missing, _) = (missing - read, bar.inc(read));
        for record in records {
            // What cannot be read was never a request of anybody.
            let Ok(intent) = envelope::decode(&record.payload) else { continue };
            let (patient, session) = match intent.command {
                Command::Book(book) => (book.patient_id, book.session),
                Command::Cancel(cancel) => (cancel.patient_id, cancel.session),
                Command::OpenSession(opened) => {
                    sessions.insert(opened.session_id.clone(), (opened.campus, opened.release_at));
                    continue;
                }
                Command::CloseSession(_) | Command::ChangeCapacity(_) => continue,
            };
            let known = sessions.get(&session.session_id);
            arrivals.push(Arrival {
                at: record.logged_at,
                patient,
                doctor: session.doctor_id,
                department: session.department,
                campus: known.map(|(campus, _)| campus.clone()),
                release_at: known.map(|(_, release_at)| *release_at),
                address: None,
                client: None,
                level: None,
            });
        }
    }
    bar.finish_and_clear();
    arrivals.sort_by_key(|arrival| arrival.at);
    Ok(arrivals)
}

/// What an ingress recorded (`ingress.arrivals_file`), ascending by time.
///
/// # Errors
/// When the file cannot be read, or a line of it is no arrival.
pub(super) fn of_trace(path: &Path) -> anyhow::Result<Vec<Arrival>> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("the trace {name} cannot be read; check the path"))?;
    let mut arrivals = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("the trace {name} cannot be read"))?;
        if line.trim().is_empty() {
            continue;
        }
        let arrival: Arrival = serde_json::from_str(&line)
            .with_context(|| format!("line {} of {name} is not a recorded request", index + 1))?;
        arrivals.push(arrival);
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    Ok(arrivals)
}
