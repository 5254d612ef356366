//! The file in which the head of the chain is kept outside the store: a line of JSON for each time that it was written
//! down. It belongs where whoever can change the store cannot change it.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use orderly_domain::audit::Anchor;
use orderly_domain::port::{self, Result};

/// The file's name in the data folder, when it has no other place.
pub const FILE: &str = "audit.anchors";

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 4_096;

/// An anchor file that is appended to.
#[derive(Debug)]
pub struct Anchors {
    file: std::fs::File,
    path: PathBuf,
}

impl Anchors {
    /// Opens the file for appending, and makes it and its folder when they are missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)
        };
        let file = open().map_err(|error| unwritable(path, &error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends an anchor; it is on the disk when this returns. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, anchor: &Anchor) -> Result<()> {
        let line = serde_json::to_string(anchor).map_err(|error| port::Error::DidNotHappen(error.to_string()))?;
        // The break comes first, too: half a line that a kill left behind must not spoil this one.
        let written = self.file.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| unwritable(&self.path, &error))
    }
}

/// What an anchor file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The anchors.
    pub anchors: Vec<Anchor>,
    /// Numbers of the lines that are none: one that was cut off by a kill, or one that somebody wrote.
    pub unreadable: Vec<usize>,
}

/// Reads an anchor file; `None` when there is none. Blocks.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Option<Held>> {
    let name = path.display();
    let failed = |error: std::io::Error| {
        port::Error::DidNotHappen(format!(
            "the anchor file {name} cannot be read: {error}; check the path and its rights"
        ))
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut held = Held::default();
    for (number, line) in (1..).zip(BufReader::new(file).split(b'\n')) {
        let line = line.map_err(failed)?;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(&line[..line.len().min(LINE_BYTES_MAX)]) {
            Ok(anchor) => held.anchors.push(anchor),
            Err(_) => held.unreadable.push(number),
        }
    }
    Ok(Some(held))
}

fn unwritable(path: &Path, error: &std::io::Error) -> port::Error {
    let name = path.display();
    port::Error::DidNotHappen(format!(
        "the anchor file {name} cannot be written: {error}; name another by audit.anchor_file, or give this one back its rights"
    ))
}
