//! The keys file: a line `ID BASE64 [MADE]` for each key that seals personal data, the first seals, and a line
//! `pseudonyms BASE64`.

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orderly_domain::Timestamp;
use orderly_domain::personal::Pseudonyms;
use orderly_ingress::personal::{Key, Ring};

use crate::keys::random;

/// What the line of the pseudonyms' key begins with.
const PSEUDONYMS: &str = "pseudonyms";

const HEADER: &str = "\
# Seals personal data: ID BASE64 MADE, 32 bytes each. The first seals, all open; `orderly keys rotate` adds one.
# pseudonyms: the key under which Redis is told patients. It stays: with another one, pipelines have to be restarted together.
# Without this file nobody can read what was sealed. Keep a copy where the data are not.
";

/// A key of the file.
pub(super) struct Line {
    pub(super) id: u16,
    secret: Vec<u8>,
    /// When it was made, where that is written.
    pub(super) made: Option<Timestamp>,
}

/// What is in the file.
pub(super) struct File {
    /// The first seals.
    pub(super) keys: Vec<Line>,
    pseudonyms: Vec<u8>,
}

impl File {
    /// Reads the text of one.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let (mut keys, mut pseudonyms) = (Vec::<Line>::new(), None);
        for (index, line) in lines(text) {
            let at = || format!("line {}", index + 1);
            let mut words = line.split_whitespace();
            let (Some(name), Some(secret)) = (words.next(), words.next()) else {
                bail!("{}: write it as `ID BASE64` or `{PSEUDONYMS} BASE64`", at());
            };
            // The cause would show a part of the key.
            let secret = STANDARD.decode(secret).map_err(|_| anyhow!("the key is not base64")).with_context(at)?;
            if name == PSEUDONYMS {
                ensure!(pseudonyms.is_none(), "{}: there is a line `{PSEUDONYMS}` before it; keep one", at());
                pseudonyms = Some(secret);
                continue;
            }
            let id: u16 = name.parse().context("the ID must be a number from 0 to 65535").with_context(at)?;
            ensure!(secret.len() == Key::BYTES, "{}: the key has {} bytes; it must be 32", at(), secret.len());
            ensure!(keys.iter().all(|key| key.id != id), "{}: ID {id} comes twice; give each key its own", at());
            let made = words.next().map(|made| made.parse::<jiff::Timestamp>().map(Timestamp::from));
            let made = made.transpose().context("what follows the key must be a time").with_context(at)?;
            keys.push(Line { id, secret, made });
        }
        ensure!(!keys.is_empty(), "there is no key; add a line `ID BASE64`");
        let pseudonyms = pseudonyms.context("there is no line `pseudonyms BASE64`; add one with 32 bytes or more")?;
        ensure!(
            pseudonyms.len() >= Pseudonyms::KEY_BYTES_MIN,
            "the key of the pseudonyms has {} bytes; make it at least {}",
            pseudonyms.len(),
            Pseudonyms::KEY_BYTES_MIN
        );
        Ok(Self { keys, pseudonyms })
    }

    /// The text of a new one.
    pub(super) fn fresh(now: Timestamp) -> anyhow::Result<String> {
        let key = |what: &str| anyhow::Ok(format!("{what} {}", random(Key::BYTES)?));
        Ok(format!("{HEADER}{}\n{} {}\n", key(PSEUDONYMS)?, key("1")?, seconds(now)))
    }

    /// The keys that seal and open.
    pub(super) fn ring(&self) -> Ring {
        let mut keys = self.keys.iter().map(|Line { id, secret, .. }| {
            Key::new(*id, secret).expect("a key of another length was refused when the file was read")
        });
        let sealing = keys.next().expect("a file without a key was refused when it was read");
        Ring::new(sealing, keys.collect())
    }

    /// The pseudonyms of patients.
    pub(super) fn pseudonyms(&self) -> anyhow::Result<Pseudonyms> {
        Pseudonyms::new(&self.pseudonyms).context("the key of the pseudonyms is too short")
    }
}

/// The text with a further key before the others, and the number of that.
pub(super) fn rotated(text: &str, now: Timestamp) -> anyhow::Result<(String, u16)> {
    let file = File::parse(text)?;
    let highest = file.keys.iter().map(|key| key.id).max().unwrap_or(0);
    let id = highest.checked_add(1).context("65535 is the last ID; remove old keys and number the others anew")?;
    let added = format!("{id} {} {}", random(Key::BYTES)?, seconds(now));
    let first = lines(text).find(|(_, line)| !line.starts_with(PSEUDONYMS)).map_or(0, |(index, _)| index);
    let mut all: Vec<&str> = text.lines().collect();
    all.insert(first, &added);
    Ok((all.join("\n") + "\n", id))
}

/// Lines that say something, with their index.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn seconds(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn a_new_file_can_be_used_and_rotated() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let fresh = File::fresh(now).expect("random numbers");
        let file = File::parse(&fresh).expect("valid");
        assert_eq!((file.ring().sealing_id(), file.keys[0].made), (1, Some(now)));
        let (rotated, id) = rotated(&fresh, now).expect("valid");
        let after = File::parse(&rotated).expect("valid");
        assert_eq!((id, after.ring().sealing_id()), (2, 2));
        assert_eq!(after.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((after.pseudonyms, &after.keys[1].secret), (file.pseudonyms, &file.keys[0].secret));
        assert!(rotated.starts_with(HEADER), "what people wrote stays");
        assert_ne!(File::fresh(now).expect("random numbers"), fresh);
    }

    #[test]
    fn what_cannot_be_used_is_named_by_line_and_never_shown() {
        let pseudonyms = format!("pseudonyms {}\n", secret(9));
        for (text, expected) in [
            (String::new(), "there is no key"),
            (format!("1 {}", secret(1)), "there is no line `pseudonyms"),
            (format!("{pseudonyms}# one\nabc"), "line 3: write it as"),
            (format!("{pseudonyms}70000 {}", secret(1)), "line 2: the ID must be"),
            (format!("{pseudonyms}1 ????"), "not base64"),
            (format!("{pseudonyms}1 c2hvcnQ="), "line 2: the key has 5 bytes; it must be 32"),
            (format!("{pseudonyms}1 {}\n1 {}", secret(1), secret(2)), "ID 1 comes twice"),
            (format!("{pseudonyms}{pseudonyms}1 {}", secret(1)), "line 2: there is a line `pseudonyms`"),
            (format!("{pseudonyms}1 {} yesterday", secret(1)), "must be a time"),
            (format!("pseudonyms c2hvcnQ=\n1 {}", secret(1)), "make it at least 32"),
        ] {
            let told = format!("{:#}", File::parse(&text).err().expect("refused"));
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains(&secret(1)) && !told.contains(&secret(9)), "{told}");
        }
    }
}
