//! Compares each decision with its record and with what the rules answer.

use std::collections::BTreeMap;
use std::time::Duration;

use orderly_domain::command::Kind;
use orderly_domain::port::store::{Committed, DecisionRow};
use orderly_domain::{Book, Command, Offset, Outcome, Partition, Position, Reason, SessionId, Timestamp, ticket};

use crate::history::{Moment, asked};
use crate::report::{Invariant, Report};
use crate::rules::Rules;
use crate::{Error, Options};

/// The first record of a ticket in a partition.
#[derive(Clone, Debug)]
struct First {
    offset: Offset,
    logged_at: Timestamp,
    /// Index in `Judge::sessions`.
    session: u32,
    outcome: Outcome,
    /// The store knew the session when it was decided; else it does not keep the session's name.
    named: bool,
}

/// What a record may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Fresh(Outcome),
    Repeat { first: Offset, outcome: Outcome },
}

impl Answer {
    fn is_that_of(&self, decision: &Committed) -> bool {
        match self {
            // However often it is told, and whether or not a retry of the refusal was known as one.
            Self::Fresh(outcome @ Outcome::Rejected(Reason::Duplicate))
            | Self::Repeat { outcome: outcome @ Outcome::Rejected(Reason::Duplicate), .. } => {
                decision.outcome == *outcome
            }
            Self::Fresh(outcome) => decision.first.is_none() && decision.outcome == *outcome,
            Self::Repeat { first, outcome } => decision.first == Some(*first) && decision.outcome == *outcome,
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh(outcome) => outcome.fmt(f),
            Self::Repeat { first, outcome } => write!(f, "{outcome} again, as at offset {first}"),
        }
    }
}

/// Goes through the history once.
pub(crate) struct Judge {
    partitions: u16,
    options: Options,
    rules: Rules,
    replaying: bool,
    firsts: BTreeMap<(Partition, ticket::Id), First>,
    sessions: BTreeMap<SessionId, u32>,
    /// Refusals that are right if a booking in another partition turns up, and what to say if none does.
    owed: Vec<Owed>,
    /// Refusals that lie further back may have been forgotten here.
    forgets: bool,
    /// How many tickets were left when some were forgotten last.
    kept: usize,
}

/// A refusal that is right if a booking in another partition turns up.
#[derive(Clone, Debug)]
struct Owed {
    book: Book,
    position: Position,
    logged_at: Timestamp,
    row: String,
}

/// A booking may be refused for one that is decided after it: by a node that died before it committed, say. So much later, in
/// the log's time, it must have turned up.
const OWED_FOR: Duration = Duration::from_secs(120);

/// How far the clocks of brokers may be apart: what comes next may have been logged so much earlier.
const CLOCKS_APART: Duration = Duration::from_secs(3600);

/// A refusal is kept for so many times as long as it is known for sure, so that one that was told again is recognised.
const KEPT: u32 = 2;

/// So many tickets are not worth a look at which of them may be forgotten.
const TICKETS_MIN: usize = 1_024;

impl Judge {
    pub(crate) fn new(partitions: u16, options: Options) -> Self {
        Self {
            partitions,
            options,
            rules: Rules::default(),
            replaying: true,
            firsts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            owed: Vec::new(),
            forgets: false,
            kept: 0,
        }
    }

    /// How many tickets are in memory.
    pub(crate) fn tickets(&self) -> usize {
        self.firsts.len()
    }

    /// Forgets what no decision after this log time, and at or after these offsets, can depend on.
    pub(crate) fn forget(&mut self, now: Timestamp, next: &BTreeMap<Partition, Offset>) {
        self.owed.retain(|owed| !self.rules.has_rival(&owed.book, owed.position.partition));
        self.rules.forget(now.minus(CLOCKS_APART));
        if self.firsts.len() < TICKETS_MIN.max(2 * self.kept) {
            return;
        }
        let Options { repeats_known_records, repeats_known_for, .. } = self.options;
        self.firsts.retain(|(partition, _), first| {
            let next = next.get(partition).copied().unwrap_or(0);
            next.saturating_sub(first.offset) <= repeats_known_records * u64::from(KEPT)
                && now.since(first.logged_at) <= repeats_known_for * KEPT
        });
        (self.forgets, self.kept) = (true, self.firsts.len());
    }

    /// What the decisions that were judged so far amount to.
    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether the log is decided again.
    pub(crate) const fn is_replaying(&self) -> bool {
        self.replaying
    }

    /// Gives up on deciding the log again: its beginning is gone.
    pub(crate) fn stop_replaying(&mut self, report: &mut Report, cause: &str) {
        self.replaying = false;
        for invariant in [Invariant::InOrder, Invariant::Deterministic] {
            report.skip(invariant, &format!("{cause}: the beginning, from which to decide it again, is gone"));
        }
    }

