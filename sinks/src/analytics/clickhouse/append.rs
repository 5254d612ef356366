//! Rows on their way into the table.

use clickhouse::Row as Table;
use orderly_domain::port::analytics::Row;
use orderly_domain::port::{self, Result};
use orderly_domain::{Offset, Partition, Position, Timestamp};
use serde::Serialize;

use super::error;
use super::server::Server;

/// One row of the table, in the order of its columns.
#[derive(Serialize, Table)]
struct Entry<'a> {
    partition: Partition,
    log_offset: Offset,
    logged_at_ms: i64,
    decided_at_ms: i64,
    wait_ms: i64,
    kind: &'a str,
    outcome: &'a str,
    reason: Option<&'a str>,
    number: Option<u32>,
    repeat: u8,
    session_id: Option<&'a str>,
    doctor_id: Option<&'a str>,
    doctor_name: Option<&'a str>,
    department: Option<&'a str>,
    campus: Option<&'a str>,
    day: Option<&'a str>,
    capacity: Option<u32>,
    release_at_ms: Option<i64>,
    patient: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// `day` is the text of the session's day.
    fn new(row: &'a Row, day: Option<&'a str>) -> Self {
        let session = row.session.as_ref();
        let session_id = session.map(|session| &session.session_id).or(row.session_id.as_ref());
        Self {
            partition: row.position.partition,
            log_offset: row.position.offset,
            logged_at_ms: row.logged_at.as_millis(),
            decided_at_ms: row.decided_at.as_millis(),
            wait_ms: i64::try_from(row.decided_at.since(row.logged_at).as_millis()).unwrap_or(i64::MAX),
            kind: row.kind.as_str(),
            outcome: row.outcome.as_str(),
            reason: row.outcome.reason().map(|reason| reason.as_str()),
            number: row.outcome.number(),
            repeat: row.repeat.into(),
            session_id: session_id.map(|id| id.as_str()),
            doctor_id: session.map(|session| session.doctor_id.as_str()),
            doctor_name: session.map(|session| session.doctor_name.as_str()),
            department: session.map(|session| session.department.as_str()),
            campus: session.map(|session| session.campus.as_str()),
            day,
            capacity: session.map(|session| session.capacity),
            release_at_ms: session.map(|session| session.release_at.as_millis()),
            patient: row.patient.as_deref(),
        }
    }
}

/// Refuses rows that are not of one partition, ascending and without gaps.
pub(super) fn check(rows: &[Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let partition = first.position.partition;
    for (row, offset) in rows.iter().zip(first.position.offset..) {
        if row.position != (Position { partition, offset }) {
            return Err(port::Error::Conflict { expected: row.position.offset, found: offset });
        }
    }
    Ok(())
}

/// Cuts rows into batches. The same rows make the same batches, and each lies in one month: one part of the table.
pub(super) fn batches(rows: &[Row], rows_max: usize) -> impl Iterator<Item = &[Row]> {
    let same_month =
        |a: &Row, b: &Row| a.logged_at.utc_day() == b.logged_at.utc_day() || month(a.logged_at) == month(b.logged_at);
    rows.chunk_by(same_month).flat_map(move |rows| rows.chunks(rows_max.max(1)))
}

fn month(time: Timestamp) -> (i16, i8) {
    let date = time.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    (date.year(), date.month())
}

/// Inserts one batch, and returns when the server has it.
pub(super) async fn insert(server: &Server, rows: &[Row]) -> Result<()> {
    let options = server.options();
    // The first insert asks a server of today for the table's columns; nothing is written yet.
    let begin = tokio::time::timeout(options.timeout, server.inserts().insert::<Entry<'_>>("decisions")).await;
    let insert = begin.map_err(|_| error::no_answer(&options.url, options.timeout))?;
    let insert = insert.map_err(|error| error::of_read(&options.url, &error))?;
    let work = async {
        let mut insert = insert.with_timeouts(Some(options.append_timeout), Some(options.append_timeout));
        for row in rows {
            let day = row.session.as_ref().map(|session| session.day.to_string());
            insert.write(&Entry::new(row, day.as_deref())).await?;
        }
        insert.end().await
    };
    work.await.map_err(|error| error::of_insert(&options.url, &error))
}

#[cfg(test)]
mod tests {
    use orderly_domain::command::Kind;
    use orderly_domain::{Outcome, Reason};

    use super::*;

    fn row(offset: Offset, logged_at: &str) -> Row {
        let logged_at: jiff::Timestamp = logged_at.parse().unwrap();
        Row {
            position: Position { partition: 0, offset },
            logged_at: logged_at.into(),
            decided_at: logged_at.into(),
            kind: Kind::Malformed,
            patient: None,
            outcome: Outcome::Rejected(Reason::Malformed),
            repeat: false,
            session_id: None,
            session: None,
        }
    }

    #[test]
    fn a_batch_never_crosses_a_month() {
        let rows = [
            row(0, "2026-10-30T00:00:00Z"),
            row(1, "2026-10-31T23:59:59.999Z"),
            row(2, "2026-11-01T00:00:00Z"),
            row(3, "2026-11-01T00:00:01Z"),
            row(4, "2026-11-30T00:00:00Z"),
            row(5, "2027-11-30T00:00:00Z"),
        ];
        let sizes = |rows_max| batches(&rows, rows_max).map(<[Row]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(100), [2, 3, 1]);
        assert_eq!(sizes(2), [2, 2, 1, 1]);
        assert_eq!(sizes(0), [1, 1, 1, 1, 1, 1]);
        assert_eq!(batches(&[], 5).count(), 0);
    }
}
