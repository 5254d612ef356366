//! Receipts over a real log: they prove what lay there, and nothing else.

use std::sync::Arc;

use jiff::civil::Date;
use orderly_domain::clock::System;
use orderly_domain::envelope::Intent;
use orderly_domain::personal::{Clear, Field, Fields, Sealed};
use orderly_domain::port::IntentLog;
use orderly_domain::{Book, DepartmentId, DoctorId, PatientId, Position, SessionId, SessionRef, Timestamp, ticket};
use orderly_ingress::personal::{Key, Ring};
use orderly_sinks::log::sqlite;
use prometheus::Registry;

use super::*;

const RECORDS: u64 = 37;
/// What a QR code of the largest size holds, at the level that survives the loss of a quarter of it.
const QR_BYTES: usize = 1_663;
/// The same at the level that survives the loss of 7 % of it, which is the most that any has (version 40-L, binary).
const QR_BYTES_MAX: usize = 2_953;

struct Published {
    folder: tempfile::TempDir,
    log: sqlite::Log,
}

const fn at(offset: u64) -> Position {
    Position { partition: 1, offset }
}

impl Published {
    /// A log whose records are covered by two roots.
    async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = sqlite::Options { partitions: 2, ..sqlite::Options::default() };
        let log = sqlite::Log::open(folder.path(), options, Arc::new(System), &Registry::new())?;
        let published = Self { folder, log };
        for part in [0..RECORDS / 2, RECORDS / 2..RECORDS] {
            for number in part.clone() {
                published.log.append(1, "li", vec![u8::try_from(number)?; 200]).await?;
            }
            // Each time anew, as after a restart.
            Publishing::open(&published.roots())?.publish(&published.log, 1, 0, part.end).await?;
        }
        Ok(published)
    }

    fn roots(&self) -> std::path::PathBuf {
        self.folder.path().join("roots.ndjson")
    }

    async fn receipt(&self, offset: u64) -> anyhow::Result<Receipt> {
        prove(&self.log, at(offset), &covering(&self.roots(), at(offset))?).await
    }
}

#[tokio::test]
async fn every_record_is_proven_and_fits_on_paper() -> anyhow::Result<()> {
    let published = Published::new().await?;
    for offset in 0..RECORDS {
        let line = serde_json::to_string(&published.receipt(offset).await?)?;
        assert!(line.len() < QR_BYTES, "{} bytes", line.len());
        let receipt: Receipt = serde_json::from_str(&line)?;
        let record = receipt.proven_by(&covering(&published.roots(), receipt.log)?)?;
        assert_eq!(record.payload, vec![u8::try_from(offset)?; 200]);
        verify(&line, &published.roots())?;
    }
    let beyond = covering(&published.roots(), Position { partition: 1, offset: RECORDS });
    assert!(beyond.is_err_and(|error| error.to_string().contains("no root was published yet")));
    Ok(())
}

/// The longest text that a field takes, sealed.
fn longest(field: Field, ticket: ticket::Id, text: impl Fn(usize) -> String) -> anyhow::Result<Sealed> {
    let clear =
        (1..1_000).rev().find_map(|length| Clear::new(field, text(length)).ok()).context("some text is taken")?;
    let key = Key::new(u16::MAX, &[7; Key::BYTES]).context("a key")?;
    Ok(Ring::new(key, Vec::new()).seal(field, ticket, &clear)?)
}

