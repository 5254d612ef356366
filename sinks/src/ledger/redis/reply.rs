//! What scripts answer.

use orderly_domain::decision::{Outcome, Reason};
use orderly_domain::inventory::Admission;
use orderly_domain::{Offset, Timestamp};
use redis::{FromRedisValue as _, Value};

use super::call::parse_moment;

/// A script's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It was done.
    Done { versions: Vec<u64>, answers: Vec<String> },
    /// That session, counted from 0, was taken over by another.
    Fenced(usize),
    /// That session, counted from 0, is not what the caller knows; `None` when the day is not.
    Lost(Option<usize>),
    /// A later call came first.
    Overtaken,
}

impl Reply {
    /// Reads the answer to call `number` of `caller`; `None` when it is not one.
    pub(super) fn read(value: Value, caller: &str, number: u64) -> Option<Self> {
        let Value::Array(fields) = value else { return None };
        let mut fields = fields.into_iter();
        let mut text = || String::from_redis_value(fields.next()?).ok();
        let (word, echoed_caller, echoed_number) = (text()?, text()?, text()?);
        if echoed_caller != caller || echoed_number != number.to_string() {
            return None;
        }
        let mut index = || Some(usize::from_redis_value(fields.next()?).ok()?.checked_sub(1));
        match word.as_str() {
            "OK" => {
                let versions = Vec::from_redis_value(fields.next()?).ok()?;
                let answers = fields.next().map_or(Some(vec![]), |value| Vec::from_redis_value(value).ok())?;
                Some(Self::Done { versions, answers })
            }
            "FENCED" => index()?.map(Self::Fenced),
            "LOST" => index().map(Self::Lost),
            "OVERTAKEN" => Some(Self::Overtaken),
            _ => None,
        }
    }
}

/// Reads the answer to the command at `offset`; `None` when it is not one.
pub(super) fn admission(answer: &str, offset: Offset) -> Option<Admission> {
    let mut words = answer.split(' ');
    if words.next()?.parse() != Ok(offset) {
        return None;
    }
    let word = words.next()?;
    let mut number = || words.next()?.parse().ok();
    let outcome = match word {
        "booked" => Outcome::Booked { number: number()? },
        "cancelled" => Outcome::Cancelled { number: number()? },
        "repeat" => Outcome::Repeat { first: words.next()?.parse().ok()? },
        "applied" => Outcome::Applied,
        reason => Outcome::Rejected(Reason::parse(reason)?),
    };
    let full_until: Option<Timestamp> = match words.next() {
        Some(digits) => Some(parse_moment(digits)?),
        None => None,
    };
    Some(Admission { outcome, full_until })
}

/// What is left of a session, from its record; `None` when it cannot be read, and `Some(None)` while it is being restored.
pub(super) fn remaining(record: &str) -> Option<Option<u32>> {
    let fields: Vec<_> = record.splitn(10, ' ').collect();
    let [_, _, capacity, taken, _, state, ..] = fields.as_slice() else { return None };
    let (capacity, taken): (u32, u32) = (capacity.parse().ok()?, taken.parse().ok()?);
    match *state {
        "0" => Some(Some(capacity.saturating_sub(taken))),
        "1" => Some(Some(0)),
        "r" => Some(None),
        _ => None,
    }
}

/// Whether a session's record has fewer bookings than that, with those whose release is not committed, and nobody is restoring
/// it; `None` when it cannot be read.
pub(super) fn is_behind(record: &str, released: u32, booked: u32) -> Option<bool> {
    let fields: Vec<_> = record.splitn(10, ' ').collect();
    let [_, _, _, taken, _, state, ..] = fields.as_slice() else { return None };
    Some(*state != "r" && taken.parse::<u32>().ok()?.saturating_add(released) < booked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(caller: &str, number: &str) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        let versions = Value::Array(vec![Value::Int(3)]);
        Value::Array(vec![text("OK"), text(caller), text(number), versions, Value::Array(vec![text("7 applied")])])
    }

    #[test]
    fn takes_no_answer_to_another_call() {
        let expected = Reply::Done { versions: vec![3], answers: vec!["7 applied".into()] };
        assert_eq!(Reply::read(done("me", "4"), "me", 4), Some(expected));
        assert_eq!(Reply::read(done("me", "3"), "me", 4), None);
        assert_eq!(Reply::read(done("you", "4"), "me", 4), None);
        assert_eq!(Reply::read(Value::Okay, "me", 4), None);
        assert_eq!(admission("7 applied", 8), None);
    }

    #[test]
    fn reads_every_answer() {
        let until = Timestamp::from_micros(-1);
        let booked = |full_until| Some(Admission { outcome: Outcome::Booked { number: 12 }, full_until });
        assert_eq!(admission("7 booked 12", 7), booked(None));
        assert_eq!(admission("7 booked 12 09223372036854775807", 7), booked(Some(until)));
        let sold_out = Admission { outcome: Outcome::Rejected(Reason::SoldOut), full_until: Some(until) };
        assert_eq!(admission("7 sold_out 09223372036854775807", 7), Some(sold_out));
        assert_eq!(admission("7 repeat 5", 7), Some(Outcome::Repeat { first: 5 }.into()));
        assert_eq!(admission("7 cancelled 3", 7), Some(Outcome::Cancelled { number: 3 }.into()));
        for reason in Reason::ALL {
            assert_eq!(admission(&format!("7 {reason}"), 7), Some(reason.into()));
        }
        assert_eq!(admission("7 nonsense", 7), None);
    }

    #[test]
    fn reads_what_is_left() {
        assert_eq!(remaining("3 7 20 5 6 0 d 09 10 li ming"), Some(Some(15)));
        assert_eq!(remaining("3 7 20 5 6 1 d 09 10 li ming"), Some(Some(0)));
        assert_eq!(remaining("3 7 20 5 6 r d 09 10 li ming"), Some(None));
        assert_eq!(remaining("noise"), None);
        assert_eq!(is_behind("3 7 20 5 6 0 d 09 10 li ming", 0, 5), Some(false));
        assert_eq!(is_behind("3 7 20 5 6 1 d 09 10 li ming", 0, 6), Some(true));
        assert_eq!(is_behind("3 7 20 5 6 0 d 09 10 li ming", 1, 6), Some(false));
        assert_eq!(is_behind("3 7 20 5 6 r d 09 10 li ming", 0, 6), Some(false));
        assert_eq!(is_behind("noise", 0, 0), None);
    }
}
