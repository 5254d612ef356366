//! A file's schema version is `PRAGMA user_version`: how many of its migrations it has had.

use orderly_domain::port;
use rusqlite::{Connection, TransactionBehavior};

use super::{Failure, commit};

/// Brings a file to the newest version: runs those migrations, in order, that it has not had.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> port::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Failure::from)?;
    let had = version(&transaction)?;
    refuse_newer(had, migrations.len())?;
    for migration in &migrations[had..] {
        transaction.execute_batch(migration).map_err(Failure::from)?;
    }
    let newest = i64::try_from(migrations.len()).expect("there are few migrations");
    transaction.pragma_update(None, "user_version", newest).map_err(Failure::from)?;
    commit(transaction)
}

/// Checks that a file that may only be read has the newest version.
pub(crate) fn check_version(connection: &Connection, migrations: &[&str]) -> port::Result<()> {
    let had = version(connection)?;
    refuse_newer(had, migrations.len())?;
    if had < migrations.len() {
        let known = migrations.len();
        let text = format!("its schema has version {had}, not {known}; start the server once to migrate it");
        return Err(port::Error::DidNotHappen(text));
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<usize, Failure> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| port::Error::Corrupt(format!("its schema has version {version}")).into())
}

fn refuse_newer(had: usize, known: usize) -> port::Result<()> {
    if had <= known {
        return Ok(());
    }
    let text = format!("its schema has version {had}, this program knows {known}; use the program that wrote it");
    Err(port::Error::Corrupt(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE first (a)";
    const SECOND: &str = "CREATE TABLE second (b); INSERT INTO first VALUES (1)";

    #[test]
    fn runs_each_migration_once_and_refuses_newer_files() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(matches!(check_version(&connection, &[FIRST]), Err(port::Error::DidNotHappen(_))));
        migrate(&mut connection, &[FIRST]).unwrap();
        migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        migrate(&mut connection, &[FIRST, SECOND]).unwrap();
        check_version(&connection, &[FIRST, SECOND]).unwrap();
        let rows: i64 = connection.query_row("SELECT COUNT(*) FROM first", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        assert!(matches!(migrate(&mut connection, &[FIRST]), Err(port::Error::Corrupt(_))));
        assert!(matches!(check_version(&connection, &[FIRST]), Err(port::Error::Corrupt(_))));
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST, "CREATE TABLE second (b); nonsense"]).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 0);
        migrate(&mut connection, &[FIRST]).unwrap();
    }
}
