//! Looks for texts in bytes, in every form in which a program might write them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Texts that are looked for.
pub(super) struct Texts {
    /// Each text's name, how it is written, and the bytes of that.
    forms: Vec<(&'static str, &'static str, Vec<u8>)>,
    /// Whether a form begins with that byte.
    begins: [bool; 256],
}

impl Texts {
    pub(super) fn of(texts: &[(&'static str, &str)]) -> Self {
        let forms: Vec<_> = texts.iter().flat_map(|(name, text)| forms(name, text)).collect();
        let mut begins = [false; 256];
        forms.iter().for_each(|(.., bytes)| begins[usize::from(bytes[0])] = true);
        Self { forms, begins }
    }

    /// Which are found, and how they are written there.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| self.begins[usize::from(**byte)]) {
            for (name, form, wanted) in &self.forms {
                if bytes[at..].starts_with(wanted) && !found.contains(&(*name, *form)) {
                    found.push((*name, *form));
                }
            }
        }
        found
    }

    /// The same in every file of a folder, with the files' paths. Files that go meanwhile are not read; those whose name ends so
    /// are left out.
    pub(super) fn find_in_files(&self, folder: &Path, left_out: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if !left_out.iter().any(|end| path.to_string_lossy().ends_with(end))
                    && let Ok(bytes) = std::fs::read(&path)
                {
                    files += 1;
                    let in_file = self.find(&bytes).into_iter();
                    found.extend(in_file.map(|(name, form)| format!("{name} as {form} in {}", path.display())));
                }
            }
        }
        assert!(files > 0, "there is nothing in {}", folder.display());
        found
    }
}

/// A text as programs write it.
fn forms(name: &'static str, text: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let mut big_endian = wide(u16::to_be_bytes);
    // Files are full of zeros: what follows the first is enough.
    if big_endian[0] == 0 {
        big_endian.remove(0);
    }
    let mut forms = vec![
        (name, "UTF-8", text.as_bytes().to_vec()),
        (name, "UTF-16", wide(u16::to_le_bytes)),
        (name, "UTF-16, big endian", big_endian),
        (name, "hexadecimal", hex.to_uppercase().into_bytes()),
        (name, "hexadecimal", hex.into_bytes()),
        (name, "escapes", escaped.into_bytes()),
    ];
    // Base64 of a text that begins at any place: only the characters that depend on nothing else.
    for before in 0..3 {
        let bytes = [&vec![0; before][..], text.as_bytes()].concat();
        let (skipped, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.push((name, "base64", encoded.as_bytes()[skipped..end].to_vec()));
        }
    }
    forms
}

#[test]
fn finds_every_form() {
    let texts = Texts::of(&[("name", "欧阳雀"), ("phone", "13987650421")]);
    let utf16: Vec<u8> = "13987650421".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let hidden = STANDARD_NO_PAD.encode("{\"phone\":\"13987650421\"}");
    for (bytes, expected) in [
        ("x欧阳雀x".as_bytes().to_vec(), ("name", "UTF-8")),
        (b"{\"name\":\"\\u6b27\\u9633\\u96c0\"}".to_vec(), ("name", "escapes")),
        (b"\\x3133393837363530343231".to_vec(), ("phone", "hexadecimal")),
        (utf16, ("phone", "UTF-16, big endian")),
        (hidden.into_bytes(), ("phone", "base64")),
    ] {
        assert!(texts.find(&bytes).contains(&expected), "{expected:?}");
    }
    assert!(texts.find(b"139****0421").is_empty());
}
