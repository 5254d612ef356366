//! One commit: the fence and the progress of every partition in it, its effects and its rows, in one transaction.
//!
//! Five round trips: lock and read the partitions and sessions, read what may be in the way, begin to copy the decisions,
//! write their effects, commit. Decisions are applied while those before them are on their way to the server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::ClientWrapper;
use jiff::civil::Date;
use orderly_domain::port::store::{Advance, Commit, Committed};
use orderly_domain::{Command, Decision, Offset, Outcome, Partition, Position, Timestamp, port};
use rustc_hash::FxHashMap;

use super::apply::{Effect, Effects};
use super::books::Books;
use super::error::Failure;
use super::held;
use super::probe::{self, Base, First, Needs, Standing};
use super::service::Inner;
use super::write::{self, Advanced};
use super::{reads, rows};
use crate::store::lanes::{self, Lane, corrupt, kind};

/// How often a commit is tried when other transactions are in its way.
const TRIES_MAX: usize = 10;

/// Where a decision's row lies, and what it points to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filed {
    pub(super) day: Date,
    pub(super) session_key: Option<i64>,
    /// The day of the appointment that the ticket's first record made.
    pub(super) appointment_day: Option<Date>,
}

/// A commit under way: its decisions are applied one after the other, in their order.
pub(super) struct Deciding<'a> {
    commit: &'a Commit,
    lanes: &'a BTreeMap<Partition, Lane<'a>>,
    /// What the first records of repeats said that lie before this commit.
    firsts: FxHashMap<Position, First>,
    calendar: Calendar,
    /// Keys for sessions that are opened for the first time, ascending.
    keys: std::vec::IntoIter<i64>,
    pub(super) books: Books,
    /// One for each decision that was applied.
    answers: Vec<Committed>,
    places: Vec<Filed>,
}

impl Inner {
    /// See [`port::Store::commit`].
    pub(super) async fn commit(&self, commit: &Commit) -> port::Result<Vec<Committed>> {
        let timer = self.metrics.commit_seconds.start_timer();
        let answer = self.commit_until_it_fits(commit).await;
        match &answer {
            Ok(committed) => {
                timer.observe_duration();
                self.metrics.commit_rows.observe(committed.len() as f64);
                let corrections = committed.iter().filter(|committed| committed.corrected).count();
                self.metrics.corrections.inc_by(corrections as u64);
            }
            Err(_) => {
                timer.stop_and_discard();
            }
        }
        answer
    }

    async fn commit_until_it_fits(&self, commit: &Commit) -> port::Result<Vec<Committed>> {
        let lanes = lanes::of(commit)?;
        let mut conflict = String::new();
        let mut tries = 0;
        while tries < TRIES_MAX {
            let lease = self.writers.lease().await?;
            let sent = AtomicBool::new(false);
            let unsure = || match sent.load(Ordering::Relaxed) {
                true => port::Error::MayHaveHappened,
                false => port::Error::DidNotHappen,
            };
            let attempt = Box::pin(self.try_commit(lease.client(), commit, &lanes, &sent));
            let failure = match self.writers.in_time(attempt).await {
                Ok(Ok(answers)) => {
                    lease.give_back();
                    return Ok(answers);
                }
                Ok(Err(failure)) => failure,
                Err(late) => return Err(unsure()(late.to_string())),
            };
            self.writers.abandon(lease, &failure).await;
            if failure.is_missing_day() {
                self.days.forget();
            }
            match failure {
                Failure::NoTable { decisions, appointments } => self.make_days(decisions, appointments).await?,
                failure if failure.is_conflict() => conflict = failure.to_string(),
                failure => return Err(failure.told(unsure())),
            }
            tries += 1;
        }
        Err(port::Error::DidNotHappen(format!("other transactions were in the way {TRIES_MAX} times: {conflict}")))
    }

