//! What a commit has to know: read inside its transaction, set by set.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use futures::future::try_join5;
use jiff::civil::Date;
use orderly_domain::port::store::{AppointmentStatus, Commit};
use orderly_domain::{Command, Exclusivity, Fence, Offset, Outcome, Partition, Position, Session, SessionId, ticket};
use rustc_hash::FxHashMap;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::books::{Books, Fate, Holding};
use super::error::Failure;
use super::rows::{self, column, known, offset, partition, position, select_sessions, unreadable};
use crate::store::codes;
use crate::store::lanes::Lane;

/// How far a partition is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) fence: Fence,
    pub(super) next_offset: Offset,
    /// The day of its newest decision.
    pub(super) day: Option<Date>,
}

/// What the first round trip tells.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) standings: BTreeMap<Partition, Standing>,
    pub(super) books: Books,
    /// Keys for sessions that are opened for the first time.
    pub(super) keys: Vec<i64>,
    /// First records of repeated tickets that are of earlier commits, with their days.
    pub(super) firsts: Vec<(Date, Position)>,
}

/// Begins the transaction, locks the partitions and the sessions, both in the same order on every node, and takes keys for
/// new sessions.
pub(super) async fn begin(
    client: &ClientWrapper,
    commit: &Commit,
    lanes: &BTreeMap<Partition, Lane<'_>>,
) -> Result<Base, Failure> {
    let partitions: Vec<i32> = lanes.keys().map(|partition| i32::from(*partition)).collect();
    let commands = || commit.decisions.iter().filter_map(|decision| decision.command.as_ref());
    let mut sessions: Vec<&str> = commands().map(|command| command.session_id().as_str()).collect();
    sessions.sort_unstable();
    sessions.dedup();
    let opens = commit.decisions.iter().filter(|decision| {
        matches!((&decision.command, decision.outcome), (Some(Command::OpenSession(_)), Outcome::Applied))
    });
    let opens = opens.count();

    let firsts = commit.decisions.iter().filter_map(|decision| match decision.outcome {
        Outcome::Repeat { first } => Some(Position { offset: first, ..decision.position }),
        _ => None,
    });
    let is_earlier = |at: &Position| lanes.get(&at.partition).is_some_and(|lane| at.offset < lane.advance.from);
    let firsts: Vec<Position> = firsts.filter(is_earlier).collect();
    let first_partitions: Vec<i32> = firsts.iter().map(|at| at.partition.into()).collect();
    let first_offsets: Vec<i64> = firsts.iter().map(|at| at.offset.cast_signed()).collect();

    let lock_partitions = client.prepare_cached(LOCK_PARTITIONS).await?;
    let lock_sessions = client
        .prepare_cached(select_sessions!("WHERE session_id = ANY($1) ORDER BY session_id FOR NO KEY UPDATE"))
        .await?;
    let take_keys = client.prepare_cached("SELECT nextval('session_keys') FROM generate_series(1, $1::int8)").await?;
    let days_of = client.prepare_cached(DAYS_OF).await?;
    // Sent at once, in this order.
    let ((), standings, sessions, keys, firsts) = try_join5(
        async { Ok(client.batch_execute("BEGIN").await?) },
        query(client, &lock_partitions, partitions.len(), &[&partitions]),
        query(client, &lock_sessions, sessions.len(), &[&sessions]),
        query(client, &take_keys, opens, &[&i64::try_from(opens).unwrap_or(i64::MAX)]),
        query(client, &days_of, firsts.len(), &[&first_partitions, &first_offsets]),
    )
    .await?;
    let mut books = Books::default();
    for row in &sessions {
        books.keep_session(known(row)?);
    }
    Ok(Base {
        standings: standings.iter().map(standing).collect::<Result<_, _>>()?,
        books,
        keys: keys.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?,
        firsts: firsts.iter().map(|row| Ok((column(row, 2)?, position(row, 0)?))).collect::<Result<_, Failure>>()?,
    })
}

const DAYS_OF: &str = "\
    SELECT wanted.partition, wanted.log_offset, l.day \
    FROM unnest($1::int4[], $2::int8[]) AS wanted (partition, log_offset) \
    CROSS JOIN LATERAL (SELECT day FROM decision_days AS l WHERE l.partition = wanted.partition \
    AND l.first_offset <= wanted.log_offset ORDER BY l.first_offset DESC LIMIT 1) AS l";

/// Locks partitions' rows, ascending, and reads them.
pub(super) const LOCK_PARTITIONS: &str =
    "SELECT partition, fence, next_offset, day FROM partitions WHERE partition = ANY($1) ORDER BY partition FOR UPDATE";

pub(super) fn standing(row: &Row) -> Result<(Partition, Standing), Failure> {
    let standing = Standing { fence: offset(row, 1)?, next_offset: offset(row, 2)?, day: column(row, 3)? };
    Ok((partition(row, 0)?, standing))
}

/// What an earlier record says of the ticket of a later one.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) ticket: Option<ticket::Id>,
    pub(super) outcome: Outcome,
    /// The record that it repeats itself, if it does.
    pub(super) repeats: Option<Offset>,
    pub(super) appointment_day: Option<Date>,
}

