//! A field that can be read. It never gets into a line of a log: it has no `Display`, and its `Debug` hides it.

use super::{Field, mask};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;

/// A text that cannot be such a field. It does not say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", advice(.0))]
pub struct Invalid(pub Field);

const fn advice(field: &Field) -> &'static str {
    match field {
        Field::Name => "must be 1 to 100 characters of text without control characters or space at either end",
        Field::Phone => "must be 5 to 20 digits, with a + before them where the country's code comes first",
        Field::IdentityNumber => "must be 4 to 32 letters A to Z, digits, hyphens or parentheses",
    }
}

/// A field's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Clear(String);

impl Clear {
    /// Takes a text that can be such a field.
    ///
    /// # Errors
    /// [`Invalid`] for any other.
    pub fn new(field: Field, text: String) -> Result<Self, Invalid> {
        let usable = match field {
            Field::Name => {
                (1..=NAME_CHARS_MAX).contains(&text.chars().count())
                    && text.trim().len() == text.len()
                    && !text.chars().any(char::is_control)
            }
            Field::Phone => {
                let digits = text.strip_prefix('+').unwrap_or(&text);
                (5..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
            }
            Field::IdentityNumber => {
                (4..=32).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-()".contains(&byte))
            }
        };
        if usable { Ok(Self(text)) } else { Err(Invalid(field)) }
    }

    /// What was sealed before: it was checked then.
    #[must_use]
    pub const fn opened(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that may show it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of it: `138****1234`.
    #[must_use]
    pub fn masked(&self, field: Field) -> String {
        match field {
            Field::Name => mask::name(&self.0),
            Field::Phone => mask::phone(&self.0),
            Field::IdentityNumber => mask::identity_number(&self.0),
        }
    }
}

impl std::fmt::Debug for Clear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clear(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_people_have_and_nothing_else() {
        for (field, text) in [
            (Field::Name, "李"),
            (Field::Name, "María José Ñandú-O'Neil"),
            (Field::Phone, "13812341234"),
            (Field::Phone, "+8613812341234"),
            (Field::IdentityNumber, "11010519491231002X"),
            (Field::IdentityNumber, "A123456(7)"),
        ] {
            assert_eq!(Clear::new(field, text.to_owned()).map(|clear| clear.expose().to_owned()), Ok(text.to_owned()));
        }
        let long = "名".repeat(NAME_CHARS_MAX + 1);
        for (field, text) in [
            (Field::Name, ""),
            (Field::Name, " 李"),
            (Field::Name, "a\nb"),
            (Field::Name, &long),
            (Field::Phone, "1234"),
            (Field::Phone, "138-1234-1234"),
            (Field::Phone, "++8613812341234"),
            (Field::Phone, "１３８１２３４１２３４"),
            (Field::IdentityNumber, "123"),
            (Field::IdentityNumber, "11010519491231002Ж"),
            (Field::IdentityNumber, "110105 19491231002"),
        ] {
            let error = Clear::new(field, text.to_owned()).expect_err(text);
            assert_eq!(error, Invalid(field));
            assert!(text.len() < 2 || !error.to_string().contains(text.trim()), "{error}");
        }
    }

    #[test]
    fn is_hidden_from_logs() {
        let clear = Clear::new(Field::Phone, "13812341234".into()).expect("valid");
        assert_eq!(
            format!("{:?}", super::super::Fields { phone: Some(clear), ..Default::default() }).matches("138").count(),
            0
        );
    }
}
