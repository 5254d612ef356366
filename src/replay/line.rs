//! `orderly replay --session ID --at TIME`: a session's line as it was at a moment, for whoever says "I was first".

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use orderly_domain::command::Kind;
use orderly_domain::port::IntentLog;
use orderly_domain::port::log::Delivery;
use orderly_domain::port::store::{DecisionRow, SessionState, Store};
use orderly_domain::{Command, Outcome, PatientId, Position, SessionId, Timestamp, envelope, partition_of};
use serde_json::{Value, json};

use crate::config::Config;
use crate::edges::Past;
use crate::receipt::{self, Cover};

/// Records or decisions that are in memory beside the line.
const PAGE: usize = 4_096;

/// What to look at.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The session.
    pub(crate) session_id: SessionId,
    /// The moment; now, when it is left out.
    pub(crate) at: Option<Timestamp>,
    /// The published roots to compare its records with.
    pub(crate) roots: Option<PathBuf>,
}

/// A record of the session that lay in the log by then.
#[derive(Debug)]
struct Place {
    /// How many bookings were asked for, this one included; none for what is not a first booking.
    in_line: Option<u64>,
    position: Position,
    logged_at: Timestamp,
    asked: Kind,
    patient_id: Option<PatientId>,
    /// What was decided by then, and since when.
    told: Option<(Outcome, Timestamp)>,
    /// The record lies in the log, and its decision is the one on it.
    proven: bool,
    /// What the published roots make of it, when it was compared with them.
    cover: Option<Cover>,
}

impl Place {
    /// What is wrong with it, by the published roots.
    fn fault(&self) -> Option<String> {
        let what = match (self.cover?, self.proven) {
            (Cover::Changed, _) => "the log has not what was published over this record: records were changed or lost",
            (Cover::Published(_), false) => "the record that was published is not the one that was decided",
            (Cover::Published(_) | Cover::NotYet | Cover::Aged, _) => return None,
        };
        Some(format!("{}: {what}", self.position))
    }
}

#[derive(Debug)]
struct Line {
    state: SessionState,
    at: Timestamp,
    places: Vec<Place>,
    /// As the log had it by then; `None` when the log has lost the record that opened the session.
    capacity: Option<u32>,
    held: BTreeMap<u32, PatientId>,
    closed: bool,
}

/// Prints the line; true unless published roots are given, and show that something is wrong with it.
///
/// # Errors
/// When there is no such session, or log, store or roots cannot be read.
pub(crate) async fn print(config: &Config, wanted: Wanted, as_json: bool) -> anyhow::Result<bool> {
    let past = Past::open(config).await?;
    let line = read(&*past.log, &*past.store, wanted).await;
    past.close().await;
    let line = line?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{:#}", line.to_json())?;
    } else {
        write!(out, "{}", line.to_text()?)?;
    }
    Ok(line.faults().next().is_none())
}

async fn read(log: &dyn IntentLog, store: &dyn Store, wanted: Wanted) -> anyhow::Result<Line> {
    let Wanted { session_id, at, roots } = wanted;
    let at = at.unwrap_or_else(|| Timestamp::from(jiff::Timestamp::now()));
    let states = store.sessions(Date::MIN).await?;
    let state = states.into_iter().find(|state| state.session.session_id == session_id);
    let state = state.with_context(|| format!("there is no session {session_id}; `GET /v1/sessions` lists them"))?;
    let partition = partition_of(&state.session.doctor_id, log.partitions());
    let mut commands = asked(log, partition, &session_id, at).await?;
    let mut line = Line { state, at, places: Vec::new(), capacity: None, held: BTreeMap::new(), closed: false };
    let mut from = 0;
    loop {
        let rows = store.decisions(partition, from, PAGE).await?;
        let Some(last) = rows.last() else { break };
        from = last.decision.position.offset + 1;
        let is_later = last.decision.logged_at > at;
        for row in rows {
            let command = commands.remove(&row.decision.position.offset);
            let is_here = command.is_some() || row.decision.session_id.as_ref() == Some(&session_id);
            if is_here && row.decision.logged_at <= at {
                line.add(&row, command.as_ref());
            }
        }
        if is_later {
            break;
        }
    }
    for (offset, (logged_at, command)) in commands {
        line.wait(Position { partition, offset }, logged_at, &command);
    }
    if let Some(roots) = roots {
        let offsets: BTreeSet<_> = line.places.iter().map(|place| place.position.offset).collect();
        line.mark(&receipt::covers(log, partition, &offsets, &roots).await?);
    }
    Ok(line)
}

