//! What can be asked of the store.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use futures::future::{try_join, try_join_all};
use jiff::civil::Date;
use orderly_domain::command::Kind;
use orderly_domain::inventory::{Holding, Snapshot};
use orderly_domain::port::store::{
    Advance, Appointment, Committed, DecisionRow, PolicyVersion, Progress, SeenTicket, SessionState,
};
use orderly_domain::{Offset, Partition, Position, Reason, SessionId, Timestamp};
use rustc_hash::FxHashMap;
use tokio_postgres::Row;

use super::error::Failure;
use super::rows::{self, Known, appointment_columns, column, known, offset, partition, position, select_sessions};
use crate::store::codes;

/// Decisions of a partition, from the first that is kept at `from` or after it, and on days that are known: a query that names
/// its days looks into no other table, however many days are kept.
async fn page(
    client: &ClientWrapper,
    partition: Partition,
    from: Offset,
    rows_max: usize,
) -> Result<Vec<Row>, Failure> {
    let find = client
        .prepare_cached(
            "SELECT (SELECT day FROM decision_days WHERE partition = $1 AND first_offset <= $2 \
             ORDER BY first_offset DESC LIMIT 1), \
             (SELECT day FROM decision_days WHERE partition = $1 AND first_offset < $3 \
             ORDER BY first_offset DESC LIMIT 1), \
             (SELECT MIN(first_offset) FROM decision_days WHERE partition = $1)",
        )
        .await?;
    let select = client
        .prepare_cached(
            "SELECT d.partition, d.log_offset, d.logged_at_us, d.decided_at_us, d.kind, d.outcome, d.reason, d.number, \
             d.ticket_id, s.session_id, d.patient_id, d.first_offset, d.corrected, d.appointment_day \
             FROM (SELECT * FROM decisions WHERE day BETWEEN $1 AND $2 AND partition = $3 AND log_offset >= $4 \
             ORDER BY day, log_offset LIMIT $5) AS d \
             LEFT JOIN sessions AS s ON s.session_key = d.session_key ORDER BY d.log_offset",
        )
        .await?;
    let (partition, rows_max) = (i32::from(partition), i64::try_from(rows_max).unwrap_or(i64::MAX));
    let mut from = i64::try_from(from).unwrap_or(i64::MAX);
    loop {
        let found = client.query_one(&find, &[&partition, &from, &from.saturating_add(rows_max)]).await?;
        match (column::<Option<Date>>(&found, 0)?, column::<Option<Date>>(&found, 1)?, column(&found, 2)?) {
            (Some(since), Some(until), _) => {
                return Ok(client.query(&select, &[&since, &until, &partition, &from, &rows_max]).await?);
            }
            // What came before was dropped.
            (None, _, Some(first)) => from = first,
            _ => return Ok(Vec::new()),
        }
    }
}

/// See [`orderly_domain::port::Store::decisions`].
pub(super) async fn decisions(
    client: &ClientWrapper,
    partition: Partition,
    from: Offset,
    rows_max: usize,
) -> Result<Vec<DecisionRow>, Failure> {
    let rows = page(client, partition, from, rows_max).await?;
    let mut decisions = rows.iter().map(rows::decision).collect::<Result<Vec<_>, _>>()?;
    let mut wanted: Vec<(Date, Position)> = Vec::new();
    for (row, DecisionRow { decision, .. }) in rows.iter().zip(&decisions) {
        if let Some(day) = column::<Option<Date>>(row, 13)? {
            wanted.push((day, booking(decision)));
        }
    }
    if wanted.is_empty() {
        return Ok(decisions);
    }
    let select = client
        .prepare_cached(concat!(
            "SELECT ",
            appointment_columns!(),
            " FROM unnest($1::date[], $2::int4[], $3::int8[]) AS wanted (day, partition, log_offset) ",
            "CROSS JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day BETWEEN $4 AND $5 AND a.day = wanted.day ",
            "AND a.partition = wanted.partition AND a.log_offset = wanted.log_offset OFFSET 0) AS a ",
            "JOIN sessions AS s ON s.session_key = a.session_key"
        ))
        .await?;
    wanted.sort_unstable();
    wanted.dedup();
    let days: Vec<Date> = wanted.iter().map(|(day, _)| *day).collect();
    let partitions: Vec<i32> = wanted.iter().map(|(_, at)| at.partition.into()).collect();
    let offsets: Vec<i64> = wanted.iter().map(|(_, at)| at.offset.cast_signed()).collect();
    let found = client.query(&select, &[&days, &partitions, &offsets, &days.first(), &days.last()]).await?;
    let mut appointments: FxHashMap<Position, Appointment> = FxHashMap::default();
    for row in &found {
        let appointment = rows::appointment(row)?;
        appointments.insert(appointment.position, appointment);
    }
    for row in &mut decisions {
        row.appointment = appointments.get(&booking(&row.decision)).cloned();
    }
    Ok(decisions)
}

