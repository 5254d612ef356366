//! Named reports. Each is one SQL file over the decisions of records that the log took in `:from_ms..:to_ms`.

use std::sync::LazyLock;

use orderly_domain::Timestamp;
use orderly_domain::port::analytics::{Report, ReportInfo};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, named_params};
use serde_json::Value;

use crate::analytics::reports::{DemandBy, INFOS, all_sql};

const PLAIN: &[(&str, &str)] = &[
    ("summary", include_str!("reports/summary.sql")),
    ("minutes", include_str!("reports/minutes.sql")),
    ("rejections", include_str!("reports/rejections.sql")),
    ("waits", include_str!("reports/waits.sql")),
    ("sessions", include_str!("reports/sessions.sql")),
    ("cancellations", include_str!("reports/cancellations.sql")),
];

const DEMAND_BY: &[DemandBy] = &[
    DemandBy { name: "departments", dimension: "department", columns: "department", order: "department" },
    DemandBy {
        name: "doctors",
        dimension: "doctor_id",
        columns: "doctor_id, MAX(doctor_name) AS doctor_name, MAX(department) AS department",
        order: "demand DESC, doctor_id",
    },
    DemandBy { name: "campuses", dimension: "campus", columns: "campus", order: "campus" },
];

static SQL: LazyLock<Vec<String>> = LazyLock::new(|| all_sql(PLAIN, include_str!("reports/demand_by.sql"), DEMAND_BY));

/// The report of that name and its SQL.
pub(super) fn sql(name: &str) -> Option<(ReportInfo, &'static str)> {
    INFOS.iter().zip(SQL.iter()).find(|(info, _)| info.name == name).map(|(info, sql)| (*info, sql.as_str()))
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
