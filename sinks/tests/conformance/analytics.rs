//! What every analytics database must do.
#![cfg(test)]

mod clickhouse;
mod history;
mod sqlite;

use std::sync::Arc;

use jiff::civil::{date, time};
use orderly_domain::command::Kind;
use orderly_domain::port::analytics::{Held, Row};
use orderly_domain::port::{Analytics, Error, Feed as _};
use orderly_domain::{Exclusivity, Outcome, Partition, Position, Reason, Session, Timestamp};
use serde_json::{Value, json};

/// Where an adapter keeps its rows; it can be opened, dropped and opened again.
trait Place {
    async fn open(&self) -> Arc<dyn Analytics>;
}

/// Declares the suite's tests for an adapter; `$place` makes a new place.
macro_rules! suite {
    ($place:expr) => {
        crate::analytics::suite!(@all [] $place);
    };
    (ignored $why:literal; $place:expr) => {
        crate::analytics::suite!(@all [#[ignore = $why]] $place);
    };
    (@all $attributes:tt $place:expr) => {
        crate::analytics::suite!(@each $attributes $place;
            rows_arrive_once, refuses_gaps_and_adds_nothing, begins_where_the_store_does, keeps_rows_when_it_is_opened_again,
            reports_tell_what_happened, fairness_names_who_was_overtaken, reports_over_nothing_are_empty,
            rebookings_are_those_of_others_soon_after);
    };
    (@each $attributes:tt $place:expr; $($name:ident),*) => {
        $(crate::analytics::suite!(@one $attributes $place; $name);)*
    };
    (@one [$($attribute:tt)*] $place:expr; $name:ident) => {
        $($attribute)*
        #[tokio::test]
        async fn $name() {
            crate::analytics::$name(&$place).await;
        }
    };
}
use suite;

const MALFORMED: Outcome = Outcome::Rejected(Reason::Malformed);

fn row(
    partition: Partition,
    offset: u64,
    logged_at_ms: u64,
    wait_ms: u64,
    kind: Kind,
    outcome: Outcome,
    session: Option<&Session>,
) -> Row {
    let logged_at = Timestamp::from_millis(logged_at_ms.cast_signed());
    Row {
        position: Position { partition, offset },
        logged_at,
        decided_at: logged_at.plus(std::time::Duration::from_millis(wait_ms)),
        kind,
        patient: None,
        outcome,
        repeat: false,
        session_id: session.map(|session| session.session_id.clone()),
        session: session.cloned(),
    }
}

fn session(id: &str, doctor: &str, department: &str, campus: &str, capacity: u32) -> Session {
    Session {
        session_id: id.parse().unwrap(),
        doctor_id: doctor.parse().unwrap(),
        doctor_name: format!("Dr {doctor}"),
        department: department.parse().unwrap(),
        campus: campus.parse().unwrap(),
        day: date(1970, 1, 1),
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: Timestamp::from_millis(500),
        ends_at: Timestamp::from_millis(10_000_000),
        exclusivity: Exclusivity::DepartmentDay,
    }
}

/// A small day of two sessions, one a partition.
fn day() -> (Vec<Row>, Vec<Row>) {
    use Kind::{Book, Cancel, CloseSession, Malformed, OpenSession};
    let rejected = Outcome::Rejected;
    let booked = |number| Outcome::Booked { number };
    let small = session("card-am", "li", "cardiology", "east", 1);
    let card = Session { capacity: 2, ..small.clone() };
    let neuro = session("neuro-am", "wang", "neurology", "west", 1);
    let mut first = vec![
        row(0, 0, 0, 1, OpenSession, Outcome::Applied, Some(&small)),
        row(0, 1, 1_000, 10, Book, booked(1), Some(&card)),
        row(0, 2, 2_000, 20, Book, booked(2), Some(&card)),
        row(0, 3, 3_000, 30, Book, rejected(Reason::SoldOut), Some(&card)),
        row(0, 4, 4_000, 40, Book, rejected(Reason::SoldOut), Some(&card)),
        row(0, 5, 61_000, 50, Cancel, Outcome::Cancelled { number: 1 }, Some(&card)),
        row(0, 6, 62_000, 60, Book, booked(1), Some(&card)),
    ];
    first[4].repeat = true;
    for (row, patient) in [(1, "ann"), (2, "bob"), (3, "carl"), (5, "ann"), (6, "carl")] {
        first[row].patient = Some(patient.to_owned());
    }
    let mut second = vec![
        row(1, 0, 500, 1, OpenSession, Outcome::Applied, Some(&neuro)),
        row(1, 1, 1_500, 100, Book, rejected(Reason::AlreadyBooked), Some(&neuro)),
        row(1, 2, 1_600, 5, Book, rejected(Reason::UnknownSession), None),
        row(1, 3, 1_700, 0, Malformed, MALFORMED, None),
        row(1, 4, 62_500, 7, Cancel, rejected(Reason::NotBooked), Some(&neuro)),
        row(1, 5, 63_000, 8, CloseSession, Outcome::Applied, Some(&neuro)),
        row(1, 6, 120_000, 1, Book, rejected(Reason::SessionClosed), Some(&neuro)),
    ];
    second[2].session_id = Some("gone".parse().unwrap());
    (first, second)
}

async fn rows_arrive_once(place: &impl Place) {
    let analytics = place.open().await;
    assert_eq!((analytics.count().await.unwrap(), analytics.next_offsets().await.unwrap()), (0, vec![]));
    let (first, second) = day();
    analytics.append(&[]).await.unwrap();
    analytics.append(&first[..3]).await.unwrap();
    analytics.append(&second).await.unwrap();
    analytics.append(&first[1..5]).await.unwrap();
    analytics.append(&first).await.unwrap();
    analytics.append(&first[..2]).await.unwrap();
    assert_eq!(analytics.count().await.unwrap(), 14);
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 7), (1, 7)]);
    let whole = analytics.report("summary", Timestamp::from_millis(0), Timestamp::from_millis(120_000)).await.unwrap();
    assert_eq!(whole.unwrap().rows, summary(), "rows that came twice are counted once");
}

