//! Named reports. Each is one SQL file over the decisions of records that the log took in `:from_ms..:to_ms`.

use orderly_domain::Timestamp;
use orderly_domain::port::Result;
use orderly_domain::port::analytics::Report;

use super::server::Server;
use crate::analytics::reports::INFOS;

/// The file of a report: it lies with the other questions of analysts.
macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../dashboards/clickhouse/reports/", $name, ".sql")))
    };
}

const SQL: &[(&str, &str)] = &[
    sql!("summary"),
    sql!("departments"),
    sql!("doctors"),
    sql!("campuses"),
    sql!("minutes"),
    sql!("rejections"),
    sql!("waits"),
    sql!("sessions"),
    sql!("cancellations"),
    sql!("rebookings"),
    sql!("days"),
    sql!("hours"),
    sql!("wait_lengths"),
    sql!("funnel"),
    sql!("fairness"),
];

/// Makes the report of that name. Its SQL can be given to `clickhouse-client` as it is.
pub(super) async fn run(server: &Server, name: &str, from: Timestamp, to: Timestamp) -> Result<Option<Report>> {
    let Some(info) = INFOS.iter().find(|info| info.name == name) else { return Ok(None) };
    let (_, sql) = SQL.iter().find(|(file, _)| *file == name).expect("each report has its SQL");
    // Old servers have no parameters; these are numbers, so nothing else can come in this way.
    let (from, to) = (from.as_millis().to_string(), to.as_millis().to_string());
    let sql = sql.replace(":from_ms", &from).replace(":to_ms", &to);
    let answer = server.answer(&sql).await?;
    let (name, purpose) = (info.name.to_owned(), info.purpose.to_owned());
    Ok(Some(Report { name, purpose, columns: answer.columns, rows: answer.rows, sql }))
}
