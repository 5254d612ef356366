//! The log record's codec: a versioned, checksummed Protobuf envelope around one command.

use jiff::civil::{Date, Time, date};
use prost::Message as _;

use crate::clock::Timestamp;
use crate::command::{Book, Cancel, ChangeCapacity, CloseSession, Command, SessionRef};
use crate::personal::{Fields, Sealed};
use crate::session::{Exclusivity, Session, validate_capacity};
use crate::ticket;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated from proto/")]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/orderly.intents.v1.rs"));
}

/// The version of this reader and writer. Raise it, and `reader_version_min` of the records concerned, when older readers
/// would decide a record wrongly.
pub const VERSION: u32 = 1;

/// The longest record, in bytes.
pub const BYTES_MAX: usize = 16 * 1024;

/// A record that was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It will never be readable: its decision is the refusal `malformed`.
    #[error("malformed record: {0}")]
    Malformed(String),
    /// A newer reader can read it: this one must stop, not guess.
    #[error("the record needs a reader of version {needed}, this is {VERSION}: run a newer orderly on this log")]
    TooNew {
        /// The version it asks for.
        needed: u32,
    },
}

/// A command as it lies in the log, with who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The subject of the token that asked.
    pub requested_by: String,
    /// What was asked.
    pub command: Command,
}

/// Encodes an intent.
#[must_use]
pub fn encode(intent: &Intent) -> Vec<u8> {
    let command = match &intent.command {
        Command::Book(book) => wire::intent::Command::Book(wire::Book {
            ticket_id: book.ticket.as_bytes().to_vec(),
            patient_id: book.patient_id.as_str().to_owned(),
            session: Some(reference_to_wire(&book.session)),
            details: book.details.as_deref().map(details_to_wire),
        }),
        Command::Cancel(cancel) => wire::intent::Command::Cancel(wire::Cancel {
            ticket_id: cancel.ticket.as_bytes().to_vec(),
            patient_id: cancel.patient_id.as_str().to_owned(),
            session: Some(reference_to_wire(&cancel.session)),
        }),
        Command::OpenSession(session) => wire::intent::Command::OpenSession(session_to_wire(session)),
        Command::CloseSession(close) => wire::intent::Command::CloseSession(wire::CloseSession {
            session: Some(reference_to_wire(&close.session)),
            cause: close.cause.clone(),
        }),
        Command::ChangeCapacity(change) => wire::intent::Command::ChangeCapacity(wire::ChangeCapacity {
            session: Some(reference_to_wire(&change.session)),
            capacity: change.capacity,
        }),
    };
    let intent = wire::Intent { requested_by: intent.requested_by.clone(), command: Some(command) }.encode_to_vec();
    let checksum = crc32fast::hash(&intent);
    wire::Envelope { reader_version_min: 1, checksum, intent }.encode_to_vec()
}

/// Decodes a record.
///
/// # Errors
/// [`Error::Malformed`] for bytes that are no valid record, [`Error::TooNew`] for a valid one that asks for a newer
/// reader. A command that is unknown here and asks for no newer reader is malformed.
pub fn decode(payload: &[u8]) -> Result<Intent, Error> {
    if payload.len() > BYTES_MAX {
        return Err(malformed("longer than a record may be"));
    }
    let envelope = wire::Envelope::decode(payload).map_err(malformed)?;
    if crc32fast::hash(&envelope.intent) != envelope.checksum {
        return Err(malformed("the checksum does not match"));
    }
    if envelope.reader_version_min > VERSION {
        return Err(Error::TooNew { needed: envelope.reader_version_min });
    }
    let intent = wire::Intent::decode(envelope.intent.as_slice()).map_err(malformed)?;
    let command = match intent.command.ok_or_else(|| malformed("it holds no command that is known here"))? {
        wire::intent::Command::Book(book) => Command::Book(Book {
            ticket: ticket_from_wire(&book.ticket_id)?,
            patient_id: book.patient_id.try_into().map_err(malformed)?,
            session: reference_from_wire(book.session)?,
            details: book.details.map(details_from_wire).transpose()?.map(Box::new),
        }),
        wire::intent::Command::Cancel(cancel) => Command::Cancel(Cancel {
            ticket: ticket_from_wire(&cancel.ticket_id)?,
            patient_id: cancel.patient_id.try_into().map_err(malformed)?,
            session: reference_from_wire(cancel.session)?,
        }),
        wire::intent::Command::OpenSession(session) => Command::OpenSession(Box::new(session_from_wire(session)?)),
        wire::intent::Command::CloseSession(close) => {
            Command::CloseSession(CloseSession { session: reference_from_wire(close.session)?, cause: close.cause })
        }
        wire::intent::Command::ChangeCapacity(change) => {
            validate_capacity(change.capacity).map_err(malformed)?;
            Command::ChangeCapacity(ChangeCapacity {
                session: reference_from_wire(change.session)?,
                capacity: change.capacity,
            })
        }
    };
    Ok(Intent { requested_by: intent.requested_by, command })
}