/// The rows that a commit's decisions may touch, or lose to, by their keys.
#[derive(Debug, Default)]
pub(super) struct Needs<'a> {
    tickets: Vec<&'a [u8]>,
    scopes: Vec<(Date, String, &'a str)>,
    numbers: Vec<(Date, i64, i32)>,
    /// Sessions of which every active appointment matters.
    whole: Vec<(Date, i64)>,
    firsts: Vec<(Date, Position)>,
}

impl<'a> Needs<'a> {
    pub(super) fn of(commit: &'a Commit, books: &Books, firsts: Vec<(Date, Position)>) -> Self {
        let mut needs = Self { firsts, ..Self::default() };
        let mut opened: FxHashMap<&SessionId, &Session> = FxHashMap::default();
        for decision in &commit.decisions {
            if let (Some(Command::OpenSession(session)), Outcome::Applied) = (&decision.command, decision.outcome) {
                opened.entry(&session.session_id).or_insert(session);
            }
        }
        for decision in &commit.decisions {
            let Some(command) = &decision.command else { continue };
            let known = books.find(command.session_id()).map(|place| books.session(place));
            match (command, decision.outcome) {
                (Command::Book(book), Outcome::Booked { number }) => {
                    needs.tickets.push(book.ticket.as_bytes());
                    let session = known.map(|known| &known.state.session);
                    let Some(session) = session.or_else(|| opened.get(command.session_id()).copied()) else { continue };
                    if session.exclusivity != Exclusivity::None
                        && let Some(scope) = session.exclusivity.scope(&session.reference())
                    {
                        needs.scopes.push((session.day, scope, book.patient_id.as_str()));
                    }
                    if let Some(known) = known {
                        needs.numbers.push((session.day, known.key, number.cast_signed()));
                    }
                }
                (Command::Cancel(cancel), Outcome::Cancelled { .. }) => needs.tickets.push(cancel.ticket.as_bytes()),
                (_, Outcome::Applied) => needs.whole.extend(known.map(|known| (known.state.session.day, known.key))),
                _ => {}
            }
        }
        needs.whole.sort_unstable();
        needs.whole.dedup();
        needs
    }