/// The longest booking that a patient can ask for, at the end of the log that the longest numbers name.
fn longest_booking() -> anyhow::Result<Record> {
    let id = |bytes| "x".repeat(bytes);
    let ticket = ticket::Id::from_bytes([7; 16]);
    let patient_id: PatientId = id(PatientId::BYTES_MAX).parse()?;
    let session = SessionRef {
        session_id: id(SessionId::BYTES_MAX).parse()?,
        doctor_id: id(DoctorId::BYTES_MAX).parse()?,
        department: id(DepartmentId::BYTES_MAX).parse()?,
        day: Date::MAX,
    };
    let details = Fields {
        name: Some(longest(Field::Name, ticket, |chars| "𠮷".repeat(chars))?),
        phone: Some(longest(Field::Phone, ticket, |digits| format!("+{}", "8".repeat(digits)))?),
        identity_number: Some(longest(Field::IdentityNumber, ticket, |chars| "8".repeat(chars))?),
    };
    let requested_by = patient_id.as_str().to_owned();
    let command = Command::Book(Book { ticket, patient_id, session, details: Some(Box::new(details)) });
    let position = Position { partition: u16::MAX, offset: i64::MAX.unsigned_abs() };
    let logged_at = "9999-12-30T22:00:00.999999Z".parse::<jiff::Timestamp>()?.into();
    Ok(Record { position, logged_at, payload: envelope::encode(&Intent { requested_by, command }) })
}

#[test]
fn the_longest_receipt_fits_into_the_largest_code() -> anyhow::Result<()> {
    let record = longest_booking()?;
    let mut tree = Tree::new();
    (1..publish::RECORDS_MAX).for_each(|_| tree.push([0; 32]));
    tree.push(leaf(&record));
    let to = record.position.offset + 1;
    let receipt = Receipt::of(&record, to - publish::RECORDS_MAX..to, &tree)?;
    assert_eq!(BASE64.decode(&receipt.path)?.len(), 16 * 32);
    let line = serde_json::to_string(&receipt)?;
    assert!((QR_BYTES..=QR_BYTES_MAX).contains(&line.len()), "{} bytes", line.len());
    Ok(())
}

#[tokio::test]
async fn what_is_changed_proves_nothing() -> anyhow::Result<()> {
    let published = Published::new().await?;
    let roots = published.roots();
    let receipt = async || published.receipt(20).await;
    let refused = |receipt: Receipt| {
        let proven = covering(&roots, receipt.log).and_then(|root| receipt.proven_by(&root));
        proven.expect_err("it was changed").to_string()
    };
    let another = published.receipt(21).await?;
    let earlier = Timestamp::from_micros(receipt().await?.logged_at.as_micros() - 1);
    let leads_nowhere = "does not lead to the published root";
    assert!(refused(Receipt { logged_at: earlier, ..receipt().await? }).contains(leads_nowhere));
    assert!(refused(Receipt { record: another.record, ..receipt().await? }).contains(leads_nowhere));
    assert!(refused(Receipt { path: another.path, ..receipt().await? }).contains(leads_nowhere));
    assert!(refused(Receipt { log: another.log, ..receipt().await? }).contains(leads_nowhere));
    assert!(refused(Receipt { from: 0, ..receipt().await? }).contains("covers 18..37"));
    assert!(refused(Receipt { path: "AAAA".into(), ..receipt().await? }).contains("not made of hashes"));
    assert!(refused(Receipt { path: String::new(), ..receipt().await? }).contains(leads_nowhere));
    let elsewhere = Position { partition: 0, offset: 20 };
    assert!(refused(Receipt { log: elsewhere, ..receipt().await? }).contains("no root was published yet"));
    Ok(())
}

#[tokio::test]
async fn a_log_that_was_changed_since_gives_no_receipt() -> anyhow::Result<()> {
    let published = Published::new().await?;
    let log = rusqlite::Connection::open(published.folder.path().join("log.sqlite"))?;
    log.busy_timeout(std::time::Duration::from_secs(20))?;
    let edit = "UPDATE records SET payload = zeroblob(200) WHERE partition = 1 AND log_offset = 3";
    assert_eq!(log.execute(edit, [])?, 1);
    let refused = published.receipt(5).await.expect_err("its neighbour was changed").to_string();
    assert!(refused.contains("not what was published of 1/0..18"), "{refused}");
    published.receipt(20).await?;
    Ok(())
}