async fn refuses_gaps_and_adds_nothing(place: &impl Place) {
    let analytics = place.open().await;
    let (first, second) = day();
    let gap = [first[0].clone(), first[2].clone()];
    let two_partitions = [first[0].clone(), second[1].clone()];
    for rows in [&first[1..], &gap, &two_partitions] {
        assert!(matches!(analytics.append(rows).await, Err(Error::Conflict { .. })));
        assert_eq!(analytics.count().await.unwrap(), 0);
    }
    analytics.append(&first[..2]).await.unwrap();
    let answer = analytics.append(&first[3..]).await;
    assert!(matches!(answer, Err(Error::Conflict { expected: 3, found: 2 })), "{answer:?}");
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 2)]);
}

async fn begins_where_the_store_does(place: &impl Place) {
    let analytics = place.open().await;
    let (first, second) = day();
    analytics.skip_to(0, 2).await.unwrap();
    assert_eq!(analytics.next_offsets().await.unwrap(), [], "nothing has arrived");
    analytics.skip_to(0, 2).await.unwrap();
    assert!(matches!(analytics.append(&first[3..]).await, Err(Error::Conflict { expected: 3, found: 2 })));
    analytics.append(&first[2..4]).await.unwrap();
    analytics.append(&second[..1]).await.unwrap();
    analytics.skip_to(0, 1).await.unwrap();
    analytics.append(&first[3..6]).await.unwrap();
    let held = |partition, first, next| Held { partition, first, next, rows: next - first };
    assert_eq!(analytics.held().await.unwrap(), [held(0, 2, 6), held(1, 0, 1)]);
    drop(analytics);
    assert_eq!(place.open().await.next_offsets().await.unwrap(), [(0, 6), (1, 1)]);
}

