//! Named reports. Each is one SQL file over the decisions of records that the log took in `:from_ms..:to_ms`.

use std::sync::LazyLock;

use orderly_domain::Timestamp;
use orderly_domain::port::analytics::{Report, ReportInfo};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, named_params};
use serde_json::Value;

use crate::analytics::reports::INFOS;

/// A report that counts demand by one dimension: one template makes all of these.
#[derive(Clone, Copy, Debug)]
struct DemandBy {
    name: &'static str,
    /// The column it groups by.
    dimension: &'static str,
    /// Its first columns.
    columns: &'static str,
    order: &'static str,
}

impl DemandBy {
    /// The report's SQL. Only what stands in the program's text is filled in, never what came in a request.
    fn fill(&self, template: &str) -> String {
        let Self { dimension, columns, order, .. } = self;
        template.replace("{dimension}", dimension).replace("{columns}", columns).replace("{order}", order)
    }
}

const PLAIN: &[(&str, &str)] = &[
    ("summary", include_str!("reports/summary.sql")),
    ("minutes", include_str!("reports/minutes.sql")),
    ("rejections", include_str!("reports/rejections.sql")),
    ("waits", include_str!("reports/waits.sql")),
    ("sessions", include_str!("reports/sessions.sql")),
    ("cancellations", include_str!("reports/cancellations.sql")),
    ("rebookings", include_str!("reports/rebookings.sql")),
    ("hours", include_str!("reports/hours.sql")),
    ("wait_lengths", include_str!("reports/wait_lengths.sql")),
    ("funnel", include_str!("reports/funnel.sql")),
    ("fairness", include_str!("reports/fairness.sql")),
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
    DemandBy { name: "days", dimension: "day", columns: "day", order: "day" },
];

/// Each report's SQL, in the order of [`INFOS`].
static SQL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let template = include_str!("reports/demand_by.sql");
    let sql = |info: &ReportInfo| {
        let by = DEMAND_BY.iter().find(|by| by.name == info.name).map(|by| by.fill(template));
        let plain = || PLAIN.iter().find(|(name, _)| *name == info.name).map(|(_, sql)| (*sql).to_owned());
        by.or_else(plain).expect("each report has its SQL")
    };
    INFOS.iter().map(sql).collect()
});

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
