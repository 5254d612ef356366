//! Real bookings, read from a CSV.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use jiff::civil::Date;
use serde::Deserialize;

/// One booking as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Booking {
    /// Its number in the clinics' own system; no two are equal.
    pub(super) appointment: u64,
    /// Who booked: digits.
    pub(super) patient: String,
    /// When it was booked.
    pub(super) booked_at: jiff::Timestamp,
    /// The local day of the visit.
    pub(super) day: Date,
    /// Where the clinic is.
    pub(super) neighbourhood: String,
}

/// Bookings in the order in which they were made, and what was odd about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bookings {
    /// All of them.
    pub(super) rows: Vec<Booking>,
    /// How many patient numbers had to be cleaned.
    pub(super) cleaned: usize,
    /// How many visits lie on a day before their booking. They are kept: all days are moved into the future together, and
    /// in the log every booking then comes before its visit.
    pub(super) before_booking: usize,
}

#[derive(Deserialize)]
struct Row {
    appointment_id: u64,
    patient_id: String,
    scheduled_at: jiff::Timestamp,
    appointment_day: Date,
    neighbourhood: String,
}

/// Reads a CSV, gzipped or plain.
///
/// # Errors
/// When the file cannot be read, or a line of it makes no sense.
pub(super) fn read(path: &Path) -> anyhow::Result<Bookings> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut file = BufReader::new(file);
    let gzipped =
        file.fill_buf().with_context(|| format!("cannot read {}", path.display()))?.starts_with(&[0x1f, 0x8b]);
    let bookings = if gzipped { parse(MultiGzDecoder::new(file)) } else { parse(file) };
    bookings.with_context(|| format!("{} is not the expected table of bookings", path.display()))
}

/// Reads a CSV with the columns `appointment_id, patient_id, scheduled_at, appointment_day, neighbourhood`, and any others.
///
/// # Errors
/// When a line makes no sense, or an appointment comes twice.
pub(super) fn parse(text: impl Read) -> anyhow::Result<Bookings> {
    let mut bookings = Bookings { rows: Vec::new(), cleaned: 0, before_booking: 0 };
    let mut appointments = BTreeSet::new();
    for row in csv::Reader::from_reader(text).deserialize() {
        let row: Row = row?;
        let appointment = row.appointment_id;
        anyhow::ensure!(appointments.insert(appointment), "appointment {appointment} comes twice");
        let patient = patient(&row.patient_id)
            .with_context(|| format!("appointment {appointment} has the patient {:?}", row.patient_id))?;
        bookings.cleaned += usize::from(patient != row.patient_id);
        let booked_on = row.scheduled_at.to_zoned(jiff::tz::TimeZone::UTC).date();
        bookings.before_booking += usize::from(row.appointment_day < booked_on);
        bookings.rows.push(Booking {
            appointment,
            patient: patient.to_owned(),
            booked_at: row.scheduled_at,
            day: row.appointment_day,
            neighbourhood: row.neighbourhood.trim().to_owned(),
        });
    }
    // The file is in order; a stable sort keeps that among bookings of the same second.
    bookings.rows.sort_by_key(|booking| booking.booked_at);
    Ok(bookings)
}

/// A patient's number. Some went through a spreadsheet and read `9377952927E-5`: the digits before the exponent are all
/// that is left of them, and they tell patients apart.
fn patient(text: &str) -> anyhow::Result<&str> {
    let digits = text.trim();
    let digits = digits.split_once(['E', 'e']).map_or(digits, |(digits, _)| digits);
    anyhow::ensure!(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()), "a patient is digits");
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "appointment_id,patient_id,scheduled_at,appointment_day,neighbourhood,age\n";

    #[test]
    fn cleans_what_a_spreadsheet_did() {
        let text = format!(
            "{HEAD}2,9377952927E-5,2016-05-10T10:51:53Z,2016-05-09,SÃO PEDRO,7\n1,42,2016-05-09T08:00:00Z,2016-05-09,X,8\n"
        );
        let bookings = parse(text.as_bytes()).expect("clean");
        assert_eq!((bookings.cleaned, bookings.before_booking), (1, 1));
        let patients: Vec<_> = bookings.rows.iter().map(|booking| booking.patient.as_str()).collect();
        assert_eq!(patients, ["42", "9377952927"], "in the order of booking");
    }

    #[test]
    fn refuses_what_cannot_be_cleaned() {
        for line in [
            "1,x,2016-05-09T08:00:00Z,2016-05-09,X,8",
            "1,E-5,2016-05-09T08:00:00Z,2016-05-09,X,8",
            "1,1,now,2016-05-09,X,8",
        ] {
            assert!(parse(format!("{HEAD}{line}\n").as_bytes()).is_err(), "{line}");
        }
        let line = "1,1,2016-05-09T08:00:00Z,2016-05-09,X,8\n";
        assert!(parse(format!("{HEAD}{line}{line}").as_bytes()).is_err(), "twice the same");
    }

    #[test]
    fn a_file_may_be_gzipped_or_not() {
        let text = format!("{HEAD}1,42,2016-05-09T08:00:00Z,2016-05-09,X,8\n");
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, gzipped) = (folder.path().join("a.csv"), folder.path().join("a.csv.gz"));
        std::fs::write(&plain, &text).expect("written");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).expect("compressed");
        std::fs::write(&gzipped, encoder.finish().expect("compressed")).expect("written");
        let plain = read(&plain).expect("read");
        assert_eq!(plain.rows.len(), 1);
        assert_eq!(plain, read(&gzipped).expect("read"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("nowhere.csv.gz")).expect_err("missing").to_string();
        assert!(error.contains("nowhere.csv.gz"), "{error}");
    }
}