async fn keeps_rows_when_it_is_opened_again(place: &impl Place) {
    let analytics = place.open().await;
    analytics.append(&day().0).await.unwrap();
    drop(analytics);
    let analytics = place.open().await;
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 7)]);
    analytics.append(&day().1).await.unwrap();
    assert_eq!(analytics.count().await.unwrap(), 14);
}

fn summary() -> Vec<Vec<Value>> {
    vec![row_of(json!([13, 6, 3, 3, 1, 1, 3, 0.6667, 10, 100, 100, 100]))]
}

fn row_of(row: Value) -> Vec<Value> {
    serde_json::from_value(row).unwrap()
}

async fn reports_tell_what_happened(place: &impl Place) {
    let analytics = place.open().await;
    let (first, second) = day();
    analytics.append(&first).await.unwrap();
    analytics.append(&second).await.unwrap();
    let expected = [
        ("summary", json!(summary())),
        ("departments", json!([["cardiology", 1, 4, 3, 1, 1, 1, 2, 1.0], ["neurology", 1, 1, 0, 1, 0, 0, 1, 0.0]])),
        (
            "doctors",
            json!([
                ["li", "Dr li", "cardiology", 1, 4, 3, 1, 1, 1, 2, 1.0],
                ["wang", "Dr wang", "neurology", 1, 1, 0, 1, 0, 0, 1, 0.0]
            ]),
        ),
        ("campuses", json!([["east", 1, 4, 3, 1, 1, 1, 2, 1.0], ["west", 1, 1, 0, 1, 0, 0, 1, 0.0]])),
        ("minutes", json!([["1970-01-01T00:00Z", 9, 2, 3, 0, 1, 100], ["1970-01-01T00:01Z", 4, 1, 0, 1, 0, 60]])),
        (
            "rejections",
            json!([["already_booked", 1, 0.3333, 1], ["sold_out", 1, 0.3333, 1], ["unknown_session", 1, 0.3333, 1]]),
        ),
        ("waits", json!([["cardiology", 7, 30, 60, 60, 60], ["neurology", 4, 7, 100, 100, 100]])),
        (
            "sessions",
            json!([
                ["card-am", "li", "cardiology", "east", "1970-01-01", 2, 4, 3, 1, 1, 2.0, 1500],
                ["neuro-am", "wang", "neurology", "west", "1970-01-01", 1, 1, 0, 0, 0, 1.0, null]
            ]),
        ),
        ("cancellations", json!([["cardiology", 3, 1, 0.3333, 1, 0, 0], ["neurology", 0, 0, null, 0, 1, 1]])),
        ("rebookings", json!([["ann", "carl", 1, 1, 1, "li", 1, 1000]])),
        ("days", json!([["1970-01-01", 2, 5, 3, 2, 1, 1, 3, 0.6667]])),
        ("hours", json!([["1970-01-01T00:00Z", 6, 3, 3]])),
        ("wait_lengths", json!([[10, 2, 1, 1, 0.3333], [50, 2, 1, 1, 0.3333], [100, 2, 1, 1, 0.3333]])),
        (
            "funnel",
            json!([
                ["offered", 3, 0.5],
                ["requested", 6, 1.0],
                ["valid", 5, 0.8333],
                ["in_time", 5, 0.8333],
                ["eligible", 4, 0.6667],
                ["booked", 3, 0.5],
                ["kept", 2, 0.3333]
            ]),
        ),
        ("fairness", json!([["cardiology", 7, 0, 0], ["neurology", 4, 0, 0]])),
    ];
    let names: Vec<_> = analytics.reports().iter().map(|info| info.name).collect();
    assert_eq!(names, expected.each_ref().map(|(name, _)| *name));
    for (info, (name, rows)) in analytics.reports().iter().zip(expected) {
        let report = analytics.report(name, Timestamp::from_millis(0), Timestamp::from_millis(120_000)).await.unwrap();
        let report = report.unwrap();
        assert_eq!((report.name.as_str(), report.purpose.as_str()), (info.name, info.purpose));
        assert!(report.rows.iter().all(|row| row.len() == report.columns.len()) && report.sql.contains("SELECT"));
        assert_eq!(json!(report.rows), rows, "{name}");
    }
    let late = analytics.report("minutes", Timestamp::from_millis(120_000), Timestamp::from_millis(120_001)).await;
    assert_eq!(json!(late.unwrap().unwrap().rows), json!([["1970-01-01T00:02Z", 1, 0, 1, 0, 0, 1]]));
    let zero = Timestamp::from_millis(0);
    assert!(analytics.report("no-such-report", zero, zero).await.unwrap().is_none());
}

