use std::io::Write as _;

use orderly_bench::replay::{Options, Report, run};

use crate::hospital::{Fault, start};

/// Two clinics, three days, 40 patients, each of whom asks twice in a row, in the shape of the real data.
fn data() -> tempfile::NamedTempFile {
    let mut text = "appointment_id,patient_id,scheduled_at,appointment_day,neighbourhood,age\n".to_owned();
    for n in 0..300_u64 {
        let wish = n / 2;
        let patient = (wish * 7) % 40;
        let patient = if patient == 5 { "5E-5".to_owned() } else { patient.to_string() };
        let neighbourhood = if wish.is_multiple_of(3) { "SÃO PEDRO" } else { "CENTRO" };
        let (minute, second, day) = (n / 60, n % 60, 2 + wish % 4);
        text += &format!("{n},{patient},2016-05-03T08:{minute:02}:{second:02}Z,2016-05-{day:02},{neighbourhood},30\n");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
    file
}

async fn replay(fault: Fault, more: Options) -> Report {
    let url = start(fault, &[]).await;
    let data = data();
    let options = Options { data_file: Some(data.path().to_owned()), connections: 8, ..more };
    run(&url, options).await.unwrap()
}

#[tokio::test]
async fn what_is_booked_is_what_was_computed() {
    let report = replay(Fault::None, Options::default()).await;
    assert!(report.passed(), "{}", report.to_text());
    assert_eq!((report.bookings, report.sessions_followed), (300, report.sessions));
    assert!(report.patients_cleaned > 0 && report.visits_before_booking > 0);
    assert!(report.rejected.contains_key("sold_out") && report.rejected.contains_key("already_booked"));
    assert_eq!(report.booked + report.rejected.values().sum::<u64>(), 300);
    assert!(report.to_text().contains("Everything came out as computed."));
}

#[tokio::test]
async fn a_pace_and_a_busy_server_change_nothing() {
    let free = replay(Fault::None, Options::default()).await;
    let paced = replay(Fault::Busy, Options { rate: Some(2_000.0), ..Options::default() }).await;
    assert!(paced.passed(), "{}", paced.to_text());
    assert_eq!(paced.booked, free.booked);
    assert!(paced.turned_away > 0);
}

#[tokio::test]
async fn overselling_is_seen() {
    let report = replay(Fault::Oversells, Options::default()).await;
    assert!(!report.passed() && report.booked > report.expected_booked);
    assert!(!report.differences.is_empty() && report.out_of_order > 0, "{}", report.to_text());
}

#[tokio::test]
async fn refusing_while_a_number_is_free_is_seen() {
    let report = replay(Fault::TurnsAway, Options::default()).await;
    assert!(!report.passed() && report.out_of_order > 0, "{}", report.to_text());
}

#[tokio::test]
async fn a_booking_without_an_outcome_is_seen() {
    let report = replay(Fault::Forgets, Options { patience_seconds: 1, ..Options::default() }).await;
    assert_eq!(report.without_outcome, 1);
    assert!(!report.passed() && report.to_text().contains("no outcome within 1 s"));
}

#[tokio::test]
async fn data_that_was_played_is_not_played_again() {
    let url = start(Fault::None, &[]).await;
    let data = data();
    let options = Options { data_file: Some(data.path().to_owned()), connections: 4, ..Options::default() };
    run(&url, options.clone()).await.unwrap();
    let error = run(&url, options).await.unwrap_err().to_string();
    assert!(error.contains("empty data folder"), "{error}");
}
