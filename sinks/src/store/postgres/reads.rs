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

use super::error::Failure;
use super::rows::{self, Known, column, known, offset, partition, position, select_sessions};
use crate::store::codes;

/// Decisions of a partition from an offset on, which the table of days finds.
macro_rules! page {
    ($bound:literal) => {
        concat!(
            "(SELECT * FROM decisions WHERE partition = $1 AND log_offset >= $2 AND ",
            $bound,
            " COALESCE((SELECT l.day FROM decision_days AS l WHERE l.partition = $1 AND l.first_offset <= $2 ",
            "ORDER BY l.first_offset DESC LIMIT 1), '-infinity') ORDER BY day, log_offset LIMIT $3) AS d "
        )
    };
}

/// The columns of [`rows::committed`].
macro_rules! decision_columns {
    () => {
        "SELECT d.partition, d.log_offset, d.logged_at_us, d.decided_at_us, d.kind, d.outcome, d.reason, d.number, \
         d.ticket_id, s.session_id, d.patient_id, d.first_offset, d.corrected"
    };
}

/// The query for [`rows::decision`]: decisions with the appointments of their tickets' first bookings.
macro_rules! select_decisions {
    ($bound:literal) => {
        concat!(
            decision_columns!(),
            ", a.partition, a.log_offset, a.ticket_id, t.session_id, a.patient_id, a.number, a.status, ",
            "a.changed_partition, a.changed_offset, a.cause FROM ",
            page!($bound),
            "LEFT JOIN sessions AS s ON s.session_key = d.session_key ",
            "LEFT JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day = d.appointment_day ",
            "AND a.partition = d.partition AND a.log_offset = COALESCE(d.first_offset, d.log_offset) OFFSET 0) AS a ON TRUE ",
            "LEFT JOIN sessions AS t ON t.session_key = a.session_key ORDER BY d.log_offset"
        )
    };
}

/// See [`orderly_domain::port::Store::decisions`].
pub(super) async fn decisions(
    client: &ClientWrapper,
    partition: Partition,
    from: Offset,
    rows_max: usize,
) -> Result<Vec<DecisionRow>, Failure> {
    let (from, rows_max) = (i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(rows_max).unwrap_or(i64::MAX));
    let statement = client.prepare_cached(select_decisions!("day >=")).await?;
    let rows = client.query(&statement, &[&i32::from(partition), &from, &rows_max]).await?;
    rows.iter().map(rows::decision).collect()
}

/// See [`orderly_domain::port::Store::decision`].
pub(super) async fn decision(client: &ClientWrapper, at: Position) -> Result<Option<DecisionRow>, Failure> {
    let from = i64::try_from(at.offset).unwrap_or(i64::MAX);
    let statement = client.prepare_cached(select_decisions!("day =")).await?;
    let row = client.query_opt(&statement, &[&i32::from(at.partition), &from, &1_i64]).await?;
    let found = row.as_ref().map(rows::decision).transpose()?;
    Ok(found.filter(|row| row.decision.position == at))
}

/// The decisions of a commit that is there already, without what they changed.
pub(super) async fn committed(
    client: &ClientWrapper,
    advances: impl Iterator<Item = Advance>,
) -> Result<FxHashMap<Position, Committed>, Failure> {
    let statement = client
        .prepare_cached(concat!(
            decision_columns!(),
            " FROM ",
            page!("day >="),
            "LEFT JOIN sessions AS s ON s.session_key = d.session_key"
        ))
        .await?;
    let (client, statement) = (&**client, &statement);
    let lanes = try_join_all(advances.map(|advance| async move {
        let (from, rows) = (advance.from.cast_signed(), (advance.to - advance.from).cast_signed());
        client.query(statement, &[&i32::from(advance.partition), &from, &rows]).await
    }))
    .await?;
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
             CROSS JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day = ended.day \
             AND a.session_key = ended.session_key AND a.changed_partition = ended.partition \
             AND a.changed_offset = ended.log_offset AND a.status <> 0 OFFSET 0) AS a \
             ORDER BY a.partition, a.log_offset",
        )
        .await?;
    let mut released_by: FxHashMap<Position, Vec<Position>> = FxHashMap::default();
    for row in client.query(&released, &[&days, &keys, &partitions, &offsets]).await? {
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
            &[&i32::from(partition), &rows::utc_day(since), &since.as_micros(), &book, &duplicate, &tickets_max],
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
    // PostgreSQL's calendar begins later than the program's.
    let since = since.max(Date::constant(-4000, 1, 1));
    let rows = client.query(&statement, &[&since]).await?;
    rows.iter().map(|row| known(row).map(|known| known.state)).collect()
}

/// See [`orderly_domain::port::Store::appointments`].
pub(super) async fn appointments(client: &ClientWrapper, id: &SessionId) -> Result<Vec<Appointment>, Failure> {
    let statement = client
        .prepare_cached(
            "SELECT a.partition, a.log_offset, a.ticket_id, s.session_id, a.patient_id, a.number, a.status, \
             a.changed_partition, a.changed_offset, a.cause FROM sessions AS s CROSS JOIN LATERAL ( \
             SELECT * FROM appointments AS a WHERE a.day = s.day AND a.session_key = s.session_key AND a.status = 0 \
             UNION ALL \
             SELECT * FROM appointments AS a WHERE a.day = s.day AND a.session_key = s.session_key AND a.status <> 0) AS a \
             WHERE s.session_id = $1 ORDER BY a.partition, a.log_offset",
        )
        .await?;
    let rows = client.query(&statement, &[&id.as_str()]).await?;
    rows.iter().map(|row| rows::appointment(row, 0)).collect()
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
