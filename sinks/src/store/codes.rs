//! The small integers that stand for names in tables. They are stored: never change one.

use orderly_domain::command::Kind;
use orderly_domain::port::store::AppointmentStatus;
use orderly_domain::{Exclusivity, Outcome, Reason};

pub(super) const fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Book => 0,
        Kind::Cancel => 1,
        Kind::OpenSession => 2,
        Kind::CloseSession => 3,
        Kind::ChangeCapacity => 4,
        Kind::Malformed => 5,
    }
}

pub(super) fn kind_of(code: u8) -> Option<Kind> {
    Kind::ALL.into_iter().find(|known| kind(*known) == code)
}

pub(super) const fn reason(reason: Reason) -> u8 {
    match reason {
        Reason::SoldOut => 0,
        Reason::AlreadyBooked => 1,
        Reason::NotReleased => 2,
        Reason::SessionClosed => 3,
        Reason::UnknownSession => 4,
        Reason::Duplicate => 5,
        Reason::Expired => 6,
        Reason::Malformed => 7,
        Reason::NotBooked => 8,
        Reason::BelowBooked => 9,
        Reason::SessionConflict => 10,
    }
}

/// The code of an outcome; `None` for a repeat, which is stored as what it repeats.
pub(super) const fn outcome(outcome: Outcome) -> Option<u8> {
    match outcome {
        Outcome::Booked { .. } => Some(0),
        Outcome::Rejected(_) => Some(1),
        Outcome::Cancelled { .. } => Some(2),
        Outcome::Applied => Some(3),
        Outcome::Repeat { .. } => None,
    }
}

/// The outcome of a row; `None` when its columns do not go together.
pub(super) fn outcome_of(code: u8, reason_code: Option<u8>, number: Option<u32>) -> Option<Outcome> {
    match (code, reason_code, number) {
        (0, None, Some(number)) => Some(Outcome::Booked { number }),
        (1, Some(code), None) => Reason::ALL.into_iter().find(|known| reason(*known) == code).map(Outcome::Rejected),
        (2, None, Some(number)) => Some(Outcome::Cancelled { number }),
        (3, None, None) => Some(Outcome::Applied),
        _ => None,
    }
}

pub(super) const fn status(status: AppointmentStatus) -> u8 {
    match status {
        AppointmentStatus::Booked => 0,
        AppointmentStatus::Cancelled => 1,
        AppointmentStatus::SessionClosed => 2,
    }
}

pub(super) fn status_of(code: u8) -> Option<AppointmentStatus> {
    [AppointmentStatus::Booked, AppointmentStatus::Cancelled, AppointmentStatus::SessionClosed]
        .into_iter()
        .find(|known| status(*known) == code)
}

pub(super) const fn exclusivity(exclusivity: Exclusivity) -> u8 {
    match exclusivity {
        Exclusivity::DepartmentDay => 0,
        Exclusivity::Session => 1,
        Exclusivity::None => 2,
    }
}

pub(super) fn exclusivity_of(code: u8) -> Option<Exclusivity> {
    [Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None]
        .into_iter()
        .find(|known| exclusivity(*known) == code)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::{postgres, sqlite};
    use super::*;

    fn table(connection: &Connection, name: &str) -> Vec<(u8, String)> {
        let mut statement = connection.prepare(&format!("SELECT code, name FROM {name} ORDER BY code")).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// The tables that people join with say what the code here does.
    #[test]
    fn tables_name_the_codes() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::sqlite::migrate(&mut connection, sqlite::MIGRATIONS).unwrap();
        let kinds = table(&connection, "kinds");
        assert_eq!(kinds, Kind::ALL.map(|known| (kind(known), known.as_str().to_owned())));
        let reasons = table(&connection, "reasons");
        assert_eq!(reasons, Reason::ALL.map(|known| (reason(known), known.as_str().to_owned())));
        let sample = [
            Outcome::Booked { number: 1 },
            Outcome::Rejected(Reason::SoldOut),
            Outcome::Cancelled { number: 1 },
            Outcome::Applied,
        ];
        let outcomes = table(&connection, "outcomes");
        assert_eq!(outcomes, sample.map(|known| (outcome(known).unwrap(), known.as_str().to_owned())));
        for (code, name) in table(&connection, "statuses") {
            assert_eq!(status_of(code).unwrap().as_str(), name);
        }
        for (code, name) in table(&connection, "exclusivities") {
            assert_eq!(serde_json::to_value(exclusivity_of(code).unwrap()).unwrap(), name);
        }
    }

    /// PostgreSQL's first migration names them with the same words.
    #[test]
    fn both_stores_have_the_same_tables() {
        let tables = |migration: &str| {
            let lines = migration.lines().skip_while(|line| !line.starts_with("INSERT INTO kinds"));
            let rows = lines.take_while(|line| !line.contains("CREATE TABLE partitions"));
            rows.filter(|line| line.contains("'") && !line.contains("CHECK")).map(str::to_owned).collect::<Vec<_>>()
        };
        let names = tables(sqlite::MIGRATIONS[0]);
        assert!(names.iter().any(|line| line.contains("'session_conflict'")));
        assert_eq!(tables(postgres::MIGRATIONS[0]), names);
    }

    #[test]
    fn codes_come_back() {
        for known in Kind::ALL {
            assert_eq!(kind_of(kind(known)), Some(known));
        }
        for known in Reason::ALL {
            assert_eq!(outcome_of(1, Some(reason(known)), None), Some(Outcome::Rejected(known)));
        }
        assert_eq!(outcome(Outcome::Repeat { first: 0 }), None);
        assert_eq!(outcome_of(0, None, None), None, "a booking has a number");
        assert_eq!((kind_of(6), status_of(3), exclusivity_of(3)), (None, None, None));
    }
}
