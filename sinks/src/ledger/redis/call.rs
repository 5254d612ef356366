//! A call of the script `apply`: commands of one day, as its arguments want them.

use std::collections::HashMap;

use orderly_domain::personal::Pseudonyms;
use orderly_domain::port::{Error, Result};
use orderly_domain::session::{Exclusivity, Session};
use orderly_domain::{Command, Fence, Partition, Position, Timestamp};

use super::keys::Day;
use super::known::{Key, Known};

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    pub(super) position: Position,
    pub(super) logged_at: Timestamp,
    pub(super) fence: Fence,
    pub(super) action: Action<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'a> {
    /// Decide it and apply it.
    Do(&'a Command),
    /// Take it back: a booking or an opening.
    Undo(&'a Command),
}

impl<'a> Step<'a> {
    pub(super) const fn command(&self) -> &'a Command {
        match self.action {
            Action::Do(command) | Action::Undo(command) => command,
        }
    }
}

/// A session of a call.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) fence: Fence,
    pub(super) partition: Partition,
}

/// The sessions of a call, and its arguments.
pub(super) struct Call {
    pub(super) entries: Vec<Entry>,
    pub(super) args: Vec<Vec<u8>>,
}

impl Call {
    /// The call number `number` of `caller`, in which pseudonyms stand for patients. `repeats` is the number of the first one
    /// that asked the same and was not answered; 0 for a new one.
    ///
    /// # Errors
    /// `Fenced` when a step comes from before a takeover that this process made itself.
    pub(super) fn new(
        caller: &str,
        number: u64,
        repeats: u64,
        day: &Day,
        steps: &[Step<'_>],
        known: &Known,
        pseudonyms: &Pseudonyms,
    ) -> Result<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places = HashMap::new();
        let mut commands = Vec::with_capacity(steps.len() * 6);
        for step in steps {
            let command = step.command();
            let place = *places.entry((command.session_id(), command.doctor_id(), step.fence)).or_insert_with(|| {
                let key = (command.session_id().clone(), command.doctor_id().clone());
                entries.push(Entry { key, fence: step.fence, partition: step.position.partition });
                entries.len()
            });
            encode(step, place, pseudonyms, &mut commands);
        }
        let mut args =
            vec![bytes(caller), bytes(number), bytes(known.last_call(day)), bytes(entries.len()), bytes(repeats)];
        for entry in &entries {
            let seen = known.get(day, &entry.key);
            if seen.is_some_and(|seen| seen.fence > entry.fence) {
                return Err(Error::Fenced { partition: entry.partition });
            }
            let version = seen.filter(|seen| seen.fence == entry.fence).map(|seen| bytes(seen.version));
            args.extend([bytes(&entry.key.0), bytes(&entry.key.1), bytes(entry.fence), version.unwrap_or_default()]);
        }
        args.append(&mut commands);
        Ok(Self { entries, args })
    }
}

fn encode(step: &Step<'_>, place: usize, pseudonyms: &Pseudonyms, args: &mut Vec<Vec<u8>>) {
    let kind = match step.action {
        Action::Do(Command::Book(_)) => "b",
        Action::Do(Command::Cancel(_)) => "c",
        Action::Do(Command::OpenSession(_)) => "o",
        Action::Do(Command::CloseSession(_)) => "x",
        Action::Do(Command::ChangeCapacity(_)) => "r",
        Action::Undo(Command::Book(_)) => "u",
        Action::Undo(_) => "f",
    };
    args.extend([bytes(kind), bytes(place), bytes(step.position.offset), moment(step.logged_at)]);
    match step.action {
        Action::Do(Command::Book(book)) => {
            args.extend([book.ticket.as_bytes().to_vec(), pseudonyms.of(&book.patient_id).into_bytes()]);
        }
        Action::Do(Command::Cancel(cancel)) => {
            args.extend([cancel.ticket.as_bytes().to_vec(), pseudonyms.of(&cancel.patient_id).into_bytes()]);
        }
        Action::Do(Command::OpenSession(session)) => args.extend(terms(session)),
        Action::Do(Command::ChangeCapacity(change)) => args.push(bytes(change.capacity)),
        Action::Undo(Command::Book(book)) => args.push(book.ticket.as_bytes().to_vec()),
        Action::Do(Command::CloseSession(_)) | Action::Undo(_) => {}
    }
}

/// What a session says to those who book: capacity, `release_at`, `ends_at`, scope.
fn terms(session: &Session) -> [Vec<u8>; 4] {
    [bytes(session.capacity), moment(session.release_at), moment(session.ends_at), scope(session.exclusivity)]
}

pub(super) fn scope(exclusivity: Exclusivity) -> Vec<u8> {
    bytes(match exclusivity {
        Exclusivity::DepartmentDay => "d",
        Exclusivity::Session => "s",
        Exclusivity::None => "n",
    })
}

/// A number or a name as an argument.
#[expect(clippy::needless_pass_by_value, reason = "numbers and names read alike so")]
pub(super) fn bytes(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

const SIGN: u64 = 1 << 63;

/// A moment as 20 digits, which sort as moments do, also those before 1970.
pub(super) fn moment(at: Timestamp) -> Vec<u8> {
    format!("{:020}", at.as_micros().cast_unsigned() ^ SIGN).into_bytes()
}

/// The moment of 20 digits.
pub(super) fn parse_moment(digits: &str) -> Option<Timestamp> {
    digits.parse::<u64>().ok().map(|biased| Timestamp::from_micros((biased ^ SIGN).cast_signed()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moments_sort_as_text(one in any::<i64>(), other in any::<i64>()) {
            let text = |micros| String::from_utf8(moment(Timestamp::from_micros(micros))).unwrap();
            prop_assert_eq!(text(one).len(), 20);
            prop_assert_eq!(text(one).cmp(&text(other)), one.cmp(&other));
            prop_assert_eq!(parse_moment(&text(one)), Some(Timestamp::from_micros(one)));
        }
    }
}
