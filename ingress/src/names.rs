//! What a hospital calls its departments and campuses: the API knows ids, its pages show names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many departments and campuses can be named: every page that is opened asks for all of them.
pub const NAMES_MAX: usize = 1_000;

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// A name in the languages of the pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = HospitalName)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// In English.
    #[schema(example = "Heart centre")]
    pub en: String,
    /// In Chinese.
    #[schema(example = "心脏中心")]
    pub zh: String,
}

/// Names by the ids of departments and campuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HospitalNames(BTreeMap<String, Name>);

impl HospitalNames {
    /// Reads them from TOML: a section for each id, with `en` and `zh`.
    ///
    /// # Errors
    /// When it is no such TOML, a name is empty or longer than [`NAME_CHARS_MAX`], or there are more than [`NAMES_MAX`].
    /// Says where, and what to do.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let names: BTreeMap<String, Name> = toml::from_str(text).map_err(|error| error.to_string())?;
        if names.len() > NAMES_MAX {
            return Err(format!("there are {} names; {NAMES_MAX} are the most", names.len()));
        }
        for (id, name) in &names {
            for (language, name) in [("en", &name.en), ("zh", &name.zh)] {
                if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
                    return Err(format!("`{language}` of [{id}] must have 1 to {NAME_CHARS_MAX} characters"));
                }
            }
        }
        Ok(Self(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_judged() {
        let read = HospitalNames::from_toml("[heart]\nen = \"Heart centre\"\nzh = \"心脏中心\"\n").expect("good names");
        assert_eq!(read.0["heart"].zh, "心脏中心");
        assert!(HospitalNames::from_toml("[heart]\nen = \"Heart centre\"\n").unwrap_err().contains("zh"));
        assert!(
            HospitalNames::from_toml("[heart]\nen = \" \"\nzh = \"心\"\n").unwrap_err().contains("`en` of [heart]")
        );
        let long = format!("[heart]\nen = \"Heart\"\nzh = \"{}\"\n", "心".repeat(NAME_CHARS_MAX + 1));
        assert!(HospitalNames::from_toml(&long).unwrap_err().contains("`zh` of [heart]"));
        let many: String = (0..=NAMES_MAX).map(|n| format!("[d{n}]\nen = \"a\"\nzh = \"b\"\n")).collect();
        assert!(HospitalNames::from_toml(&many).unwrap_err().contains("1001 names"));
    }
}