/// What the log has of a session until then, by offset.
async fn asked(
    log: &dyn IntentLog,
    partition: u16,
    session_id: &SessionId,
    at: Timestamp,
) -> anyhow::Result<BTreeMap<u64, (Timestamp, Command)>> {
    let mut commands = BTreeMap::new();
    let extents = log.extents().await?;
    let Some(extent) = extents.iter().find(|extent| extent.partition == partition) else { return Ok(commands) };
    let (mut next, end) = (extent.start, extent.end);
    let mut reader = log.scan(&[(partition, next)]).await?;
    while next < end {
        // A scan is not told of assignments.
        let Delivery::Records(records) = reader.next(PAGE).await? else { continue };
        for record in records {
            next = record.position.offset + 1;
            if record.logged_at > at {
                return Ok(commands);
            }
            let command = envelope::decode(&record.payload).ok().map(|intent| intent.command);
            if let Some(command) = command.filter(|command| command.session_id() == session_id) {
                commands.insert(record.position.offset, (record.logged_at, command));
            }
        }
    }
    Ok(commands)
}

impl Line {
    fn bookings(&self) -> u64 {
        self.places.iter().filter_map(|place| place.in_line).max().unwrap_or(0)
    }

    /// A record that was decided, by then or since.
    fn add(&mut self, row: &DecisionRow, record: Option<&(Timestamp, Command)>) {
        let decision = &row.decision;
        let command = record.map(|(_, command)| command);
        let told = Some((decision.outcome, decision.decided_at)).filter(|(_, decided_at)| *decided_at <= self.at);
        let patient_id = row.patient_id.clone().or_else(|| command.and_then(Command::patient_id).cloned());
        let is_first = decision.kind == Kind::Book && decision.first.is_none();
        if let Some((outcome, _)) = told {
            match (decision.kind, outcome, command) {
                (Kind::Book, Outcome::Booked { number }, _) if is_first => {
                    self.held.extend(patient_id.clone().map(|patient_id| (number, patient_id)));
                }
                (Kind::Cancel, Outcome::Cancelled { number }, _) => drop(self.held.remove(&number)),
                (Kind::CloseSession, Outcome::Applied, _) => {
                    self.closed = true;
                    self.held.clear();
                }
                (Kind::OpenSession, Outcome::Applied, command) => {
                    self.closed = false;
                    if let Some(Command::OpenSession(session)) = command {
                        self.capacity = Some(session.capacity);
                    }
                }
                (Kind::ChangeCapacity, Outcome::Applied, Some(Command::ChangeCapacity(change))) => {
                    self.capacity = Some(change.capacity);
                }
                _ => {}
            }
        }
        let proven = record.is_some_and(|(logged_at, command)| is_on(row, *logged_at, command));
        self.places.push(Place {
            in_line: is_first.then(|| self.bookings() + 1),
            position: decision.position,
            logged_at: decision.logged_at,
            asked: decision.kind,
            patient_id,
            told,
            proven,
            cover: None,
        });
    }

    /// A record that is not decided to this day.
    fn wait(&mut self, position: Position, logged_at: Timestamp, command: &Command) {
        let is_booking = command.kind() == Kind::Book;
        self.places.push(Place {
            in_line: is_booking.then(|| self.bookings() + 1),
            position,
            logged_at,
            asked: command.kind(),
            patient_id: command.patient_id().cloned(),
            told: None,
            proven: true,
            cover: None,
        });
    }