/// The first record of a decision's ticket.
fn booking(decision: &Committed) -> Position {
    Position { offset: decision.first.unwrap_or(decision.position.offset), ..decision.position }
}

/// See [`orderly_domain::port::Store::decision`].
pub(super) async fn decision(client: &ClientWrapper, at: Position) -> Result<Option<DecisionRow>, Failure> {
    let found = decisions(client, at.partition, at.offset, 1).await?.pop();
    Ok(found.filter(|row| row.decision.position == at))
}

/// The decisions of a commit that is there already, without what they changed.
pub(super) async fn committed(
    client: &ClientWrapper,
    advances: impl Iterator<Item = Advance>,
) -> Result<FxHashMap<Position, Committed>, Failure> {
    let lanes = advances.map(|Advance { partition, from, to, .. }| {
        page(client, partition, from, usize::try_from(to - from).unwrap_or(usize::MAX))
    });
    let lanes = try_join_all(lanes).await?;
    lanes.iter().flatten().map(|row| rows::committed(row).map(|answer| (answer.position, answer))).collect()
}

/// Adds to answers that were read what their decisions changed.
pub(super) async fn add_changes(client: &ClientWrapper, answers: &mut [Committed]) -> Result<(), Failure> {
    let changing = |answer: &Committed| answer.first.is_none() && answer.outcome.reason().is_none();
    let mut ids: Vec<SessionId> =
        answers.iter().filter(|answer| changing(answer)).filter_map(|answer| answer.session_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let find = client.prepare_cached(select_sessions!("WHERE session_id = ANY($1)")).await?;
    let found = client.query(&find, &[&rows::words(&ids)]).await?;
    let found = found.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    let sessions: FxHashMap<&SessionId, &Known> =
        found.iter().map(|known| (&known.state.session.session_id, known)).collect();

    let ending = answers.iter().filter(|answer| changing(answer) && answer.kind != Kind::Book);
    let ending: Vec<_> =
        ending.filter_map(|answer| Some((*sessions.get(answer.session_id.as_ref()?)?, answer.position))).collect();
    let days: Vec<Date> = ending.iter().map(|(known, _)| known.state.session.day).collect();
    let keys: Vec<i64> = ending.iter().map(|(known, _)| known.key).collect();
    let partitions: Vec<i32> = ending.iter().map(|(_, at)| at.partition.into()).collect();
    let offsets: Vec<i64> = ending.iter().map(|(_, at)| at.offset.cast_signed()).collect();
    let released = client
        .prepare_cached(
            "SELECT ended.partition, ended.log_offset, a.partition, a.log_offset \
             FROM unnest($1::date[], $2::int8[], $3::int4[], $4::int8[]) \
             AS ended (day, session_key, partition, log_offset) \
             CROSS JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day BETWEEN $5 AND $6 AND a.day = ended.day \
             AND a.session_key = ended.session_key AND a.changed_partition = ended.partition \
             AND a.changed_offset = ended.log_offset AND a.status <> 0 OFFSET 0) AS a \
             ORDER BY a.partition, a.log_offset",
        )
        .await?;
    let mut released_by: FxHashMap<Position, Vec<Position>> = FxHashMap::default();
    let (since, until) = (days.iter().min(), days.iter().max());
    for row in client.query(&released, &[&days, &keys, &partitions, &offsets, &since, &until]).await? {
        released_by.entry(position(&row, 0)?).or_default().push(position(&row, 2)?);
    }
    for answer in answers.iter_mut().filter(|answer| changing(answer)) {
        answer.released = released_by.remove(&answer.position).unwrap_or_default();
        if answer.kind != Kind::Cancel || !answer.released.is_empty() {
            let known = answer.session_id.as_ref().and_then(|id| sessions.get(id));
            answer.session = known.map(|known| known.state.clone());
        }
    }
    Ok(())
}

/// See [`orderly_domain::port::Store::seen_tickets`].
pub(super) async fn seen_tickets(
    client: &ClientWrapper,
    partition: Partition,
    since: Timestamp,
    tickets_max: usize,
) -> Result<Vec<SeenTicket>, Failure> {
    let statement = client
        .prepare_cached(
            "SELECT d.ticket_id, d.log_offset, d.logged_at_us, s.session_id \
             FROM (SELECT * FROM decisions WHERE partition = $1 AND day >= $2 AND logged_at_us >= $3 AND kind = $4 \
             AND first_offset IS NULL AND reason IS DISTINCT FROM $5 ORDER BY day DESC, log_offset DESC LIMIT $6) AS d \
             LEFT JOIN sessions AS s ON s.session_key = d.session_key ORDER BY d.log_offset",
        )
        .await?;
    let (book, duplicate) = (i16::from(codes::kind(Kind::Book)), i16::from(codes::reason(Reason::Duplicate)));
    let tickets_max = i64::try_from(tickets_max).unwrap_or(i64::MAX);
    let rows = client
        .query(
            &statement,
            &[
                &i32::from(partition),
                &rows::known_day(rows::utc_day(since)),
                &since.as_micros(),
                &book,
                &duplicate,
                &tickets_max,
            ],
        )
        .await?;
    let seen = |row| {
        Ok(SeenTicket {
            ticket: rows::ticket_id(row, 0)?,
            first: offset(row, 1)?,
            logged_at: rows::moment(row, 2)?,
            session_id: rows::maybe_text(row, 3)?,
        })
    };
    rows.iter().map(seen).collect()
}

/// See [`orderly_domain::port::Store::snapshots`]. Both queries see the same moment.
pub(super) async fn snapshots(
    client: &ClientWrapper,
    partitions: &[Partition],
    since: Date,
) -> Result<Vec<Snapshot>, Failure> {
    let partitions: Vec<i32> = partitions.iter().map(|partition| i32::from(*partition)).collect();
    let since = rows::known_day(since);
    let find =
        client.prepare_cached(select_sessions!("WHERE day >= $1 AND partition = ANY($2) ORDER BY session_key")).await?;
    let held = client
        .prepare_cached(
            "SELECT s.session_key, a.ticket_id, a.patient_id, a.number, a.log_offset, a.status = 0 \
             FROM sessions AS s CROSS JOIN LATERAL ( \
             SELECT * FROM appointments AS a WHERE a.day >= $1 AND a.day = s.day AND a.session_key = s.session_key \
             AND a.status = 0 \
             UNION ALL \
             SELECT * FROM appointments AS a WHERE a.day >= $1 AND a.day = s.day AND a.session_key = s.session_key \
             AND a.status <> 0) AS a \
             WHERE s.day >= $1 AND s.partition = ANY($2) ORDER BY s.session_key, a.partition, a.log_offset",
        )
        .await?;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (sessions, holdings) =
        try_join(client.query(&find, &[&since, &partitions]), client.query(&held, &[&since, &partitions])).await?;
    client.batch_execute("COMMIT").await?;
    let mut of_session: BTreeMap<i64, Vec<Holding>> = BTreeMap::new();
    for row in &holdings {
        of_session.entry(column(row, 0)?).or_default().push(Holding {
            ticket: rows::ticket_id(row, 1)?,
            patient_id: rows::text(row, 2)?,
            number: rows::count(row, 3)?,
            booked_at: offset(row, 4)?,
            active: column(row, 5)?,
        });
    }
    let snapshot = |row| {
        let Known { key, state, .. } = known(row)?;
        let holdings = of_session.remove(&key).unwrap_or_default();
        Ok(Snapshot { session: state.session, closed: state.closed, holdings })
    };
    sessions.iter().map(snapshot).collect()
}

/// See [`orderly_domain::port::Store::sessions`].
pub(super) async fn sessions(client: &ClientWrapper, since: Date) -> Result<Vec<SessionState>, Failure> {
    let statement = client.prepare_cached(select_sessions!("WHERE day >= $1 ORDER BY session_key")).await?;
    let since = rows::known_day(since);
    let rows = client.query(&statement, &[&since]).await?;
    rows.iter().map(|row| known(row).map(|known| known.state)).collect()
}

/// See [`orderly_domain::port::Store::appointments`].
pub(super) async fn appointments(client: &ClientWrapper, id: &SessionId) -> Result<Vec<Appointment>, Failure> {
    let find = client.prepare_cached("SELECT session_key, day FROM sessions WHERE session_id = $1").await?;
    let select = client
        .prepare_cached(concat!(
            "SELECT ",
            appointment_columns!(),
            " FROM (SELECT * FROM appointments WHERE day = $2 AND session_key = $1 AND status = 0 ",
            "UNION ALL SELECT * FROM appointments WHERE day = $2 AND session_key = $1 AND status <> 0) AS a ",
            "JOIN sessions AS s ON s.session_key = $1 ORDER BY a.partition, a.log_offset"
        ))
        .await?;
    let Some(session) = client.query_opt(&find, &[&id.as_str()]).await? else { return Ok(Vec::new()) };
    let (key, day) = (column::<i64>(&session, 0)?, column::<Date>(&session, 1)?);
    client.query(&select, &[&key, &day]).await?.iter().map(rows::appointment).collect()
}

/// See [`orderly_domain::port::Store::progress`].
pub(super) async fn progress(client: &ClientWrapper) -> Result<Vec<Progress>, Failure> {
    let statement = client
        .prepare_cached(
            "SELECT partition, fence, owner, next_offset, published_offset FROM partitions ORDER BY partition",
        )
        .await?;
    let progress = |row| {
        Ok(Progress {
            partition: partition(row, 0)?,
            fence: offset(row, 1)?,
            owner: column(row, 2)?,
            next_offset: offset(row, 3)?,
            published_offset: offset(row, 4)?,
        })
    };
    client.query(&statement, &[]).await?.iter().map(progress).collect()
}

/// See [`orderly_domain::port::Store::policies`].
pub(super) async fn policies(client: &ClientWrapper, rows_max: usize) -> Result<Vec<PolicyVersion>, Failure> {
    let statement = client
        .prepare_cached(
            "SELECT version, document, author, reason, set_at_us FROM policies ORDER BY version DESC LIMIT $1",
        )
        .await?;
    let policy = |row| {
        Ok(PolicyVersion {
            version: offset(row, 0)?,
            document: column(row, 1)?,
            author: column(row, 2)?,
            reason: column(row, 3)?,
            set_at: rows::moment(row, 4)?,
        })
    };
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    client.query(&statement, &[&rows_max]).await?.iter().map(policy).collect()
}