    /// Days of sessions in which appointments may be made.
    pub(super) fn days(commit: &Commit, books: &Books) -> Vec<Date> {
        let mut opened: FxHashMap<&SessionId, Date> = FxHashMap::default();
        let mut days = Vec::new();
        for decision in &commit.decisions {
            match (&decision.command, decision.outcome) {
                (Some(Command::OpenSession(session)), Outcome::Applied) => {
                    opened.insert(&session.session_id, session.day);
                    days.push(session.day);
                }
                (Some(Command::Book(book)), Outcome::Booked { .. }) => {
                    let id = &book.session.session_id;
                    let known = books.find(id).map(|place| books.session(place).state.session.day);
                    days.extend(known.or_else(|| opened.get(id).copied()));
                }
                _ => {}
            }
        }
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Reads them, in one round trip.
    pub(super) async fn read(
        &self,
        client: &ClientWrapper,
        books: &mut Books,
    ) -> Result<FxHashMap<Position, First>, Failure> {
        let days = || {
            let days = self.scopes.iter().map(|need| need.0).chain(self.numbers.iter().map(|need| need.0));
            days.chain(self.whole.iter().map(|need| need.0)).chain(books.days())
        };
        // Appointments of other days cannot matter here, and a range lets PostgreSQL leave their tables alone.
        let (since, until) = (days().min().unwrap_or(Date::ZERO), days().max().unwrap_or(Date::ZERO));

        let by_ticket = client.prepare_cached(BY_TICKET).await?;
        let by_scope = client.prepare_cached(BY_SCOPE).await?;
        let by_number = client.prepare_cached(BY_NUMBER).await?;
        let by_session = client.prepare_cached(BY_SESSION).await?;
        let earlier = client.prepare_cached(EARLIER).await?;
        let scope_days: Vec<Date> = self.scopes.iter().map(|need| need.0).collect();
        let scopes: Vec<&str> = self.scopes.iter().map(|need| need.1.as_str()).collect();
        let patients: Vec<&str> = self.scopes.iter().map(|need| need.2).collect();
        let number_days: Vec<Date> = self.numbers.iter().map(|need| need.0).collect();
        let number_keys: Vec<i64> = self.numbers.iter().map(|need| need.1).collect();
        let numbers: Vec<i32> = self.numbers.iter().map(|need| need.2).collect();
        let whole_days: Vec<Date> = self.whole.iter().map(|need| need.0).collect();
        let whole_keys: Vec<i64> = self.whole.iter().map(|need| need.1).collect();
        let first_days: Vec<Date> = self.firsts.iter().map(|need| need.0).collect();
        let first_partitions: Vec<i32> = self.firsts.iter().map(|need| need.1.partition.into()).collect();
        let first_offsets: Vec<i64> = self.firsts.iter().map(|need| need.1.offset.cast_signed()).collect();
        let (first_day, last_day) = (first_days.iter().min(), first_days.iter().max());
        let (of_tickets, of_scopes, of_numbers, of_sessions, firsts) = try_join5(
            query(client, &by_ticket, self.tickets.len(), &[&self.tickets, &since, &until]),
            query(client, &by_scope, scopes.len(), &[&scope_days, &scopes, &patients, &since, &until]),
            query(client, &by_number, numbers.len(), &[&number_days, &number_keys, &numbers, &since, &until]),
            query(client, &by_session, whole_keys.len(), &[&whole_days, &whole_keys, &since, &until]),
            query(
                client,
                &earlier,
                first_offsets.len(),
                &[&first_days, &first_partitions, &first_offsets, &first_day, &last_day],
            ),
        )
        .await?;
        for row in &of_tickets {
            match column::<Option<i32>>(row, 0)? {
                Some(_) => books.keep_holding(holding(row)?),
                None => books.keep_spent(rows::ticket_id(row, 11)?),
            }
        }
        for row in of_scopes.iter().chain(&of_numbers).chain(&of_sessions) {
            books.keep_holding(holding(row)?);
        }
        firsts
            .iter()
            .map(|row| {
                let first = First {
                    ticket: rows::maybe_ticket_id(row, 5)?,
                    outcome: rows::outcome(row, 2)?,
                    repeats: rows::maybe_offset(row, 6)?,
                    appointment_day: column(row, 7)?,
                };
                Ok((position(row, 0)?, first))
            })
            .collect()
    }
}

/// Asks when there is anything to ask.
async fn query(
    client: &ClientWrapper,
    statement: &Statement,
    wanted: usize,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    if wanted == 0 { Ok(Vec::new()) } else { Ok(client.query(statement, params).await?) }
}

/// The query for [`holding`], with what follows its columns.
macro_rules! select_holdings {
    ($($rest:literal)*) => {
        concat!(
            "SELECT a.partition, a.log_offset, a.session_key, a.day, a.number, a.patient_id, a.ticket_id, a.scope, ",
            "a.status, a.changed_partition, a.changed_offset ",
            $($rest),*
        )
    };
}

const BY_TICKET: &str = select_holdings!(
    ", t.ticket_id FROM unnest($1::bytea[]) AS wanted (ticket_id) "
    "CROSS JOIN LATERAL (SELECT * FROM tickets AS t WHERE t.ticket_id = wanted.ticket_id OFFSET 0) AS t "
    "LEFT JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day BETWEEN $2 AND $3 AND a.day = t.day "
    "AND a.partition = t.partition AND a.log_offset = t.log_offset OFFSET 0) AS a ON TRUE"
);
const BY_SCOPE: &str = select_holdings!(
    "FROM unnest($1::date[], $2::text[], $3::text[]) AS wanted (day, scope, patient_id) "
    "CROSS JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day BETWEEN $4 AND $5 AND a.day = wanted.day "
    "AND a.scope = wanted.scope AND a.patient_id = wanted.patient_id AND a.status = 0 OFFSET 0) AS a"
);
const BY_NUMBER: &str = select_holdings!(
    "FROM unnest($1::date[], $2::int8[], $3::int4[]) AS wanted (day, session_key, number) "
    "CROSS JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day BETWEEN $4 AND $5 AND a.day = wanted.day "
    "AND a.session_key = wanted.session_key AND a.number = wanted.number AND a.status = 0 OFFSET 0) AS a"
);
const BY_SESSION: &str = select_holdings!(
    "FROM unnest($1::date[], $2::int8[]) AS wanted (day, session_key) "
    "CROSS JOIN LATERAL (SELECT * FROM appointments AS a WHERE a.day BETWEEN $3 AND $4 AND a.day = wanted.day "
    "AND a.session_key = wanted.session_key AND a.status = 0 OFFSET 0) AS a"
);
const EARLIER: &str = "\
    SELECT d.partition, d.log_offset, d.outcome, d.reason, d.number, d.ticket_id, d.first_offset, d.appointment_day \
    FROM unnest($1::date[], $2::int4[], $3::int8[]) AS wanted (day, partition, log_offset) \
    CROSS JOIN LATERAL (SELECT * FROM decisions AS d WHERE d.day BETWEEN $4 AND $5 AND d.day = wanted.day \
    AND d.partition = wanted.partition AND d.log_offset = wanted.log_offset OFFSET 0) AS d";

fn holding(row: &Row) -> Result<Holding, Failure> {
    let status = codes::status_of(rows::code(row, 8)?).ok_or_else(|| unreadable("no such status"))?;
    Ok(Holding {
        position: position(row, 0)?,
        session_key: column(row, 2)?,
        day: column(row, 3)?,
        number: rows::count(row, 4)?,
        patient_id: rows::text(row, 5)?,
        ticket: rows::ticket_id(row, 6)?,
        scope: column(row, 7)?,
        status,
        changed_at: position(row, 9)?,
        // An appointment that ended ends no more, so its cause is never written again.
        cause: None,
        fate: Fate::Kept,
    })
}

const _: () =
    assert!(codes::status(AppointmentStatus::Booked) == 0, "the queries here and the indexes name it by its code");