    /// Notes what published roots make of each place.
    fn mark(&mut self, covers: &BTreeMap<u64, Cover>) {
        for place in &mut self.places {
            place.cover = covers.get(&place.position.offset).copied();
        }
    }

    fn faults(&self) -> impl Iterator<Item = String> {
        self.places.iter().filter_map(Place::fault)
    }

    fn free(&self) -> Option<u32> {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.capacity.map(|capacity| if self.closed { 0 } else { capacity.saturating_sub(held) })
    }

    fn to_json(&self) -> Value {
        let places = self.places.iter().map(|place| {
            json!({
                "in_line": place.in_line,
                "log": place.position,
                "logged_at": place.logged_at,
                "asked": place.asked.as_str(),
                "patient_id": place.patient_id,
                "outcome": place.told.map(|(outcome, _)| outcome),
                "decided_at": place.told.map(|(_, decided_at)| decided_at),
                "proven": place.proven,
                "root": place.cover.map(Cover::as_str),
                "published_at": place.cover.and_then(Cover::published_at),
            })
        });
        json!({
            "session": self.state.session,
            "at": self.at,
            "capacity": self.capacity,
            "closed": self.closed,
            "held": self.held,
            "free": self.free(),
            "line": places.collect::<Vec<_>>(),
            "faults": self.faults().collect::<Vec<_>>(),
        })
    }

    fn to_text(&self) -> anyhow::Result<String> {
        let session = &self.state.session;
        let zone = TimeZone::get(&session.timezone).context("the session's time zone is not known here")?;
        let local = |moment: Timestamp| moment.to_jiff().to_zoned(zone.clone()).strftime("%F %T%.6f").to_string();
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        let published = self.places.iter().any(|place| place.cover.is_some()).then_some("published");
        let header = ["in line", "log", "logged at", "asked", "patient", "told by then", "at"];
        table.set_header(header.into_iter().chain(published));
        for place in &self.places {
            let (told, at) = match place.told {
                Some((outcome, at)) => (outcome.to_string(), local(at)),
                None => ("waits".to_owned(), String::new()),
            };
            let proof = if place.proven { "" } else { " (its record has aged, or is another one)" };
            let cells = [
                place.in_line.map(|number| number.to_string()).unwrap_or_default(),
                place.position.to_string(),
                local(place.logged_at) + proof,
                place.asked.as_str().to_owned(),
                place.patient_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                told,
                at,
            ];
            let published =
                place.cover.map(|cover| cover.published_at().map_or_else(|| cover.as_str().replace('_', " "), local));
            table.add_row(cells.into_iter().chain(published));
        }
        if let Some(column) = table.column_mut(0) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let capacity = self.capacity.map_or_else(|| "?".to_owned(), |capacity| capacity.to_string());
        let free = self.free().map_or_else(|| "?".to_owned(), |free| free.to_string());
        Ok(format!(
            "{id}, {doctor}, {day}\n{table}\nAt {at} ({zone}): {held} of {capacity} numbers were held, {free} free{closed}.\n{faults}",
            id = session.session_id,
            doctor = session.doctor_name,
            day = session.day,
            at = local(self.at),
            zone = session.timezone,
            held = self.held.len(),
            closed = if self.closed { ", and the session was closed" } else { "" },
            faults = self.faults().map(|fault| format!("{fault}\n")).collect::<String>(),
        ))
    }
}

/// Whether a decision is the one on this record.
fn is_on(row: &DecisionRow, logged_at: Timestamp, command: &Command) -> bool {
    let decision = &row.decision;
    decision.logged_at == logged_at
        && command.kind() == decision.kind
        && command.ticket() == decision.ticket
        && command.patient_id() == row.patient_id.as_ref()
        && decision.session_id.as_ref().is_none_or(|session_id| session_id == command.session_id())
}
