//! One commit: the fence and the progress of every partition in it, its effects and its rows, in one transaction.

use std::collections::BTreeMap;

use orderly_domain::command::Kind;
use orderly_domain::port::store::{Advance, Commit, Committed};
use orderly_domain::{Command, Decision, Offset, Outcome, Partition, Position, port};
use rusqlite::{Connection, OptionalExtension as _, Statement, TransactionBehavior, params};

use super::effects::{Effect, Effects};
use super::reads::First;
use super::writes::Writes;
use super::{reads, sessions};
use crate::sqlite::{self, Failure};
use crate::store::codes;
use crate::store::lanes::{self, Lane, corrupt, kind};

impl Writes {
    /// See [`port::Store::commit`].
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<Vec<Committed>, Failure> {
        let timer = self.metrics.commit_seconds.start_timer();
        let answer = self.try_commit(commit);
        match &answer {
            Ok(committed) => {
                timer.observe_duration();
                self.metrics.commit_rows.observe(committed.len() as f64);
                let corrections = committed.iter().filter(|committed| committed.corrected).count();
                self.metrics.corrections.inc_by(corrections as u64);
            }
            Err(_) => {
                timer.stop_and_discard();
                self.sessions.forget();
            }
        }
        answer
    }

    fn try_commit(&mut self, commit: &Commit) -> Result<Vec<Committed>, Failure> {
        let lanes = lanes::of(commit)?;
        if let Some(newest) = commit.decisions.last() {
            self.sessions.begin(newest.logged_at);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if is_there(&transaction, &lanes)? {
            return repeat_answer(&transaction, commit, &lanes);
        }
        let mut effects = Effects { connection: &transaction, sessions: &mut self.sessions };
        let mut answers: Vec<Committed> = Vec::with_capacity(commit.decisions.len());
        let mut session_keys = Vec::with_capacity(commit.decisions.len());
        for decision in &commit.decisions {
            let (effect, first) = match decision.outcome {
                Outcome::Repeat { first } => {
                    let (outcome, first) = first_outcome(&transaction, &lanes, &answers, decision, first)?;
                    let place = match &decision.command {
                        Some(command) => effects.sessions.find(&transaction, command.session_id())?,
                        None => None,
                    };
                    (Effect { outcome, place, changed: false, released: Vec::new() }, Some(first))
                }
                _ => (effects.apply(decision)?, None),
            };
            let known = effect.place.map(|place| effects.sessions.get(place));
            session_keys.push(known.map(|known| known.key));
            answers.push(Committed {
                position: decision.position,
                logged_at: decision.logged_at,
                decided_at: commit.decided_at,
                kind: kind(decision),
                ticket: decision.command.as_ref().and_then(Command::ticket),
                session_id: known.map(|known| known.state.session.session_id.clone()),
                outcome: effect.outcome,
                first,
                corrected: first.is_none() && effect.outcome != decision.outcome,
                session: known.filter(|_| effect.changed).map(|known| known.state.clone()),
                released: effect.released,
            });
        }
        self.sessions.write(&transaction)?;
        let mut rows = transaction.prepare_cached(INSERT)?;
        for index in lanes.values().flat_map(|lane| &lane.rows) {
            insert(&mut rows, &commit.decisions[*index], &answers[*index], session_keys[*index])?;
        }
        drop(rows);
        sqlite::commit(transaction)?;
        Ok(answers)
    }
}

/// Advances every partition, if all are where the commit starts. Tells whether they are where it ends: then it is there
/// already.
fn is_there(connection: &Connection, lanes: &BTreeMap<Partition, Lane<'_>>) -> Result<bool, Failure> {
    let mut advance = connection.prepare_cached(
        "UPDATE partitions SET next_offset = ?, published_offset = MAX(published_offset, ?) \
         WHERE partition = ? AND fence = ? AND next_offset = ?",
    )?;
    let mut standing = connection.prepare_cached("SELECT fence, next_offset FROM partitions WHERE partition = ?")?;
    let (mut advanced, mut there) = (0, 0);
    for Advance { partition, fence, from, to, published } in lanes.values().map(|lane| *lane.advance) {
        let changed = advance.execute(params![
            to.cast_signed(),
            published.cast_signed(),
            partition,
            fence.cast_signed(),
            from.cast_signed(),
        ])?;
        if changed == 1 {
            // One without decisions fits both cases.
            advanced += usize::from(to > from);
            continue;
        }
        let found = standing
            .query_row([partition], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?)))
            .optional()?;
        match found {
            Some((held, next)) if held == fence && next.cast_unsigned() == to => there += 1,
            Some((held, next)) if held == fence => {
                return Err(corrupt(&format!("partition {partition} is at {next}, not at {from}")).into());
            }
            _ => return Err(port::Error::Fenced { partition }.into()),
        }
    }
    if advanced > 0 && there > 0 {
        return Err(corrupt("a part of this commit is there already, another part is not").into());
    }
    Ok(there > 0)
}