    pub(crate) fn judge(&mut self, moment: Moment, report: &mut Report) -> Result<(), Error> {
        let Moment { position, logged_at, record, decision } = moment;
        let command = record.as_ref().map(|record| asked(record, self.partitions)).transpose()?.flatten();
        report.looked_at(Invariant::NoLoss, u64::from(record.is_some()));
        let Some(row) = decision else {
            report.violated(Invariant::NoLoss, format!("{position} has no decision"));
            command.iter().for_each(|command| report.accuse(command.session_id()));
            return Ok(());
        };
        report.looked_at(Invariant::ExactlyOnce, 1);
        let before = report.violations_in_all();
        if record.is_some() {
            if let Some(difference) = difference(&row, command.as_ref(), logged_at) {
                let row = format!("{position}: the decision is on another record: {difference}");
                report.violated(Invariant::ExactlyOnce, row);
            }
            if self.replaying {
                self.compare(&row, command.as_ref(), report);
            }
        }
        if let Some(session_id) = row.decision.session_id.as_ref().or(command.as_ref().map(Command::session_id)) {
            report.accuse_if_more_than(before, session_id);
        }
        self.rules.follow(&row, command.as_ref());
        Ok(())
    }

    fn compare(&mut self, row: &DecisionRow, command: Option<&Command>, report: &mut Report) {
        let decision = &row.decision;
        let answers = match command {
            None => vec![Answer::Fresh(Outcome::Rejected(Reason::Malformed))],
            Some(Command::Book(book)) => {
                report.looked_at(Invariant::InOrder, 1);
                self.book(book, decision)
            }
            Some(command) => vec![Answer::Fresh(self.rules.expect(command, decision.logged_at))],
        };
        report.looked_at(Invariant::Deterministic, 1);
        let answers = match command {
            Some(Command::Book(book))
                if !self.options.embedded && !answers.iter().any(|answer| answer.is_that_of(decision)) =>
            {
                self.concede(book, decision, answers)
            }
            _ => answers,
        };
        if !answers.iter().any(|answer| answer.is_that_of(decision)) {
            let broken = self.broken(&answers[0], decision);
            let session = decision.session_id.as_ref().map_or("no session", SessionId::as_str);
            let kind = decision.kind.as_str();
            let told = decision.outcome;
            let row =
                format!("{}: {kind} on {session} was told {told}; by the rules: {}", decision.position, answers[0]);
            report.violated(broken, row);
        }
    }

    /// Adds what a booking may be answered where partitions have no common order.
    fn concede(&mut self, book: &Book, decision: &Committed, mut answers: Vec<Answer>) -> Vec<Answer> {
        let Position { partition, .. } = decision.position;
        let alone = self.rules.expect_alone(book, partition, decision.logged_at);
        if answers.iter().any(|answer| matches!(answer, Answer::Fresh(_))) {
            answers.push(Answer::Fresh(alone));
            if let Outcome::Rejected(reason @ (Reason::AlreadyBooked | Reason::Duplicate)) = decision.outcome
                && matches!(
                    alone,
                    Outcome::Booked { .. } | Outcome::Rejected(Reason::AlreadyBooked | Reason::Duplicate)
                )
            {
                let row = format!("{}: was told {reason}, and nothing stood in its way", decision.position);
                let Committed { position, logged_at, .. } = *decision;
                self.owed.push(Owed { book: book.clone(), position, logged_at, row });
                answers.push(Answer::Fresh(decision.outcome));
            }
        }
        answers
    }

    /// Says which refusals were owed to nothing in the end. Without a log time up to which everything was judged, this is the
    /// end; with one, only for those that lie so far before it that nothing can turn up any more.
    pub(crate) fn settle(&self, watermark: Option<Timestamp>, report: &mut Report) {
        let is_due = |owed: &&Owed| watermark.is_none_or(|watermark| watermark.since(owed.logged_at) > OWED_FOR);
        for Owed { book, position, row, .. } in self.owed.iter().filter(is_due) {
            if !self.rules.has_rival(book, position.partition) {
                report.violated(Invariant::InOrder, row.clone());
                report.accuse(&book.session.session_id);
            }
        }
    }

