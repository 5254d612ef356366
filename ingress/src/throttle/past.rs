//! Requests that are past, as the log has them: to rehearse policies on.

use std::collections::HashMap;

use orderly_domain::port::log::Delivery;
use orderly_domain::port::{self, IntentLog, Store};
use orderly_domain::{CampusId, Command, SessionId, Timestamp, envelope};

use super::Arrival;

/// Records that are read at once.
const BATCH: usize = 8_192;

/// The bookings and cancellations among the newest `records_max` records of the log, ascending by time; `read` is told how
/// many records were read, and of how many. Those who were throttled do not lie in the log, and neither do addresses.
///
/// # Errors
/// When the log or the store cannot be read.
pub async fn past(
    log: &dyn IntentLog,
    store: &dyn Store,
    records_max: u64,
    read: &(dyn Fn(u64, u64) + Sync),
) -> port::Result<Vec<Arrival>> {
    let extents = log.extents().await?;
    let each = records_max / (extents.len() as u64).max(1);
    let starts: Vec<_> =
        extents.iter().map(|extent| (extent.partition, extent.start.max(extent.end.saturating_sub(each)))).collect();
    let all: u64 = extents.iter().zip(&starts).map(|(extent, (_, start))| extent.end - start).sum();
    let mut sessions: HashMap<SessionId, (CampusId, Timestamp)> = HashMap::new();
    for known in store.sessions(jiff::civil::Date::MIN).await? {
        sessions.insert(known.session.session_id, (known.session.campus, known.session.release_at));
    }
    let mut arrivals = Vec::new();
    if all == 0 {
        return Ok(arrivals);
    }
    let mut reader = log.scan(&starts).await?;
    let mut missing = all;
    while missing > 0 {
        // A scan is not told of assignments.
        let Delivery::Records(records) = reader.next(BATCH).await? else { continue };
        missing -= (records.len() as u64).min(missing);
        read(all - missing, all);
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
    arrivals.sort_by_key(|arrival| arrival.at);
    Ok(arrivals)
}
