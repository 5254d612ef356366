//! A small log, decided again as it is and with another capacity.

use confique::{Config as _, Layer as _};
use jiff::civil::{date, time};
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::port::log::Record;
use orderly_domain::{Book, Command, Exclusivity, Position, Session, Timestamp, ticket};
use orderly_sinks::log::sqlite::{Import, Log};
use orderly_sinks::store::sqlite::Store;
use tempfile::TempDir;

use super::compare::{SHOWN_MAX, compare};
use super::report::Report;
use super::{Span, copy, decide};
use crate::config::{Config, Profile};

const PATIENTS: u64 = 60;

fn config() -> Config {
    Config::from_layer(<Config as confique::Config>::Layer::default_values()).expect("complete")
}

fn session(capacity: u32) -> Session {
    let moment =
        |day: jiff::civil::Date| Timestamp::from(day.to_zoned(jiff::tz::TimeZone::UTC).expect("valid").timestamp());
    Session {
        session_id: "session".parse().expect("valid"),
        doctor_id: "li".parse().expect("valid"),
        doctor_name: "李明 Li Ming".into(),
        department: "cardiology".parse().expect("valid"),
        campus: "east".parse().expect("valid"),
        day: date(2026, 11, 23),
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: moment(date(1970, 1, 1)),
        ends_at: moment(date(2026, 11, 24)),
        exclusivity: Exclusivity::DepartmentDay,
    }
}

/// A session of that capacity and a booking of each patient, all in one millisecond; decided.
async fn decided(capacity: u32) -> (TempDir, Store, Span) {
    let patient = |number: u64| format!("patient-{number}").parse().expect("valid");
    let bookings = (1..=PATIENTS).map(|number| {
        let patient_id = patient(number);
        let ticket = ticket::Id::derive(&patient_id, "key");
        Command::Book(Book { ticket, patient_id, session: session(capacity).reference(), details: None })
    });
    let commands = std::iter::once(Command::OpenSession(Box::new(session(capacity)))).chain(bookings);
    let records: Vec<_> = (0..)
        .zip(commands)
        .map(|(offset, command)| Record {
            position: Position { partition: orderly_domain::partition_of(command.doctor_id(), 8), offset },
            logged_at: Timestamp::from_millis(7),
            payload: encode(&Intent { requested_by: "test".to_owned(), command }),
        })
        .collect();
    let source = tempfile::tempdir().expect("a folder");
    Import::begin(source.path(), 8).expect("new").add(&records).expect("taken");
    let partition = records[0].position.partition;
    let span = Span { decided: vec![(partition, records.len() as u64)], undecided: 0 };
    let folder = tempfile::tempdir().expect("a folder");
    let log = Log::open_read_only(source.path()).expect("it is there");
    copy::copy(&log, &span, folder.path()).await.expect("copied");
    let store = decide::decide(folder.path(), &config(), 8, span.records()).await.expect("decided");
    (folder, store, span)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_log_has_the_same_outcome() {
    let ((_one, one, span), (_other, other, _)) = (decided(20).await, decided(20).await);
    let comparison = compare(&one, &other, &span).await.expect("both can be read");
    assert!(comparison.is_same(), "{comparison:?}");
    assert_eq!(comparison.records, PATIENTS + 1);
    assert_eq!(comparison.sorts[&("book", "booked", false)], [20, 20]);
    assert_eq!(comparison.sorts[&("book", "sold_out", false)], [40, 40]);
    let report = Report { comparison, undecided: 3 };
    let text = report.to_text(Profile::Embedded);
    assert!(
        text.contains("All 61 records are decided alike.") && text.contains("3 records were not decided"),
        "{text}"
    );
    assert_eq!(report.to_json()["same"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_is_counted_and_the_first_are_told() {
    let ((_one, one, mut span), (_other, other, _)) = (decided(5).await, decided(55).await);
    // As if the second store lacked a decision that the first one, too, does not have.
    span.decided[0].1 += 1;
    let comparison = compare(&one, &other, &span).await.expect("both can be read");
    assert_eq!(comparison.different, 51, "50 numbers more, and a record without a decision");
    assert_eq!(comparison.first.len(), SHOWN_MAX);
    let report = Report { comparison, undecided: 0 };
    let text = report.to_text(Profile::Distributed);
    for told in [
        "51 of 62 records are decided otherwise",
        "a record was told nothing; anew: nothing",
        "/6: book on session was told sold_out; anew: booked 6",
        "… and 31 more",
        "orderly check",
    ] {
        assert!(text.contains(told), "{told} is not in:\n{text}");
    }
    let json = report.to_json();
    assert_eq!((&json["same"], &json["different"]), (&false.into(), &51.into()));
    assert_eq!(json["differences"][1]["anew"], "booked 6");
}