    /// What a booking may be answered, the likeliest first, and remembers it if it is its ticket's first.
    fn book(&mut self, book: &Book, decision: &Committed) -> Vec<Answer> {
        let Committed { position, logged_at, .. } = *decision;
        let ids = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let session = *self.sessions.entry(book.session.session_id.clone()).or_insert(ids);
        let key = (position.partition, book.ticket);
        let fresh = match self.rules.expect(&Command::Book(book.clone()), logged_at) {
            Outcome::Repeat { first } => {
                // The booking's own number: since then the ticket may have been refused for another session.
                let booked = self.rules.number_of(book).map(|number| Outcome::Booked { number });
                Answer::Repeat { first, outcome: booked.unwrap_or(decision.outcome) }
            }
            outcome => Answer::Fresh(outcome),
        };
        let mut answers = Vec::with_capacity(4);
        let mut forgotten = true;
        if let Some(first) = self.firsts.get(&key) {
            // A ticket that booked elsewhere is refused as a duplicate however often it is asked; nobody needs to
            // remember the first refusal.
            forgotten = first.outcome == Outcome::Rejected(Reason::Duplicate)
                || position.offset - first.offset > self.options.repeats_known_records
                || logged_at.since(first.logged_at) > self.options.repeats_known_for;
            let repeat = Answer::Repeat { first: first.offset, outcome: first.outcome };
            if first.session == session {
                answers.push(repeat);
            } else {
                answers.push(Answer::Fresh(Outcome::Rejected(Reason::Duplicate)));
                // A store does not keep the name of a session that nobody knew. After a restart, any counts as the same.
                if !first.named {
                    answers.push(repeat);
                }
            }
        }
        if forgotten {
            answers.push(fresh);
        }
        if self.forgets {
            // What was decided so long ago is not known here any more.
            let window = self.options.repeats_known_records * u64::from(KEPT);
            answers.extend(
                decision
                    .first
                    .filter(|first| position.offset.saturating_sub(*first) > window)
                    .map(|first| Answer::Repeat { first, outcome: decision.outcome }),
            );
        }
        if self.rules.kept_since().is_some() {
            answers.push(Answer::Fresh(Outcome::Rejected(Reason::Duplicate)));
        }
        let decided_afresh = decision.first.is_none() && decision.outcome != Outcome::Rejected(Reason::Duplicate);
        if !self.firsts.contains_key(&key) || (forgotten && decided_afresh) {
            let named = decision.session_id.is_some();
            let first = First { offset: position.offset, logged_at, session, outcome: decision.outcome, named };
            self.firsts.insert(key, first);
        }
        answers
    }

    /// Which invariant a wrong answer breaks.
    fn broken(&self, expected: &Answer, decision: &Committed) -> Invariant {
        let expected_reason = match expected {
            Answer::Fresh(outcome) => outcome.reason(),
            Answer::Repeat { .. } => None,
        };
        match (expected, decision.outcome) {
            (Answer::Repeat { .. }, _) => Invariant::ExactlyOnce,
            (_, Outcome::Booked { .. }) if decision.kind == Kind::Book && decision.first.is_some() => {
                Invariant::ExactlyOnce
            }
            (_, Outcome::Booked { .. }) if expected_reason == Some(Reason::Duplicate) => Invariant::ExactlyOnce,
            (_, Outcome::Booked { .. }) if expected_reason == Some(Reason::AlreadyBooked) => Invariant::OnePerPatient,
            (_, Outcome::Booked { number }) if self.is_oversold(decision, number) => Invariant::NoOversell,
            (Answer::Fresh(Outcome::Booked { .. }), Outcome::Booked { .. } | Outcome::Rejected(Reason::SoldOut)) => {
                Invariant::InOrder
            }
            _ => Invariant::Deterministic,
        }
    }

    fn is_oversold(&self, decision: &Committed, number: u32) -> bool {
        let clinic = decision.session_id.as_ref().and_then(|session_id| self.rules.clinics.get(session_id));
        clinic.is_some_and(|clinic| {
            let capacity = clinic.session.as_ref().map_or(u32::MAX, |session| session.capacity);
            clinic.is_taken(number) || !(1..=capacity).contains(&number)
        })
    }
}

/// How a decision differs from the record whose place it has, if it does.
fn difference(row: &DecisionRow, command: Option<&Command>, logged_at: Timestamp) -> Option<String> {
    let decision = &row.decision;
    let kind = command.map_or(Kind::Malformed, Command::kind);
    let ticket = command.and_then(Command::ticket);
    let patient_id = command.and_then(Command::patient_id);
    if decision.logged_at != logged_at {
        return Some(format!("it has log time {}, the record {logged_at}", decision.logged_at));
    }
    if decision.kind != kind {
        return Some(format!("it is a {}, the record a {}", decision.kind.as_str(), kind.as_str()));
    }
    if decision.ticket != ticket {
        return Some("it has another ticket".to_owned());
    }
    if row.patient_id.as_ref() != patient_id {
        return Some("it has another patient".to_owned());
    }
    match (&decision.session_id, command.map(Command::session_id)) {
        (Some(told), Some(asked)) if told != asked => Some(format!("it is on session {told}, the record on {asked}")),
        _ => None,
    }
}
