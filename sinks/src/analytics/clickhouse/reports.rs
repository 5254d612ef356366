//! Named reports. Each is one SQL file over the decisions of records that the log took in `:from_ms..:to_ms`.

use std::sync::LazyLock;

use orderly_domain::Timestamp;
use orderly_domain::port::Result;
use orderly_domain::port::analytics::Report;

use super::server::Server;
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
        columns: "doctor_id, name AS doctor_name, home AS department",
        order: "demand DESC, doctor_id",
    },
    DemandBy { name: "campuses", dimension: "campus", columns: "campus", order: "campus" },
];

static SQL: LazyLock<Vec<String>> = LazyLock::new(|| all_sql(PLAIN, include_str!("reports/demand_by.sql"), DEMAND_BY));

/// Makes the report of that name. Its SQL can be given to `clickhouse-client` as it is.
pub(super) async fn run(server: &Server, name: &str, from: Timestamp, to: Timestamp) -> Result<Option<Report>> {
    let Some((info, sql)) = INFOS.iter().zip(SQL.iter()).find(|(info, _)| info.name == name) else { return Ok(None) };
    // Old servers have no parameters; these are numbers, so nothing else can come in this way.
    let (from, to) = (from.as_millis().to_string(), to.as_millis().to_string());
    let sql = sql.replace(":from_ms", &from).replace(":to_ms", &to);
    let answer = server.answer(&sql).await?;
    let (name, purpose) = (info.name.to_owned(), info.purpose.to_owned());
    Ok(Some(Report { name, purpose, columns: answer.columns, rows: answer.rows, sql }))
}