/// A day that a correct pipeline never makes: somebody is booked after an earlier one was told "sold out", and one is
/// decided before an earlier one.
async fn fairness_names_who_was_overtaken(place: &impl Place) {
    let analytics = place.open().await;
    let (mut first, _) = day();
    // Without the cancellation the number of the last booking never came free.
    first[5] =
        row(0, 5, 61_000, 5_000, Kind::Book, Outcome::Rejected(Reason::AlreadyBooked), first[5].session.as_ref());
    analytics.append(&first).await.unwrap();
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(120_000));
    let report = analytics.report("fairness", from, to).await.unwrap().unwrap();
    assert_eq!(report.columns, ["department", "decided", "out_of_order", "overtaken"]);
    assert_eq!(json!(report.rows), json!([["cardiology", 7, 1, 1]]));
}

async fn reports_over_nothing_are_empty(place: &impl Place) {
    let analytics = place.open().await;
    for info in analytics.reports() {
        let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let report = analytics.report(info.name, from, to).await.unwrap().unwrap();
        if info.name == "summary" {
            assert_eq!(report.rows, [row_of(json!([0, 0, 0, 0, 0, 0, null, null, null, null, null, null]))]);
        } else {
            assert!(report.rows.is_empty(), "{}", info.name);
        }
    }
}

/// One number after the other, given back and booked again, by whom and after how many milliseconds.
async fn rebookings_are_those_of_others_soon_after(place: &impl Place) {
    let analytics = place.open().await;
    let session = |number: usize| {
        let doctor = if number < 2 { "li" } else { "wang" };
        session(&format!("s{number}"), doctor, "cardiology", "east", 9)
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut at_ms = 1_000;
    for (number, gave, took, gap_ms) in [
        (0, Some("eve"), Some("ned"), 10_000),
        (1, Some("eve"), Some("ned"), 700),
        (2, Some("eve"), Some("ned"), 300),
        (0, Some("ned"), Some("eve"), 5),
        (0, Some("ann"), Some("ann"), 5),
        (1, Some("ann"), Some("bob"), 10_001),
        (1, None, Some("bob"), 5),
        (2, Some("bob"), None, 5),
    ] {
        let session = session(number);
        let number = u32::try_from(rows.len()).unwrap() % 9 + 1;
        for (patient, kind, outcome, after_ms) in [
            (gave, Kind::Book, Outcome::Booked { number }, 0),
            (gave, Kind::Cancel, Outcome::Cancelled { number }, 100),
            (took, Kind::Book, Outcome::Booked { number }, gap_ms),
        ] {
            at_ms += after_ms;
            let mut row = row(0, rows.len() as u64, at_ms, 1, kind, outcome, Some(&session));
            row.patient = patient.map(str::to_owned);
            rows.push(row);
        }
    }
    analytics.append(&rows).await.unwrap();
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(10_000_000));
    let report = analytics.report("rebookings", from, to).await.unwrap().unwrap();
    let columns = ["gave", "took", "times", "sessions", "doctors", "doctor_id", "doctor_times", "gap_min_ms"];
    assert_eq!(report.columns, columns);
    assert_eq!(json!(report.rows), json!([["eve", "ned", 3, 3, 2, "li", 2, 300], ["ned", "eve", 1, 1, 1, "li", 1, 5]]));
}
