//! The questions of analysts (`dashboards/clickhouse`): each gives what lies beside it, on every engine, and so do the
//! reports in SQLite.

use std::fmt::Write as _;

use orderly_domain::port::Feed;
use orderly_domain::port::analytics::Report;
use orderly_sinks::analytics::sqlite::{Analytics as Sqlite, Options as SqliteOptions};
use tempfile::TempDir;

use super::*;
use crate::analytics::history::{ZONE, file, play};

/// 2026-11-01T00:00:00Z and 2026-12-01T00:00:00Z.
const FROM_MS: i64 = 1_793_491_200_000;
const TO_MS: i64 = 1_796_083_200_000;
/// Set it to write what is found in the place of what was expected.
const WRITE: &str = "ORDERLY_WRITE_EXPECTED";

pub(super) async fn answer_analysts_as_expected(place: &Database) {
    let folder = TempDir::new().unwrap();
    let sqlite = Arc::new(Sqlite::open(folder.path(), SqliteOptions::default(), &Registry::new()).unwrap());
    let clickhouse = Arc::new(place.own().await);
    play(vec![Arc::clone(&sqlite) as Arc<dyn Feed>, Arc::clone(&clickhouse) as Arc<dyn Feed>]).await;

    let (from, to) = (Timestamp::from_millis(FROM_MS), Timestamp::from_millis(TO_MS));
    let reports = sql_files("reports");
    assert_eq!(reports.len(), clickhouse.reports().len(), "each report is a file, and each file is a report");
    for (name, sql) in reports {
        let report = clickhouse.report(&name, from, to).await.unwrap().unwrap();
        assert_eq!(report.sql, filled(&sql), "what the API runs and shows for {name}");
        expect(&name, &tsv(&report));
        let embedded = sqlite.report(&name, from, to).await.unwrap().unwrap();
        assert_eq!(tsv(&embedded), tsv(&report), "{name} in SQLite");
        expect(&name, &place.ask(&sql).await);
    }
    let queries = sql_files("queries");
    assert!(queries.len() >= 15, "{}", queries.len());
    for (name, sql) in &queries {
        expect(name, &place.ask(sql).await);
    }

    // Once more, with every row there twice, and through the view: nothing counts twice.
    place.execute("SYSTEM STOP MERGES decisions").await;
    place.execute("INSERT INTO decisions SELECT * FROM decisions").await;
    for (name, sql) in sql_files("reports").into_iter().chain(queries) {
        expect(&name, &place.ask(&sql).await);
        expect(&name, &place.ask(&sql.replace("decisions FINAL", "decisions_once")).await);
    }
}

impl Database {
    /// The answer as `clickhouse-client --format TabSeparatedWithNames` writes it.
    async fn ask(&self, sql: &str) -> String {
        let mut answer = self.client().query_raw(&filled(sql)).fetch_bytes("TabSeparatedWithNames").unwrap();
        String::from_utf8(answer.collect().await.unwrap().to_vec()).unwrap()
    }
}

/// Name and text of every `.sql` file of a folder; each begins with a sentence that says what it is for.
fn sql_files(folder: &str) -> Vec<(String, String)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let (name, sql) =
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
        assert!(sql.starts_with("-- ") && sql.contains('.'), "{} says what it is for", path.display());
        (name, sql)
    };
    let table = std::fs::read_to_string(file("README.md")).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(file(folder)).unwrap().map(read).collect();
    files.sort();
    for (name, _) in &files {
        assert!(table.contains(&format!("| [`{name}`]({folder}/{name}.sql) | ")), "the README lists {name}");
    }
    files
}

fn filled(sql: &str) -> String {
    let sql = sql.replace(":from_ms", &FROM_MS.to_string()).replace(":to_ms", &TO_MS.to_string());
    sql.replace(":zone", ZONE)
}

fn expect(name: &str, found: &str) {
    let path = file(&format!("expected/{name}.tsv"));
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}; if what it found is right, set {WRITE}=1 and run this test once more");
}

/// A report as ClickHouse writes it.
fn tsv(report: &Report) -> String {
    let value = |value: &Value| match value {
        Value::Null => r"\N".to_owned(),
        Value::String(text) => text.clone(),
        // 1.0 is written as 1.
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap().to_string(),
        other => other.to_string(),
    };
    let mut text = report.columns.join("\t") + "\n";
    for row in &report.rows {
        writeln!(text, "{}", row.iter().map(value).collect::<Vec<_>>().join("\t")).unwrap();
    }
    text
}
