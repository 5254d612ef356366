//! The anchor file.

use std::io::Write as _;

use orderly_domain::audit::Anchor;
use orderly_sinks::audit::anchor::{Anchors, Held, read};

use super::*;

#[test]
fn anchors_are_appended_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("elsewhere/audit.anchors");
    assert_eq!(read(&path).unwrap(), None);
    let anchor = |seq| Anchor {
        place: Place { seq, hash: Hash::ZERO, at: Timestamp::from_millis(7) },
        anchored_at: Timestamp::from_millis(9),
        node: "node-1".into(),
    };
    Anchors::open(&path).unwrap().append(&anchor(1)).unwrap();
    // A kill left half a line.
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":2,\"ha").unwrap();
    let mut anchors = Anchors::open(&path).unwrap();
    anchors.append(&anchor(3)).unwrap();
    anchors.append(&anchor(4)).unwrap();
    let held = read(&path).unwrap().unwrap();
    assert_eq!(held, Held { anchors: vec![anchor(1), anchor(3), anchor(4)], unreadable: vec![3] });
    let told = Anchors::open(folder.path()).unwrap_err().to_string();
    assert!(told.contains("audit.anchor_file"), "{told}");
}
