//! Identifiers. All are chosen outside Orderly; here they are only checked for length and characters. Most are short, and
//! short ones are copied without an allocation.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// An identifier that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {bytes_max} bytes of text without control characters or space at either end")]
pub struct Invalid {
    /// Which identifier.
    pub what: &'static str,
    /// Its longest length, in bytes of UTF-8.
    pub bytes_max: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $bytes_max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(CompactString);

        impl $name {
            /// The longest length, in bytes of UTF-8.
            pub const BYTES_MAX: usize = $bytes_max;

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let usable = (1..=$bytes_max).contains(&text.len())
                    && text.trim().len() == text.len()
                    && !text.chars().any(char::is_control);
                if usable { Ok(Self(text.into())) } else { Err(Invalid { what: $what, bytes_max: $bytes_max }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A clinic session (FHIR Schedule / 号源).
    SessionId, "session_id", 96
);
id!(
    /// A practitioner (FHIR Practitioner / 医生); the key of the log's partitions.
    DoctorId, "doctor_id", 96
);
id!(
    /// A department / 科室.
    DepartmentId, "department", 96
);
id!(
    /// A campus / 院区.
    CampusId, "campus", 96
);
id!(
    /// A patient: the subject of the token.
    PatientId, "patient_id", 255
);