fn malformed(cause: impl std::fmt::Display) -> Error {
    Error::Malformed(cause.to_string())
}

const EPOCH: Date = date(1970, 1, 1);

/// Days since 1970-01-01.
#[must_use]
pub fn day_number(day: Date) -> i32 {
    (day - EPOCH).get_days()
}

/// The day that lies `number` days after 1970-01-01; `None` outside the calendar.
#[must_use]
pub fn day_of_number(number: i32) -> Option<Date> {
    EPOCH.checked_add(jiff::SignedDuration::from_hours(i64::from(number) * 24)).ok()
}

fn reference_to_wire(session: &SessionRef) -> wire::SessionRef {
    wire::SessionRef {
        session_id: session.session_id.as_str().to_owned(),
        doctor_id: session.doctor_id.as_str().to_owned(),
        department: session.department.as_str().to_owned(),
        day: day_number(session.day),
    }
}

fn reference_from_wire(session: Option<wire::SessionRef>) -> Result<SessionRef, Error> {
    let session = session.ok_or_else(|| malformed("it names no session"))?;
    Ok(SessionRef {
        session_id: session.session_id.try_into().map_err(malformed)?,
        doctor_id: session.doctor_id.try_into().map_err(malformed)?,
        department: session.department.try_into().map_err(malformed)?,
        day: day_of_number(session.day).ok_or_else(|| malformed("its day lies outside the calendar"))?,
    })
}

fn ticket_from_wire(bytes: &[u8]) -> Result<ticket::Id, Error> {
    bytes.try_into().map(ticket::Id::from_bytes).map_err(|_| malformed("ticket_id is not 16 bytes long"))
}

fn details_to_wire(details: &Fields<Sealed>) -> wire::PatientDetails {
    let bytes = |field: &Option<Sealed>| field.as_ref().map(|sealed| sealed.as_bytes().to_vec()).unwrap_or_default();
    wire::PatientDetails {
        name: bytes(&details.name),
        phone: bytes(&details.phone),
        identity_number: bytes(&details.identity_number),
    }
}

fn details_from_wire(details: wire::PatientDetails) -> Result<Fields<Sealed>, Error> {
    let sealed = |bytes: Vec<u8>| match bytes.is_empty() {
        true => Ok(None),
        false => Sealed::from_bytes(bytes).map(Some).ok_or_else(|| malformed("a sealed field is too long")),
    };
    Ok(Fields {
        name: sealed(details.name)?,
        phone: sealed(details.phone)?,
        identity_number: sealed(details.identity_number)?,
    })
}

fn seconds_of(time: Time) -> u32 {
    let seconds = i32::from(time.hour()) * 3600 + i32::from(time.minute()) * 60 + i32::from(time.second());
    u32::try_from(seconds).expect("a time of day is not negative")
}

fn time_of(seconds: u32) -> Result<Time, Error> {
    let part = |value: u32| i8::try_from(value).unwrap_or(i8::MAX);
    Time::new(part(seconds / 3600), part(seconds / 60 % 60), part(seconds % 60), 0).map_err(malformed)
}

fn session_to_wire(session: &Session) -> wire::OpenSession {
    wire::OpenSession {
        session: Some(reference_to_wire(&session.reference())),
        doctor_name: session.doctor_name.clone(),
        campus: session.campus.as_str().to_owned(),
        start_s: seconds_of(session.start),
        end_s: seconds_of(session.end),
        timezone: session.timezone.clone(),
        capacity: session.capacity,
        release_at_us: session.release_at.as_micros(),
        ends_at_us: session.ends_at.as_micros(),
        exclusivity: match session.exclusivity {
            Exclusivity::DepartmentDay => wire::Exclusivity::DepartmentDay,
            Exclusivity::Session => wire::Exclusivity::Session,
            Exclusivity::None => wire::Exclusivity::None,
        }
        .into(),
    }
}

