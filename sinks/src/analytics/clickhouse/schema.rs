//! The tables, and how they are brought to the newest version.

use orderly_domain::port::{self, Result};

use super::server::Server;

/// One statement each. A migration may be killed between its statement and the note of its version, so it must be one
/// that can run again, or say how it is seen that it has run: old servers cannot add a column unless it is there.
struct Migration {
    sql: &'static str,
    /// Answers with 1 when it has run.
    has_run: Option<&'static str>,
}

const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("migrations/0001_first.sql"), has_run: None },
    Migration {
        sql: include_str!("migrations/0002_patient.sql"),
        has_run: Some(
            "SELECT count() FROM system.columns \
             WHERE database = currentDatabase() AND table = 'decisions' AND name = 'patient'",
        ),
    },
    Migration { sql: include_str!("migrations/0003_decisions_once.sql"), has_run: None },
    Migration { sql: include_str!("migrations/0004_outcomes_by_day.sql"), has_run: None },
];

impl Migration {
    async fn run(&self, server: &Server) -> Result<()> {
        let Some(has_run) = self.has_run else { return server.execute(self.sql).await };
        if server.one::<u64>(has_run).await? > 0 {
            return Ok(());
        }
        let executed = server.execute(self.sql).await;
        // Another process may have been faster.
        if executed.is_err() && server.one::<u64>(has_run).await? > 0 { Ok(()) } else { executed }
    }
}

/// Brings the database to the newest version: runs those migrations, in order, that it has not had.
pub(super) async fn migrate(server: &Server) -> Result<()> {
    server.execute(include_str!("migrations/versions.sql")).await?;
    let had: u32 = server.one("SELECT max(version) FROM schema_versions").await?;
    let known = u32::try_from(MIGRATIONS.len()).expect("there are few migrations");
    if had > known {
        let database = &server.options().database;
        let text =
            format!("the schema of ClickHouse's database {database} has version {had}, this program knows {known}");
        return Err(port::Error::Corrupt(format!("{text}; use the program that wrote it")));
    }
    for (version, migration) in (1..=known).zip(MIGRATIONS).skip(had as usize) {
        migration.run(server).await?;
        server.execute(&format!("INSERT INTO schema_versions (version) VALUES ({version})")).await?;
    }
    if server.is_modern() {
        modernise(server).await?;
    } else if let Some(days) = server.options().retention_days {
        tracing::warn!(days, "this ClickHouse is too old to forget rows by itself; drop its old months by hand");
    }
    Ok(())
}

/// Adds what older servers lack, where it is not there: the server may have been upgraded since the tables were made.
async fn modernise(server: &Server) -> Result<()> {
    let compressed: u64 = server
        .one(
            "SELECT count() FROM system.columns \
             WHERE database = currentDatabase() AND table = 'decisions' AND compression_codec != ''",
        )
        .await?;
    if compressed == 0 {
        server.execute(include_str!("modern/codecs.sql")).await?;
    }
    let engine = engine(server).await?;
    if !engine.contains("fsync_after_insert = 1") {
        server.execute(include_str!("modern/settings.sql")).await?;
    }
    let has_ttl = engine.contains(" TTL ");
    match server.options().retention_days {
        // Setting what is set already would make the server go through all rows.
        Some(days) if !engine.contains(&format!(" TTL logged_at + toIntervalDay({days}) ")) => {
            server.execute(&format!("ALTER TABLE decisions MODIFY TTL logged_at + INTERVAL {days} DAY")).await
        }
        None if has_ttl => server.execute("ALTER TABLE decisions REMOVE TTL").await,
        _ => Ok(()),
    }
}

async fn engine(server: &Server) -> Result<String> {
    server.one("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'decisions'").await
}
