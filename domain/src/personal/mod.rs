//! What a hospital needs to call a patient or to check them in: name, phone and identity number.
//!
//! It is sealed field by field before it reaches a log or a store, and passes through the pipeline as bytes that nobody there
//! can read. The keys are elsewhere; here are its words, how it is checked, and how it is shown: masked.

mod clear;
mod mask;
mod pseudonym;
mod sealed;

use serde::{Deserialize, Serialize};

pub use clear::{Clear, Invalid};
pub use pseudonym::Pseudonyms;
pub use sealed::Sealed;

/// The table of the store in which sealed fields lie: what each is bound to, with its column and its row.
pub const TABLE: &str = "patient_details";

/// One of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// What the patient is called.
    Name,
    /// Where they are called.
    Phone,
    /// Their identity card's number, or their passport's.
    IdentityNumber,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 3] = [Self::Name, Self::Phone, Self::IdentityNumber];

    /// Its name in the API, and its column in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Phone => "phone",
            Self::IdentityNumber => "identity_number",
        }
    }
}

/// The fields of one patient, in one form or another: each may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields<T> {
    /// [`Field::Name`].
    pub name: Option<T>,
    /// [`Field::Phone`].
    pub phone: Option<T>,
    /// [`Field::IdentityNumber`].
    pub identity_number: Option<T>,
}

impl<T> Default for Fields<T> {
    fn default() -> Self {
        Self { name: None, phone: None, identity_number: None }
    }
}

impl<T> Fields<T> {
    /// Whether all are missing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.name.is_none() && self.phone.is_none() && self.identity_number.is_none()
    }

    /// One of them.
    #[must_use]
    pub const fn get(&self, field: Field) -> Option<&T> {
        match field {
            Field::Name => self.name.as_ref(),
            Field::Phone => self.phone.as_ref(),
            Field::IdentityNumber => self.identity_number.as_ref(),
        }
    }

    /// Those that are there.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &T)> {
        Field::ALL.into_iter().filter_map(|field| self.get(field).map(|value| (field, value)))
    }

    /// Each that is there in another form.
    ///
    /// # Errors
    /// The first that `change` answers with.
    pub fn try_map<U, E>(&self, mut change: impl FnMut(Field, &T) -> Result<U, E>) -> Result<Fields<U>, E> {
        let mut one = |field| self.get(field).map(|value| change(field, value)).transpose();
        Ok(Fields { name: one(Field::Name)?, phone: one(Field::Phone)?, identity_number: one(Field::IdentityNumber)? })
    }
}