fn session_from_wire(open: wire::OpenSession) -> Result<Session, Error> {
    let exclusivity = match open.exclusivity() {
        wire::Exclusivity::DepartmentDay => Exclusivity::DepartmentDay,
        wire::Exclusivity::Session => Exclusivity::Session,
        wire::Exclusivity::None => Exclusivity::None,
    };
    let reference = reference_from_wire(open.session)?;
    let session = Session {
        session_id: reference.session_id,
        doctor_id: reference.doctor_id,
        doctor_name: open.doctor_name,
        department: reference.department,
        campus: open.campus.try_into().map_err(malformed)?,
        day: reference.day,
        start: time_of(open.start_s)?,
        end: time_of(open.end_s)?,
        timezone: open.timezone,
        capacity: open.capacity,
        release_at: Timestamp::from_micros(open.release_at_us),
        ends_at: Timestamp::from_micros(open.ends_at_us),
        exclusivity,
    };
    session.validate().map_err(malformed)?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ticket;

    fn reference() -> impl Strategy<Value = SessionRef> {
        ("[a-z0-9-]{1,40}", "[a-z]{1,12}", "[a-zÀ-ÿ一-龥]{1,12}", -10_000_i32..60_000).prop_map(
            |(session, doctor, department, day)| SessionRef {
                session_id: session.try_into().expect("valid"),
                doctor_id: doctor.try_into().expect("valid"),
                department: department.try_into().expect("valid"),
                day: day_of_number(day).expect("in range"),
            },
        )
    }

    fn session() -> impl Strategy<Value = Session> {
        let exclusivity =
            prop::sample::select(vec![Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None]);
        (reference(), 0_u32..43_200, 1_u32..=100_000, any::<i64>(), any::<i64>(), exclusivity).prop_map(
            |(reference, start, capacity, release, end, exclusivity)| Session {
                session_id: reference.session_id,
                doctor_id: reference.doctor_id,
                doctor_name: "李明 Li Ming".into(),
                department: reference.department,
                campus: "east".parse().expect("valid"),
                day: reference.day,
                start: time_of(start).expect("valid"),
                end: time_of(start + 3_600).expect("valid"),
                timezone: "Asia/Shanghai".into(),
                capacity,
                release_at: Timestamp::from_micros(release),
                ends_at: Timestamp::from_micros(end),
                exclusivity,
            },
        )
    }

    fn details() -> impl Strategy<Value = Option<Box<Fields<Sealed>>>> {
        let field = || prop::option::of(prop::collection::vec(any::<u8>(), 1..60).prop_map(Sealed::from_bytes));
        let fields = (field(), field(), field()).prop_map(|(name, phone, identity_number)| {
            let (name, phone, identity_number) = (name.flatten(), phone.flatten(), identity_number.flatten());
            Box::new(Fields { name, phone, identity_number })
        });
        prop::option::of(fields)
    }

    fn command() -> impl Strategy<Value = Command> {
        let patient = "[a-z0-9]{1,20}".prop_map(|id| id.try_into().expect("valid"));
        prop_oneof![
            (any::<[u8; 16]>(), patient.clone(), reference(), details()).prop_map(
                |(ticket, patient_id, session, details)| {
                    Command::Book(Book { ticket: ticket::Id::from_bytes(ticket), patient_id, session, details })
                }
            ),
            (any::<[u8; 16]>(), patient, reference()).prop_map(|(ticket, patient_id, session)| {
                Command::Cancel(Cancel { ticket: ticket::Id::from_bytes(ticket), patient_id, session })
            }),
            session().prop_map(|session| Command::OpenSession(Box::new(session))),
            (reference(), ".{0,20}")
                .prop_map(|(session, cause)| Command::CloseSession(CloseSession { session, cause })),
            (reference(), 1_u32..=100_000)
                .prop_map(|(session, capacity)| Command::ChangeCapacity(ChangeCapacity { session, capacity })),
        ]
    }

    proptest! {
        #[test]
        fn survives_the_log(command in command(), requested_by in ".{0,20}") {
            let intent = Intent { requested_by, command };
            prop_assert_eq!(decode(&encode(&intent)).expect("valid"), intent);
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&payload);
        }

        /// Every flipped bit of a record is noticed, wherever it lies, or changes nothing that matters.
        #[test]
        fn a_flipped_bit_is_malformed(command in command(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let intent = Intent { requested_by: "ops".into(), command };
            let mut payload = encode(&intent);
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
            match decode(&payload) {
                Err(_) => {}
                Ok(read) => prop_assert_eq!(read, intent),
            }
        }
    }

    /// An old reader meets a record of a newer writer: added fields are skipped, an unknown command is an ordered refusal,
    /// and a record that must not be guessed at stops the reader.
    #[test]
    fn an_old_reader_meets_a_new_record() {
        let book = wire::Book {
            ticket_id: vec![7; 16],
            patient_id: "p".into(),
            session: Some(wire::SessionRef {
                session_id: "s".into(),
                doctor_id: "d".into(),
                department: "x".into(),
                day: 1,
            }),
            details: None,
        };
        let mut intent =
            wire::Intent { requested_by: "p".into(), command: Some(wire::intent::Command::Book(book)) }.encode_to_vec();
        intent.extend([0xfa, 0x07, 2, b'h', b'i']); // field 127, unknown here
        let envelope = |reader_version_min, intent: Vec<u8>| {
            wire::Envelope { reader_version_min, checksum: crc32fast::hash(&intent), intent }.encode_to_vec()
        };
        assert_eq!(decode(&envelope(1, intent.clone())).expect("readable").command.kind().as_str(), "book");
        assert!(
            matches!(decode(&envelope(VERSION + 1, intent)), Err(Error::TooNew { needed }) if needed == VERSION + 1)
        );
        assert!(matches!(decode(&envelope(1, vec![0xfa, 0x07, 2, b'h', b'i'])), Err(Error::Malformed(_))));
    }
}
