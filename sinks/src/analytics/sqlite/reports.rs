//! Named reports. Each is one SQL file over the decisions of records that the log took in `:from_ms..:to_ms`.

use orderly_domain::Timestamp;
use orderly_domain::port::analytics::{Report, ReportInfo};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, named_params};
use serde_json::Value;

macro_rules! reports {
    ($(($name:literal, $purpose:literal)),+ $(,)?) => {
        /// The reports, in the order in which people want them.
        pub(super) const INFOS: &[ReportInfo] = &[$(ReportInfo { name: $name, purpose: $purpose }),+];
        const SQL: &[&str] = &[$(include_str!(concat!("reports/", $name, ".sql"))),+];
    };
}

reports!(
    ("summary", "What was asked for and what came of it, in one row, with the waits for a decision."),
    ("departments", "Demand, bookings and refusals of each department, and how much of its capacity was booked."),
    ("doctors", "Demand, bookings and refusals of each doctor, the most wanted first."),
    ("campuses", "Demand, bookings and refusals of each campus, and how much of its capacity was booked."),
    ("minutes", "Arrivals and what came of them, minute by minute in UTC."),
    ("rejections", "Why bookings were refused, the most frequent cause first."),
    ("waits", "How long decisions took from the log to the outcome, by department."),
    ("sessions", "Demand against capacity of each session, and how long after its release it was sold out."),
    ("cancellations", "Numbers given back, by department, and how many were booked again."),
);

/// The report of that name and its SQL.
pub(super) fn sql(name: &str) -> Option<(ReportInfo, &'static str)> {
    INFOS.iter().zip(SQL).find(|(info, _)| info.name == name).map(|(info, sql)| (*info, *sql))
}

/// Makes a report.
pub(super) fn run(
    connection: &Connection,
    info: ReportInfo,
    sql: &str,
    from: Timestamp,
    to: Timestamp,
) -> rusqlite::Result<Report> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let parameters = named_params! {":from_ms": from.as_millis(), ":to_ms": to.as_millis()};
    let row_of = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|column| Ok(value(row.get_ref(column)?))).collect();
    let rows = statement.query_map(parameters, row_of)?.collect::<rusqlite::Result<_>>()?;
    Ok(Report { name: info.name.to_owned(), purpose: info.purpose.to_owned(), columns, rows, sql: sql.to_owned() })
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => integer.into(),
        ValueRef::Real(real) => real.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
    }
}