/// The outcome of a repeat, and its ticket's first record, in this commit or an earlier one. A record that dedup took for
/// the first, because it had forgotten the ticket, may turn out to be a repeat itself.
fn first_outcome(
    connection: &Connection,
    lanes: &BTreeMap<Partition, Lane<'_>>,
    answers: &[Committed],
    decision: &Decision,
    first: Offset,
) -> Result<(Outcome, Offset), Failure> {
    let Position { partition, offset } = decision.position;
    let ticket = decision.command.as_ref().and_then(Command::ticket);
    let in_commit = lanes.get(&partition).and_then(|lane| {
        let index = usize::try_from(first.checked_sub(lane.advance.from)?).ok()?;
        lane.rows.get(index).and_then(|row| answers.get(*row))
    });
    let found = match in_commit {
        Some(answer) => Some(First { ticket: answer.ticket, outcome: answer.outcome, repeats: answer.first }),
        None if first < offset => reads::outcome(connection, Position { partition, offset: first })?,
        None => None,
    };
    match found {
        Some(found) if found.ticket == ticket && ticket.is_some() => {
            Ok((found.outcome, found.repeats.unwrap_or(first)))
        }
        _ => {
            let position = decision.position;
            Err(corrupt(&format!("record {position} repeats {first}, which is no record of its ticket")).into())
        }
    }
}

const INSERT: &str = "INSERT INTO decisions (partition, log_offset, logged_at_us, decided_at_us, kind, outcome, reason, \
     number, ticket_id, session_key, patient_id, first_offset, corrected) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

fn insert(
    statement: &mut Statement<'_>,
    decision: &Decision,
    committed: &Committed,
    session_key: Option<i64>,
) -> Result<(), Failure> {
    statement.execute(params![
        committed.position.partition,
        committed.position.offset.cast_signed(),
        committed.logged_at.as_micros(),
        committed.decided_at.as_micros(),
        codes::kind(committed.kind),
        codes::outcome(committed.outcome),
        committed.outcome.reason().map(codes::reason),
        committed.outcome.number(),
        committed.ticket.as_ref().map(|ticket| &ticket.as_bytes()[..]),
        session_key,
        decision.command.as_ref().and_then(Command::patient_id).map(|patient| patient.as_str()),
        committed.first.map(u64::cast_signed),
        committed.corrected,
    ])?;
    Ok(())
}

/// The answer to a commit that is there already. States of sessions are those of now.
fn repeat_answer(
    connection: &Connection,
    commit: &Commit,
    lanes: &BTreeMap<Partition, Lane<'_>>,
) -> Result<Vec<Committed>, Failure> {
    let mut rows = BTreeMap::new();
    for lane in lanes.values() {
        for row in reads::decisions(connection, lane.advance.partition, lane.advance.from, lane.rows.len())? {
            rows.insert(row.decision.position, row.decision);
        }
    }
    let mut answers = Vec::with_capacity(commit.decisions.len());
    for decision in &commit.decisions {
        let same = |row: &Committed| {
            row.logged_at == decision.logged_at
                && row.kind == kind(decision)
                && row.ticket == decision.command.as_ref().and_then(Command::ticket)
        };
        let Some(mut answer) = rows.remove(&decision.position).filter(same) else {
            return Err(corrupt(&format!("record {} was decided before, as another one", decision.position)).into());
        };
        if answer.first.is_none() && answer.outcome.reason().is_none() {
            answer.released = reads::released(connection, answer.position)?;
            let changed = answer.kind != Kind::Cancel || !answer.released.is_empty();
            if let Some(id) = answer.session_id.as_ref().filter(|_| changed) {
                answer.session = sessions::find(connection, id)?.map(|known| known.state);
            }
        }
        answers.push(answer);
    }
    Ok(answers)
}
