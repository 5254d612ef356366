//! What a failed request to ClickHouse lets the caller conclude.

use std::error::Error as _;
use std::time::Duration;

use clickhouse::error::Error;
use orderly_domain::port;

/// An answer's text is cut here: ClickHouse likes to quote whole statements.
const TEXT_MAX: usize = 500;

/// ClickHouse's numbers of what it refuses before it writes anything.
mod code {
    pub(super) const UNKNOWN_TABLE: u32 = 60;
    pub(super) const UNKNOWN_DATABASE: u32 = 81;
    pub(super) const READONLY: u32 = 164;
    pub(super) const UNKNOWN_USER: u32 = 192;
    pub(super) const WRONG_PASSWORD: u32 = 193;
    pub(super) const REQUIRED_PASSWORD: u32 = 194;
    pub(super) const NOT_ENOUGH_SPACE: u32 = 243;
    pub(super) const MEMORY_LIMIT_EXCEEDED: u32 = 241;
    pub(super) const TOO_MANY_PARTS: u32 = 252;
    pub(super) const ACCESS_DENIED: u32 = 497;
    pub(super) const AUTHENTICATION_FAILED: u32 = 516;
}

/// A read or an idempotent change of the schema that failed: whatever it was, it can be tried again.
pub(super) fn of_read(url: &str, error: &Error) -> port::Error {
    let (certain, text) = explain(url, error);
    certain.unwrap_or(port::Error::DidNotHappen)(text)
}

/// An insert of one batch that failed.
pub(super) fn of_insert(url: &str, error: &Error) -> port::Error {
    let (certain, text) = explain(url, error);
    certain.unwrap_or(port::Error::MayHaveHappened)(text)
}

/// A request without an answer in time.
pub(super) fn no_answer(url: &str, waited: Duration) -> port::Error {
    port::Error::DidNotHappen(format!(
        "ClickHouse at {url} did not answer within {} ms; look at its load and its log",
        waited.as_millis()
    ))
}

type Conclusion = fn(String) -> port::Error;

/// What is known for certain, if anything, and a text that says what to do.
fn explain(url: &str, error: &Error) -> (Option<Conclusion>, String) {
    let cause = cut(&chain(error));
    // The HTTP client tells a connection that was never made only by its text.
    if cause.contains("client error (Connect)") {
        let advice = "start it, or correct the address of analytics";
        return (Some(port::Error::DidNotHappen), format!("cannot reach ClickHouse at {url}: {cause}; {advice}"));
    }
    let answer = format!("ClickHouse at {url}: {cause}");
    match error {
        Error::TimedOut => (None, format!("{answer}; look at its load and its log")),
        Error::BadResponse(text) if text.contains("No space left") || text.contains("errno: 28,") => {
            (Some(port::Error::StorageFull), format!("{answer}; free space on its disk"))
        }
        Error::BadResponse(text) => {
            let (conclusion, advice) = of_code(code_of(text));
            (conclusion, format!("{answer}; {advice}"))
        }
        _ => (None, format!("{answer}; it is tried again by itself, look at its log if this goes on")),
    }
}

fn of_code(code: Option<u32>) -> (Option<Conclusion>, &'static str) {
    let refused: Option<Conclusion> = Some(port::Error::DidNotHappen);
    match code {
        Some(code::UNKNOWN_TABLE | code::UNKNOWN_DATABASE) => {
            (refused, "restart Orderly: it makes its tables anew and fills them from the store")
        }
        Some(
            code::UNKNOWN_USER
            | code::WRONG_PASSWORD
            | code::REQUIRED_PASSWORD
            | code::ACCESS_DENIED
            | code::AUTHENTICATION_FAILED
            | code::READONLY,
        ) => (refused, "correct the user and password of analytics, or what that user may do"),
        Some(code::NOT_ENOUGH_SPACE) => (Some(port::Error::StorageFull), "free space on its disk"),
        Some(code::TOO_MANY_PARTS) => (Some(port::Error::Overloaded), "it goes on once its merges have caught up"),
        Some(code::MEMORY_LIMIT_EXCEEDED) => (refused, "ask for a shorter time, or give it more memory"),
        _ => (None, "look at its log"),
    }
}

/// `Code: 252, …` and `Code: 252. …` are how servers of 2018 and of today begin.
fn code_of(text: &str) -> Option<u32> {
    let digits = text.split_once("Code: ")?.1;
    digits.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// An error with its causes; a text that only repeats its cause is said once.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_certain() {
        let answer = |text: &str| Error::BadResponse(text.into());
        let old = answer("Code: 252, e.displayText() = DB::Exception: Too many parts (300), e.what() = DB::Exception");
        assert!(matches!(of_insert("u", &old), port::Error::Overloaded(_)));
        let new = answer("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)");
        assert!(matches!(of_insert("u", &new), port::Error::StorageFull(_)));
        let disk =
            answer("Code: 75, e.displayText() = DB::ErrnoException: Cannot write, errno: 28, strerror: No space left");
        assert!(matches!(of_insert("u", &disk), port::Error::StorageFull(_)));
        let gone = answer("Code: 60. DB::Exception: Table orderly.decisions does not exist. (UNKNOWN_TABLE)");
        assert!(matches!(of_insert("u", &gone), port::Error::DidNotHappen(text) if text.contains("restart Orderly")));
        for unknown in [answer("Code: 1000. DB::Exception: odd"), answer("gateway"), Error::TimedOut] {
            assert!(matches!(of_insert("u", &unknown), port::Error::MayHaveHappened(_)));
            assert!(matches!(of_read("u", &unknown), port::Error::DidNotHappen(_)));
        }
    }

    #[test]
    fn long_answers_are_cut() {
        let long = Error::BadResponse("é".repeat(10_000));
        let port::Error::MayHaveHappened(text) = of_insert("u", &long) else { panic!("not certain") };
        assert!(text.chars().count() < TEXT_MAX + 100);
    }
}
