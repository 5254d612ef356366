//! What comes from outside, nearly right: tickets that people hold, and records that lie in a log.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orderly_fuzz::run;

use crate::envelope::{self, Intent};
use crate::ticket::{Codec, Key};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// The tickets of the corpus are signed with this key, for this patient.
fn codec() -> Codec {
    Codec::new(Key::new(1, &[1; 32]).expect("long enough"), vec![Key::new(2, &[2; 32]).expect("long enough")])
}

/// Whoever changes a ticket has none: what is read is what was signed.
#[test]
fn tickets() {
    let (codec, ann) = (codec(), "ann".parse().expect("valid"));
    let others = "bob".parse().expect("valid");
    let given: Vec<_> = std::fs::read_dir(corpus("ticket"))
        .expect("a folder")
        .map(|file| std::fs::read(file.expect("readable").path()).expect("readable"))
        .collect();
    let ran = run(&corpus("ticket"), 60_000, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        assert!(codec.decode(text, &others).is_err());
        match codec.decode(text, &ann) {
            Ok(handle) => {
                assert!(given.iter().any(|ticket| ticket == input), "{text:?} was never given");
                assert!(codec.decode(&codec.encode(&handle, &ann), &ann) == Ok(handle));
                1
            }
            Err(_) => 2 + URL_SAFE_NO_PAD.decode(text).map_or(0, |bytes| bytes.len()),
        }
    });
    assert!(ran.answers > 50, "{ran:?}");
}

/// A record is an intent or poison, and an intent is the same when it is written and read again.
#[test]
fn records() {
    let ran = run(&corpus("record"), 60_000, |input| match envelope::decode(input) {
        Ok(intent) => {
            let written = envelope::encode(&intent);
            assert!(envelope::decode(&written).ok().as_ref() == Some(&intent), "{intent:?}");
            (intent.command.kind().as_str().to_owned(), 0)
        }
        Err(error) => (words(&error.to_string()), usize::from(input.is_empty())),
    });
    assert!(ran.answers > 8, "{ran:?}");
}

/// What an error says, without the values in it.
fn words(error: &str) -> String {
    error.chars().filter(|letter| letter.is_ascii_lowercase() || *letter == ' ').take(60).collect()
}

/// Writes the samples of the corpora anew, when their format changes.
#[test]
#[ignore = "it writes files: cargo test -p orderly-domain --lib -- --ignored fuzz::write_samples"]
fn write_samples() {
    use crate::clock::Timestamp;
    use crate::command::{Book, Cancel, ChangeCapacity, CloseSession, Command, SessionRef};
    use crate::position::Position;
    use crate::session::{Exclusivity, Session};
    use crate::ticket::{Handle, Id};

    let write = |name: &str, file: &str, bytes: &[u8]| {
        std::fs::create_dir_all(corpus(name)).expect("writable");
        std::fs::write(corpus(name).join(file), bytes).expect("writable");
    };
    let (ann, session_id) = ("ann".parse().expect("valid"), "card-2026-11-23-am-li");
    for (file, offset, id) in [("short", 0, "s"), ("usual", 1_042, session_id), ("far", u64::MAX, "李明-上午")] {
        let handle = Handle {
            id: Id::derive(&ann, file),
            position: Position { partition: 3, offset },
            logged_at: Timestamp::from_micros(1_795_000_000_000_000),
            session_id: id.parse().expect("valid"),
        };
        write("ticket", file, codec().encode(&handle, &ann).as_bytes());
    }
    let session = Session {
        session_id: session_id.parse().expect("valid"),
        doctor_id: "li".parse().expect("valid"),
        doctor_name: "李明 Li Ming".into(),
        department: "cardiology".parse().expect("valid"),
        campus: "east".parse().expect("valid"),
        day: jiff::civil::date(2026, 11, 23),
        start: jiff::civil::time(8, 0, 0, 0),
        end: jiff::civil::time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity: 20,
        release_at: Timestamp::from_millis(1_795_000_000_000),
        ends_at: Timestamp::from_millis(1_795_100_000_000),
        exclusivity: Exclusivity::DepartmentDay,
    };
    let reference: SessionRef = session.reference();
    let (ticket, patient_id) = (Id::derive(&ann, "k"), ann);
    let commands = [
        (
            "book",
            Command::Book(Book { ticket, patient_id: patient_id.clone(), session: reference.clone(), details: None }),
        ),
        ("cancel", Command::Cancel(Cancel { ticket, patient_id, session: reference.clone() })),
        ("open", Command::OpenSession(Box::new(session))),
        ("close", Command::CloseSession(CloseSession { session: reference.clone(), cause: "李医生停诊".into() })),
        ("capacity", Command::ChangeCapacity(ChangeCapacity { session: reference, capacity: 30 })),
    ];
    for (file, command) in commands {
        let intent = Intent { requested_by: "ann".into(), command };
        write("record", file, &envelope::encode(&intent));
    }
}
