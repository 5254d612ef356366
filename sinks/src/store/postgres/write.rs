//! What a commit writes: the net effect of its decisions, set by set.

use std::pin::pin;

use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use futures::SinkExt as _;
use futures::future::{try_join, try_join3, try_join5};
use jiff::civil::{Date, Time};
use orderly_domain::port::store::Committed;
use orderly_domain::{Command, Decision, Partition, Position};
use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};

use super::books::{Fate, Holding};
use super::commit::{Deciding, Filed};
use super::copy::Rows;
use super::details;
use super::error::Failure;
use super::rows::Known;
use crate::store::codes;

/// How far a commit takes a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advanced {
    pub(super) partition: Partition,
    pub(super) next_offset: i64,
    pub(super) published_offset: i64,
    /// The day of its newest decision.
    pub(super) day: Option<Date>,
}

/// What a commit's sets are written with; prepared before the first row is sent, since nothing else goes over a connection
/// while it copies.
struct Statements {
    copy_decisions: Statement,
    upsert_sessions: Statement,
    end_holdings: Statement,
    insert_holdings: Statement,
    insert_tickets: Statement,
    advance: Statement,
    insert_days: Statement,
}

impl Statements {
    async fn prepare(client: &ClientWrapper) -> Result<Self, Failure> {
        Ok(Self {
            copy_decisions: client.prepare_cached(COPY_DECISIONS).await?,
            upsert_sessions: client.prepare_cached(UPSERT_SESSIONS).await?,
            end_holdings: client.prepare_cached(END_HOLDINGS).await?,
            insert_holdings: client.prepare_cached(INSERT_HOLDINGS).await?,
            insert_tickets: client.prepare_cached(INSERT_TICKETS).await?,
            advance: client.prepare_cached(ADVANCE).await?,
            insert_days: client.prepare_cached(INSERT_DAYS).await?,
        })
    }
}

/// Writes the decisions, each as soon as it is applied, and then their effects. When this returns, all is there to be
/// committed.
pub(super) async fn all(client: &ClientWrapper, deciding: &mut Deciding<'_>) -> Result<(), Failure> {
    let statements = Statements::prepare(client).await?;
    let mut sink = pin!(client.copy_in::<_, Bytes>(&statements.copy_decisions).await?);
    let mut rows = Rows::new(&DECISION_TYPES);
    while let Some((decision, answer, filed)) = deciding.next()? {
        if let Some(piece) = push(&mut rows, decision, answer, filed)? {
            sink.feed(piece).await?;
        }
    }
    sink.feed(rows.end()).await?;
    try_join(async { Ok(sink.finish().await.map(drop)?) }, effects(client, &statements, deciding)).await?;
    Ok(())
}

/// Writes everything but the decisions. All is sent at once, in this order: a number that is freed may be taken again.
async fn effects(client: &ClientWrapper, statements: &Statements, deciding: &Deciding<'_>) -> Result<(), Failure> {
    let (sessions, ended, made) = (
        deciding.books.changed_sessions(),
        deciding.books.holdings(Fate::Changed),
        deciding.books.holdings(Fate::Made),
    );
    let advanced = deciding.advanced();
    try_join5(
        write_sessions(client, &statements.upsert_sessions, &sessions),
        write_ended(client, &statements.end_holdings, &ended),
        write_made(client, &statements.insert_holdings, &made),
        write_tickets(client, &statements.insert_tickets, &made),
        try_join3(
            write_advances(client, &statements.advance, &advanced),
            write_days(client, &statements.insert_days, deciding.new_days()),
            details::write(client, deciding, &ended),
        ),
    )
    .await?;
    Ok(())
}

async fn execute(
    client: &ClientWrapper,
    statement: &Statement,
    rows: usize,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), Failure> {
    if rows > 0 {
        client.execute(statement, params).await?;
    }
    Ok(())
}