    async fn try_commit(
        &self,
        client: &ClientWrapper,
        commit: &Commit,
        lanes: &BTreeMap<Partition, Lane<'_>>,
        sent: &AtomicBool,
    ) -> Result<Vec<Committed>, Failure> {
        let Base { standings, mut books, keys, firsts } = probe::begin(client, commit, lanes).await?;
        if is_there(&standings, lanes)? {
            let answers = repeat_answer(client, commit, lanes).await?;
            client.batch_execute("ROLLBACK").await?;
            return Ok(answers);
        }
        let calendar = Calendar::of(commit, lanes, &standings);
        let decisions = self.days.unknown_decisions(calendar.days.iter().copied());
        let appointments = self.days.unknown_appointments(Needs::days(commit, &books));
        if !decisions.is_empty() || !appointments.is_empty() {
            return Err(Failure::NoTable { decisions, appointments });
        }
        let firsts = Needs::of(commit, &books, firsts).read(client, &mut books).await?;
        // Rather now than amid the decisions, when many may be on their way to the server.
        if let Some((at, by)) = held::first(commit, &books, |partition| lanes.contains_key(&partition)) {
            return Err(Failure::Held { at, by });
        }
        let mut deciding = Deciding {
            answers: Vec::with_capacity(commit.decisions.len()),
            places: Vec::with_capacity(commit.decisions.len()),
            keys: keys.into_iter(),
            commit,
            lanes,
            firsts,
            calendar,
            books,
        };
        write::all(client, &mut deciding).await?;
        sent.store(true, Ordering::Relaxed);
        client.batch_execute("COMMIT").await?;
        Ok(deciding.answers)
    }
}

/// Whether every partition is where the commit starts, or, all of them, where it ends: then it is there already.
fn is_there(standings: &BTreeMap<Partition, Standing>, lanes: &BTreeMap<Partition, Lane<'_>>) -> port::Result<bool> {
    let (mut ahead, mut there) = (0, 0);
    for Advance { partition, fence, from, to, .. } in lanes.values().map(|lane| *lane.advance) {
        match standings.get(&partition) {
            Some(standing) if standing.fence != fence => return Err(port::Error::Fenced { partition }),
            None => return Err(port::Error::Fenced { partition }),
            // One without decisions fits both cases.
            Some(standing) if standing.next_offset == from => ahead += usize::from(to > from),
            Some(standing) if standing.next_offset == to => there += 1,
            Some(standing) => {
                return Err(corrupt(&format!("partition {partition} is at {}, not at {from}", standing.next_offset)));
            }
        }
    }
    if ahead > 0 && there > 0 {
        return Err(corrupt("a part of this commit is there already, another part is not"));
    }
    Ok(there > 0)
}

/// The days of a commit's decisions. Within a partition they never go back, also when the log's time does.
struct Calendar {
    /// One for each decision.
    days: Vec<Date>,
    /// The newest of each partition.
    newest: BTreeMap<Partition, Date>,
    new_days: Vec<(Position, Date)>,
}

impl Calendar {
    fn of(commit: &Commit, lanes: &BTreeMap<Partition, Lane<'_>>, standings: &BTreeMap<Partition, Standing>) -> Self {
        let mut calendar =
            Self { days: vec![Date::ZERO; commit.decisions.len()], newest: BTreeMap::new(), new_days: Vec::new() };
        for (&partition, lane) in lanes {
            let mut newest = standings.get(&partition).and_then(|standing| standing.day);
            let mut last: Option<(i64, Date)> = None;
            for &index in &lane.rows {
                let Decision { position, logged_at, .. } = commit.decisions[index];
                let day = day_of(logged_at, &mut last);
                if newest.is_none_or(|newest| newest < day) {
                    newest = Some(day);
                    calendar.new_days.push((position, day));
                }
                calendar.days[index] = newest.unwrap_or(day);
            }
            calendar.newest.extend(newest.map(|newest| (partition, newest)));
        }
        calendar
    }
}

/// The UTC day of a moment, which is mostly that of the `last` one.
fn day_of(moment: Timestamp, last: &mut Option<(i64, Date)>) -> Date {
    match *last {
        Some((number, day)) if number == moment.utc_day() => day,
        _ => {
            let day = rows::utc_day(moment);
            *last = Some((moment.utc_day(), day));
            day
        }
    }
}

