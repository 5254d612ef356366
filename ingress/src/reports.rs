//! Named reports for analysts, as JSON or CSV.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use orderly_domain::Timestamp;
use orderly_domain::port::analytics::Report;
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, kind};
use crate::request::Query;
use crate::state::Shared;

/// What a report covers when nothing is said.
const SPAN_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// A report that can be asked for.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ReportInfo)]
pub(crate) struct Info {
    name: &'static str,
    /// What it tells.
    purpose: &'static str,
}

/// A report's answer.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Report)]
pub(crate) struct View {
    name: String,
    /// What it tells.
    purpose: String,
    /// The log took the records it covers at or after this.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// And before this.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Names of the columns, units last.
    columns: Vec<String>,
    /// Rows of values, in column order.
    rows: Vec<Vec<serde_json::Value>>,
    /// The SQL that made it.
    sql: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// RFC 3339; 24 hours before `to` when left out.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// RFC 3339; now when left out.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// Only rows of that department.
    department: Option<String>,
    /// Only rows of that campus.
    campus: Option<String>,
    /// Only rows of that doctor.
    doctor_id: Option<String>,
}

impl Asked {
    /// Leaves only the rows that were asked for. Refuses to choose by a column that the report does not have.
    fn choose(&self, report: &mut Report) -> Result<(), Problem> {
        let wanted = [("department", &self.department), ("campus", &self.campus), ("doctor_id", &self.doctor_id)];
        for (column, value) in wanted {
            let Some(value) = value else { continue };
            let index = report.columns.iter().position(|name| name == column).ok_or_else(|| {
                let detail = format!("The report {} has no column `{column}`; leave it out.", report.name);
                Problem::new(&kind::MALFORMED_REQUEST).detail(detail)
            })?;
            report.rows.retain(|row| row.get(index).and_then(serde_json::Value::as_str) == Some(value));
        }
        Ok(())
    }
}

/// The reports there are.
#[utoipa::path(get, path = "/v1/reports", tag = "analysts", security(("bearer" = [])),
    responses((status = 200, description = "All of them", body = Vec<Info>)))]
pub(crate) async fn list(State(state): State<Shared>) -> Json<Vec<Info>> {
    let reports = state.ports.analytics.reports().iter();
    Json(reports.map(|report| Info { name: report.name, purpose: report.purpose }).collect())
}

/// A report over the records that the log took in `from..to`, as JSON or, with `Accept: text/csv`, as CSV. A department,
/// campus or doctor chooses among its rows, where it has that column.
#[utoipa::path(get, path = "/v1/reports/{name}", tag = "analysts", security(("bearer" = [])),
    params(("name" = String, Path, description = "The report"), Asked,
        ("Accept" = Option<String>, Header, description = "application/json or text/csv")),
    responses((status = 200, description = "The report", content((View = "application/json"), (String = "text/csv"))),
        (status = 404, description = "There is no such report", body = crate::problem::Shape),
        (status = 503, description = "Analytics are away; ask again later", body = crate::problem::Shape)))]
pub(crate) async fn get(
    State(state): State<Shared>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let to = asked.to.unwrap_or_else(|| state.ports.clock.now());
    let from = asked.from.unwrap_or_else(|| to.minus(SPAN_DEFAULT));
    if from >= to {
        return Err(Problem::new(&kind::MALFORMED_REQUEST).detail("from must be earlier than to."));
    }
    let report = state.ports.analytics.report(&name, from, to).await;
    let report = report.map_err(|error| Problem::from_read("report", &error))?;
    let mut report = report.ok_or_else(|| {
        let names: Vec<_> = state.ports.analytics.reports().iter().map(|report| report.name).collect();
        Problem::new(&kind::UNKNOWN_REPORT).detail(format!("The reports are: {}.", names.join(", ")))
    })?;
    asked.choose(&mut report)?;
    let Report { name, purpose, columns, rows, sql } = report;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.split(',').any(|kind| kind.trim().starts_with("text/csv")) {
        let name = format!("attachment; filename=\"{name}.csv\"");
        let headers =
            [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
        return Ok((headers, csv(&columns, &rows)).into_response());
    }
    Ok(Json(View { name, purpose, from, to, columns, rows, sql }).into_response())
}

/// As RFC 4180 has it.
fn csv(columns: &[String], rows: &[Vec<serde_json::Value>]) -> String {
    let mut text = String::new();
    let mut line = |fields: &mut dyn Iterator<Item = String>| {
        let fields: Vec<String> = fields.map(|field| quoted(&field)).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    };
    line(&mut columns.iter().cloned());
    for row in rows {
        line(&mut row.iter().map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        }));
    }
    text
}

fn quoted(field: &str) -> String {
    // A spreadsheet takes a field that starts like this for a formula.
    let guard = if field.starts_with(['=', '@', '+', '\t', '\r']) { "'" } else { "" };
    if field.contains([',', '"', '\r', '\n']) || !guard.is_empty() {
        format!("\"{guard}{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_chosen_by_the_columns_there_are() {
        let report = || Report {
            name: "sessions".into(),
            purpose: String::new(),
            columns: vec!["session_id".into(), "doctor_id".into(), "department".into()],
            rows: [["s1", "li", "cardiology"], ["s2", "li", "neurology"], ["s3", "wang", "cardiology"]]
                .map(|row| row.map(|value| json!(value)).to_vec())
                .to_vec(),
            sql: String::new(),
        };
        let asked = |department: &str, doctor_id: &str, campus: Option<&str>| Asked {
            from: None,
            to: None,
            department: Some(department.to_owned()),
            campus: campus.map(str::to_owned),
            doctor_id: Some(doctor_id.to_owned()),
        };
        let mut chosen = report();
        asked("cardiology", "li", None).choose(&mut chosen).expect("both columns are there");
        assert_eq!(chosen.rows, [[json!("s1"), json!("li"), json!("cardiology")]]);
        assert!(asked("cardiology", "li", Some("east")).choose(&mut report()).is_err());
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let rows = [vec![json!("a,\"b\""), json!(1.5), json!(null)], vec![json!("=1+1"), json!(-2), json!("心内科")]];
        let text = csv(&["name".into(), "rate_per_s".into(), "note".into()], &rows);
        assert_eq!(text, "name,rate_per_s,note\r\n\"a,\"\"b\"\"\",1.5,\r\n\"'=1+1\",-2,心内科\r\n");
    }
}