/// Inserts rows that another node's may stand in the way of. Nothing is said of which, so that no patient's name gets into
/// the server's log.
async fn insert(
    client: &ClientWrapper,
    statement: &Statement,
    rows: usize,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), Failure> {
    if rows == 0 || client.execute(statement, params).await? == rows as u64 { Ok(()) } else { Err(Failure::Overtaken) }
}

/// One column of a set.
fn column<T, V>(rows: &[T], value: impl FnMut(&T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

const UPSERT_SESSIONS: &str = "\
    INSERT INTO sessions (session_key, session_id, doctor_id, doctor_name, department, campus, day, start_time, end_time, \
    timezone, capacity, release_at_us, ends_at_us, exclusivity, closed, booked, partition, changed_partition, \
    changed_offset) \
    SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], \
    $8::time[], $9::time[], $10::text[], $11::int4[], $12::int8[], $13::int8[], $14::int2[], $15::bool[], $16::int4[], \
    $17::int4[], $18::int4[], $19::int8[]) \
    ON CONFLICT (session_key) DO UPDATE SET doctor_name = excluded.doctor_name, campus = excluded.campus, \
    start_time = excluded.start_time, end_time = excluded.end_time, timezone = excluded.timezone, \
    capacity = excluded.capacity, release_at_us = excluded.release_at_us, ends_at_us = excluded.ends_at_us, \
    closed = excluded.closed, booked = excluded.booked, changed_partition = excluded.changed_partition, \
    changed_offset = excluded.changed_offset";

async fn write_sessions(client: &ClientWrapper, statement: &Statement, sessions: &[&Known]) -> Result<(), Failure> {
    let keys: Vec<i64> = column(sessions, |known| known.key);
    let ids: Vec<&str> = column(sessions, |known| known.state.session.session_id.as_str());
    let doctors: Vec<&str> = column(sessions, |known| known.state.session.doctor_id.as_str());
    let doctor_names: Vec<&str> = column(sessions, |known| known.state.session.doctor_name.as_str());
    let departments: Vec<&str> = column(sessions, |known| known.state.session.department.as_str());
    let campuses: Vec<&str> = column(sessions, |known| known.state.session.campus.as_str());
    let days: Vec<Date> = column(sessions, |known| known.state.session.day);
    let starts: Vec<Time> = column(sessions, |known| known.state.session.start);
    let ends: Vec<Time> = column(sessions, |known| known.state.session.end);
    let timezones: Vec<&str> = column(sessions, |known| known.state.session.timezone.as_str());
    let capacities: Vec<i32> = column(sessions, |known| known.state.session.capacity.cast_signed());
    let releases: Vec<i64> = column(sessions, |known| known.state.session.release_at.as_micros());
    let ends_at: Vec<i64> = column(sessions, |known| known.state.session.ends_at.as_micros());
    let rules: Vec<i16> = column(sessions, |known| codes::exclusivity(known.state.session.exclusivity).into());
    let closed: Vec<bool> = column(sessions, |known| known.state.closed);
    let booked: Vec<i32> = column(sessions, |known| known.state.booked.cast_signed());
    let partitions: Vec<i32> = column(sessions, |known| known.partition.into());
    let changed_partitions: Vec<i32> = column(sessions, |known| known.state.changed_at.partition.into());
    let changed_offsets: Vec<i64> = column(sessions, |known| known.state.changed_at.offset.cast_signed());
    execute(
        client,
        statement,
        sessions.len(),
        &[
            &keys,
            &ids,
            &doctors,
            &doctor_names,
            &departments,
            &campuses,
            &days,
            &starts,
            &ends,
            &timezones,
            &capacities,
            &releases,
            &ends_at,
            &rules,
            &closed,
            &booked,
            &partitions,
            &changed_partitions,
            &changed_offsets,
        ],
    )
    .await
}

const END_HOLDINGS: &str = "\
    UPDATE appointments AS a SET status = ended.status, changed_partition = ended.changed_partition, \
    changed_offset = ended.changed_offset, cause = ended.cause \
    FROM unnest($1::date[], $2::int4[], $3::int8[], $4::int2[], $5::int4[], $6::int8[], $7::text[]) \
    AS ended (day, partition, log_offset, status, changed_partition, changed_offset, cause) \
    WHERE a.day BETWEEN $8 AND $9 AND a.day = ended.day AND a.partition = ended.partition \
    AND a.log_offset = ended.log_offset";

async fn write_ended(client: &ClientWrapper, statement: &Statement, ended: &[&Holding]) -> Result<(), Failure> {
    let days: Vec<Date> = column(ended, |holding| holding.day);
    let partitions: Vec<i32> = column(ended, |holding| holding.position.partition.into());
    let offsets: Vec<i64> = column(ended, |holding| holding.position.offset.cast_signed());
    let statuses: Vec<i16> = column(ended, |holding| codes::status(holding.status).into());
    let changed_partitions: Vec<i32> = column(ended, |holding| holding.changed_at.partition.into());
    let changed_offsets: Vec<i64> = column(ended, |holding| holding.changed_at.offset.cast_signed());
    let causes: Vec<Option<&str>> = column(ended, |holding| holding.cause.as_deref());
    let (since, until) = (days.iter().min().copied(), days.iter().max().copied());
    let params: [&(dyn ToSql + Sync); 9] =
        [&days, &partitions, &offsets, &statuses, &changed_partitions, &changed_offsets, &causes, &since, &until];
    execute(client, statement, ended.len(), &params).await
}

const INSERT_HOLDINGS: &str = "\
    INSERT INTO appointments (day, partition, log_offset, session_key, number, patient_id, ticket_id, scope, status, \
    changed_partition, changed_offset, cause) \
    SELECT * FROM unnest($1::date[], $2::int4[], $3::int8[], $4::int8[], $5::int4[], $6::text[], $7::bytea[], \
    $8::text[], $9::int2[], $10::int4[], $11::int8[], $12::text[]) ON CONFLICT DO NOTHING";

async fn write_made(client: &ClientWrapper, statement: &Statement, made: &[&Holding]) -> Result<(), Failure> {
    let days: Vec<Date> = column(made, |holding| holding.day);
    let partitions: Vec<i32> = column(made, |holding| holding.position.partition.into());
    let offsets: Vec<i64> = column(made, |holding| holding.position.offset.cast_signed());
    let keys: Vec<i64> = column(made, |holding| holding.session_key);
    let numbers: Vec<i32> = column(made, |holding| holding.number.cast_signed());
    let patients: Vec<&str> = column(made, |holding| holding.patient_id.as_str());
    let tickets: Vec<&[u8]> = made.iter().map(|holding| &holding.ticket.as_bytes()[..]).collect();
    let scopes: Vec<Option<&str>> = column(made, |holding| holding.scope.as_deref());
    let statuses: Vec<i16> = column(made, |holding| codes::status(holding.status).into());
    let changed_partitions: Vec<i32> = column(made, |holding| holding.changed_at.partition.into());
    let changed_offsets: Vec<i64> = column(made, |holding| holding.changed_at.offset.cast_signed());
    let causes: Vec<Option<&str>> = column(made, |holding| holding.cause.as_deref());
    let params: [&(dyn ToSql + Sync); 12] = [
        &days,
        &partitions,
        &offsets,
        &keys,
        &numbers,
        &patients,
        &tickets,
        &scopes,
        &statuses,
        &changed_partitions,
        &changed_offsets,
        &causes,
    ];
    insert(client, statement, made.len(), &params).await
}

const INSERT_TICKETS: &str = "\
    INSERT INTO tickets (ticket_id, day, partition, log_offset) \
    SELECT * FROM unnest($1::bytea[], $2::date[], $3::int4[], $4::int8[]) ON CONFLICT DO NOTHING";

async fn write_tickets(client: &ClientWrapper, statement: &Statement, made: &[&Holding]) -> Result<(), Failure> {
    let tickets: Vec<&[u8]> = made.iter().map(|holding| &holding.ticket.as_bytes()[..]).collect();
    let days: Vec<Date> = column(made, |holding| holding.day);
    let partitions: Vec<i32> = column(made, |holding| holding.position.partition.into());
    let offsets: Vec<i64> = column(made, |holding| holding.position.offset.cast_signed());
    insert(client, statement, made.len(), &[&tickets, &days, &partitions, &offsets]).await
}

const ADVANCE: &str = "\
    UPDATE partitions AS p SET next_offset = advanced.next_offset, \
    published_offset = GREATEST(p.published_offset, advanced.published_offset), day = advanced.day \
    FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::date[]) \
    AS advanced (partition, next_offset, published_offset, day) WHERE p.partition = advanced.partition";

async fn write_advances(client: &ClientWrapper, statement: &Statement, advanced: &[Advanced]) -> Result<(), Failure> {
    let partitions: Vec<i32> = column(advanced, |advance| advance.partition.into());
    let next: Vec<i64> = column(advanced, |advance| advance.next_offset);
    let published: Vec<i64> = column(advanced, |advance| advance.published_offset);
    let days: Vec<Option<Date>> = column(advanced, |advance| advance.day);
    execute(client, statement, advanced.len(), &[&partitions, &next, &published, &days]).await
}

const INSERT_DAYS: &str = "\
    INSERT INTO decision_days (partition, first_offset, day) SELECT * FROM unnest($1::int4[], $2::int8[], $3::date[])";

async fn write_days(client: &ClientWrapper, statement: &Statement, days: &[(Position, Date)]) -> Result<(), Failure> {
    let partitions: Vec<i32> = column(days, |(first, _)| first.partition.into());
    let offsets: Vec<i64> = column(days, |(first, _)| first.offset.cast_signed());
    let dates: Vec<Date> = column(days, |(_, day)| *day);
    execute(client, statement, days.len(), &[&partitions, &offsets, &dates]).await
}

const COPY_DECISIONS: &str = "\
    COPY decisions (partition, day, log_offset, logged_at_us, decided_at_us, kind, outcome, reason, number, ticket_id, \
    session_key, patient_id, first_offset, appointment_day, corrected) FROM STDIN (FORMAT binary)";

const DECISION_TYPES: [Type; 15] = [
    Type::INT4,
    Type::DATE,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT2,
    Type::INT2,
    Type::INT2,
    Type::INT4,
    Type::BYTEA,
    Type::INT8,
    Type::TEXT,
    Type::INT8,
    Type::DATE,
    Type::BOOL,
];

/// Adds a decision's row, and gives what is to be sent when that is enough.
fn push(
    rows: &mut Rows<'_, 15>,
    decision: &Decision,
    answer: &Committed,
    filed: Filed,
) -> Result<Option<Bytes>, Failure> {
    let Committed { position, outcome, .. } = answer;
    let patient = decision.command.as_ref().and_then(Command::patient_id).map(|patient| patient.as_str());
    rows.push([
        &i32::from(position.partition),
        &filed.day,
        &position.offset.cast_signed(),
        &answer.logged_at.as_micros(),
        &answer.decided_at.as_micros(),
        &i16::from(codes::kind(answer.kind)),
        &codes::outcome(*outcome).map(i16::from),
        &outcome.reason().map(|reason| i16::from(codes::reason(reason))),
        &outcome.number().map(u32::cast_signed),
        &answer.ticket.as_ref().map(|ticket| &ticket.as_bytes()[..]),
        &filed.session_key,
        &patient,
        &answer.first.map(u64::cast_signed),
        &filed.appointment_day,
        &answer.corrected,
    ])
}