impl Deciding<'_> {
    /// Applies the next decision to the books; `None` when all are.
    pub(super) fn next(&mut self) -> Result<Option<(&Decision, &Committed, Filed)>, Failure> {
        let index = self.answers.len();
        let Some(decision) = self.commit.decisions.get(index) else { return Ok(None) };
        let (effect, first, mut appointment_day) = match decision.outcome {
            Outcome::Repeat { first } => {
                let found = first_of(self.lanes, &self.answers, &self.places, &self.firsts, decision, first)?;
                let place = decision.command.as_ref().and_then(|command| self.books.find(command.session_id()));
                let effect = Effect { outcome: found.outcome, place, changed: false, released: Vec::new() };
                (effect, Some(found.repeats.unwrap_or(first)), found.appointment_day)
            }
            _ => {
                let is_final =
                    |at, partition| self.commit.resigned.contains(&at) || self.lanes.contains_key(&partition);
                let mut effects = Effects { books: &mut self.books, keys: &mut self.keys, is_final: &is_final };
                (effects.apply(decision)?, None, None)
            }
        };
        let known = effect.place.map(|place| self.books.session(place));
        if effect.changed && matches!(effect.outcome, Outcome::Booked { .. }) {
            appointment_day = known.map(|known| known.state.session.day);
        }
        let filed =
            Filed { day: self.calendar.days[index], session_key: known.map(|known| known.key), appointment_day };
        self.places.push(filed);
        self.answers.push(Committed {
            position: decision.position,
            logged_at: decision.logged_at,
            decided_at: self.commit.decided_at,
            kind: kind(decision),
            ticket: decision.command.as_ref().and_then(Command::ticket),
            session_id: known.map(|known| known.state.session.session_id.clone()),
            outcome: effect.outcome,
            first,
            corrected: first.is_none() && effect.outcome != decision.outcome,
            session: known.filter(|_| effect.changed).map(|known| known.state.clone()),
            released: effect.released,
        });
        Ok(self.answers.last().map(|answer| (decision, answer, filed)))
    }

    /// What was applied.
    pub(super) fn decided(&self) -> impl Iterator<Item = (&Decision, &Committed, &Filed)> {
        let rows = self.answers.iter().zip(&self.places);
        self.commit.decisions.iter().zip(rows).map(|(decision, (answer, filed))| (decision, answer, filed))
    }

    /// How far the commit takes its partitions.
    pub(super) fn advanced(&self) -> Vec<Advanced> {
        let advanced = self.lanes.values().map(|lane| Advanced {
            partition: lane.advance.partition,
            next_offset: lane.advance.to.cast_signed(),
            published_offset: lane.advance.published.cast_signed(),
            day: self.calendar.newest.get(&lane.advance.partition).copied(),
        });
        advanced.collect()
    }

    /// The first decisions of partitions on days that are new to them.
    pub(super) fn new_days(&self) -> &[(Position, Date)] {
        &self.calendar.new_days
    }
}

/// What the first record of a repeat's ticket says, in this commit or an earlier one. A record that dedup took for the first,
/// because it had forgotten the ticket, may turn out to be a repeat itself.
fn first_of(
    lanes: &BTreeMap<Partition, Lane<'_>>,
    answers: &[Committed],
    places: &[Filed],
    firsts: &FxHashMap<Position, First>,
    decision: &Decision,
    first: Offset,
) -> port::Result<First> {
    let Position { partition, .. } = decision.position;
    let ticket = decision.command.as_ref().and_then(Command::ticket);
    let in_commit = lanes.get(&partition).and_then(|lane| {
        let index = usize::try_from(first.checked_sub(lane.advance.from)?).ok()?;
        let row = *lane.rows.get(index)?;
        let (answer, place) = (answers.get(row)?, places.get(row)?);
        Some(First {
            ticket: answer.ticket,
            outcome: answer.outcome,
            repeats: answer.first,
            appointment_day: place.appointment_day,
        })
    });
    let found = in_commit.or_else(|| firsts.get(&Position { partition, offset: first }).copied());
    found.filter(|found| found.ticket == ticket && ticket.is_some()).ok_or_else(|| {
        let position = decision.position;
        corrupt(&format!("record {position} repeats {first}, which is no record of its ticket"))
    })
}

/// The answer to a commit that is there already. States of sessions are those of now.
async fn repeat_answer(
    client: &ClientWrapper,
    commit: &Commit,
    lanes: &BTreeMap<Partition, Lane<'_>>,
) -> Result<Vec<Committed>, Failure> {
    let mut rows = reads::committed(client, lanes.values().map(|lane| *lane.advance)).await?;
    let mut answers = Vec::with_capacity(commit.decisions.len());
    for decision in &commit.decisions {
        let same = |row: &Committed| {
            row.logged_at == decision.logged_at
                && row.kind == kind(decision)
                && row.ticket == decision.command.as_ref().and_then(Command::ticket)
        };
        let Some(answer) = rows.remove(&decision.position).filter(same) else {
            return Err(corrupt(&format!("record {} was decided before, as another one", decision.position)).into());
        };
        answers.push(answer);
    }
    reads::add_changes(client, &mut answers).await?;
    Ok(answers)
}
