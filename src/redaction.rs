//! Passwords in addresses, which nobody is to read: not in what is printed, not in the log and in no error.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

/// What stands where a password was.
pub(crate) const HIDDEN: &str = "***";

/// What a password is called where it has a name: in PostgreSQL's key words, and in the query of an address.
const NAME: &str = "password";

/// A text with the password of every address in it hidden. An address ends at a space or a quote.
pub(crate) fn in_text(text: &str) -> Cow<'_, str> {
    hide(text, |character| character.is_whitespace() || matches!(character, '"' | '\'' | '`' | '<' | '>'))
}

/// The same for a text that is nothing but one address, or several with commas between them.
pub(crate) fn in_address(address: &str) -> Cow<'_, str> {
    hide(address, |_| false)
}

/// Whether there is a password in an address that is hidden already.
pub(crate) fn is_hidden(address: &str) -> bool {
    matches!(in_address(address), Cow::Owned(hidden) if hidden == address)
}

fn hide(text: &str, ends: impl Fn(char) -> bool) -> Cow<'_, str> {
    let mut secrets: Vec<_> = of_users(text, ends).chain(named(text)).filter(|secret| !secret.is_empty()).collect();
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_by_key(|secret| secret.start);
    let (mut hidden, mut rest) = (String::with_capacity(text.len()), 0);
    for Range { start, end } in secrets {
        if start >= rest {
            hidden.push_str(&text[rest..start]);
            hidden.push_str(HIDDEN);
        }
        rest = rest.max(end);
    }
    hidden.push_str(&text[rest..]);
    Cow::Owned(hidden)
}

/// Passwords that stand as `://USER:PASSWORD@`. They go up to the last `@`: some servers' clients take one in a password.
fn of_users(text: &str, ends: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(move |(at, mark)| {
        let start = at + mark.len();
        let rest = &text[start..];
        let rest = &rest[..rest.find(&ends).unwrap_or(rest.len())];
        let rest = &rest[..rest.find(mark).unwrap_or(rest.len())];
        let user = &rest[..rest.rfind('@')?];
        Some(start + user.find(':')? + 1..start + user.len())
    })
}

/// Passwords that stand as `password=`, quoted or not.
fn named(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let value = |(at, name): (usize, &str)| {
        let value = text[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        let start = text.len() - value.len();
        let quote = value.chars().next().filter(|first| matches!(first, '\'' | '"'));
        Some(match quote {
            Some(quote) => start + 1..start + 1 + quoted_bytes(&value[1..], quote),
            None => {
                let ends = |character: char| character.is_whitespace() || "&'\"`".contains(character);
                start..start + value.find(ends).unwrap_or(value.len())
            }
        })
    };
    lower.match_indices(NAME).filter_map(value).collect()
}

/// How long a text is up to the quote that ends it. A backslash takes a quote's meaning away.
fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.find(|character| {
        let ends = character == quote && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// Writes on what is written into it, with the passwords of addresses hidden. Each write is a text of its own.
pub(crate) struct Writer<W>(pub(crate) W);

impl<W: io::Write> io::Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(in_text(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        for (text, hidden) in [
            ("postgres://ann:pw@db:5432/orderly", "postgres://ann:***@db:5432/orderly"),
            ("postgres://ann:p@/w@db/orderly", "postgres://ann:***@db/orderly"),
            (
                "postgres://ann@db/orderly?password=pw&sslmode=require",
                "postgres://ann@db/orderly?password=***&sslmode=require",
            ),
            ("postgres://ann:pw@db/x?password=p@w", "postgres://ann:***"),
            ("host=db password='p \\' w' user=ann", "host=db password='***' user=ann"),
            ("host=db Password = pw user=ann", "host=db Password = *** user=ann"),
            ("redis://:pw@a:1,rediss://u:pw@b:2", "redis://:***@a:1,rediss://u:***@b:2"),
            ("url = \"redis://:pw@a\" of ann@b", "url = \"redis://:***@a\" of ann@b"),
        ] {
            assert_eq!(in_text(text), hidden);
        }
        for open in
            ["http://127.0.0.1:8080/", "postgres://ann@db", "a b@c:d", "password_file = \"x\"", "redis://:@a", ""]
        {
            assert!(matches!(in_text(open), Cow::Borrowed(_)), "{open}");
            assert!(matches!(in_address(open), Cow::Borrowed(_)), "{open}");
        }
        assert_eq!(in_address("postgres://ann:p w\"@db"), "postgres://ann:***@db");
        assert_eq!(in_text(&in_text("redis://:pw@a")), "redis://:***@a");
    }

    #[test]
    fn what_is_written_is_written_on_without_them() {
        let mut written = Writer(Vec::new());
        io::Write::write_all(&mut written, b"at redis://:pw@a\n").expect("memory");
        assert_eq!(written.0, b"at redis://:***@a\n");
    }
}