/// The log's end is gone, which no log loses by itself: this is found at once, and not waited for.
#[tokio::test]
async fn a_log_that_lost_what_was_published_gives_no_receipt() -> anyhow::Result<()> {
    let published = Published::new().await?;
    let roots = published.roots();
    let offsets = [0, 20, RECORDS].into();
    let told =
        async |log: &sqlite::Log| anyhow::Ok(covers(log, 1, &offsets, &roots).await?.into_values().collect::<Vec<_>>());
    let [first, second] = [covering(&roots, at(0))?, covering(&roots, at(20))?];
    let proven = [Cover::Published(first.published_at), Cover::Published(second.published_at), Cover::NotYet];
    assert_eq!(told(&published.log).await?, proven);
    let records = rusqlite::Connection::open(published.folder.path().join("log.sqlite"))?;
    let lost = records.execute("DELETE FROM records WHERE partition = 1 AND log_offset >= 30", [])?;
    assert_eq!(lost as u64, RECORDS - 30);
    let log = sqlite::Log::open_read_only(published.folder.path())?;
    assert_eq!(told(&log).await?, [proven[0], Cover::Changed, Cover::NotYet]);
    let refused = prove(&log, at(20), &second).await.expect_err("its end is gone").to_string();
    assert!(refused.contains("the log ends before 1/37"), "{refused}");

    let aged = records.execute("DELETE FROM records WHERE partition = 1 AND log_offset < 5", [])?;
    assert_eq!(aged, 5);
    records.execute("UPDATE partitions SET start_offset = 5 WHERE partition = 1", [])?;
    assert_eq!(told(&log).await?, [Cover::Aged, Cover::Changed, Cover::NotYet]);
    Ok(())
}

/// The gap is the last record under its root, so that what comes after it is another's.
#[tokio::test]
async fn a_log_with_a_gap_gives_no_receipt() -> anyhow::Result<()> {
    let published = Published::new().await?;
    let records = rusqlite::Connection::open(published.folder.path().join("log.sqlite"))?;
    assert_eq!(records.execute("DELETE FROM records WHERE partition = 1 AND log_offset = 17", [])?, 1);
    let refused = published.receipt(3).await.expect_err("its neighbour is missing");
    assert!(format!("{refused:#}").contains("the log has no record 1/17"), "{refused:#}");
    published.receipt(20).await?;
    Ok(())
}

#[tokio::test]
async fn records_have_one_root() -> anyhow::Result<()> {
    let published = Published::new().await?;
    let mut tree = Tree::new();
    tree.push([7; 32]);
    roots::Roots::open(&published.roots())?.publish(1, RECORDS - 1, &tree, Timestamp::from_micros(0))?;
    let refused = covering(&published.roots(), at(0)).expect_err("a second root").to_string();
    assert!(refused.contains("line 3 of") && refused.contains("is a second root"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn roots_are_a_chain() -> anyhow::Result<()> {
    let published = Published::new().await?;
    let (path, at) = (published.roots(), Position { partition: 1, offset: 20 });
    let lines = std::fs::read_to_string(&path)?;
    let [first, second] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
    for changed in [format!("{second}\n"), format!("{second}\n{first}\n"), lines.replace("\"to\":18", "\"to\":17")] {
        std::fs::write(&path, &changed)?;
        let refused = covering(&path, at).expect_err(&changed).to_string();
        assert!(refused.contains("the file was changed"), "{refused}");
    }
    std::fs::write(&path, "{}\n")?;
    assert!(covering(&path, at).expect_err("no root").to_string().contains("line 1 of"));
    // What a crash in the middle of a line leaves.
    let (whole, torn) = lines.split_at(first.len() + 40);
    assert!(!torn.is_empty());
    std::fs::write(&path, whole)?;
    assert!(covering(&path, at).expect_err("not published").to_string().contains("no root was published yet"));
    Publishing::open(&path)?.publish(&published.log, 1, 0, RECORDS).await?;
    assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 2);
    published.receipt(20).await?;
    let _writing = Publishing::open(&path)?;
    let refused = format!("{:#}", Publishing::open(&path).err().expect("somebody writes"));
    assert!(refused.contains("another process publishes there"), "{refused}");
    Ok(())
}
