//! Personal data in requests and in answers.

use orderly_domain::personal::{Clear, Field, Fields};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::problem::{Problem, kind};

/// What a hospital needs to call the patient or to check them in. All of it may be left out. It is sealed before it is
/// written anywhere, and never shown unmasked but to ops who ask for it, which is audited.
#[derive(utoipa::ToSchema)]
#[schema(as = Patient)]
#[expect(dead_code, reason = "it describes what is read by hand, so that no error repeats what somebody sent")]
pub(crate) struct Given {
    /// 1 to 100 characters.
    #[schema(example = "李明")]
    name: Option<String>,
    /// 5 to 20 digits, with a + before them where the country's code comes first.
    #[schema(example = "13812341234")]
    phone: Option<String>,
    /// The number of an identity card or a passport: 4 to 32 letters A to Z, digits, hyphens or parentheses.
    #[schema(example = "11010519491231002X")]
    identity_number: Option<String>,
}

/// What is shown of it: `李*`, `138****1234`, `110***********002X`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = MaskedPatient)]
pub(crate) struct Masked {
    /// The first character.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "李*")]
    pub(super) name: Option<String>,
    /// Without the four digits before the last four; shorter ones with their end alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "138****1234")]
    pub(super) phone: Option<String>,
    /// The first three characters and the last four; of shorter ones the last two, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "110***********002X")]
    pub(super) identity_number: Option<String>,
}

/// All of it, for ops who ask for one appointment's.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ShownPatient)]
pub(crate) struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_number: Option<String>,
}

impl From<&Fields<Clear>> for Shown {
    fn from(fields: &Fields<Clear>) -> Self {
        let text = |field| fields.get(field).map(|clear: &Clear| clear.expose().to_owned());
        Self { name: text(Field::Name), phone: text(Field::Phone), identity_number: text(Field::IdentityNumber) }
    }
}

/// What is wrong with a field. Neither says what was sent.
#[derive(Serialize)]
struct Fault {
    field: &'static str,
    detail: String,
}

/// Reads the member `patient` of a booking; `None` when nothing is given.
pub(crate) fn read(given: Value) -> Result<Option<Fields<Clear>>, Problem> {
    let mut members = match given {
        Value::Null => return Ok(None),
        Value::Object(members) => members,
        _ => return Err(refused(&[fault("patient", "must be an object")])),
    };
    let mut faults = Vec::new();
    let mut take = |field: Field| match read_one(field, &mut members) {
        Ok(clear) => clear,
        Err(detail) => {
            faults.push(fault(field.as_str(), &detail));
            None
        }
    };
    let fields =
        Fields { name: take(Field::Name), phone: take(Field::Phone), identity_number: take(Field::IdentityNumber) };
    if !members.is_empty() {
        faults.push(fault("patient", "has a member that is not taken; name, phone and identity_number are"));
    }
    match faults.is_empty() {
        true => Ok((!fields.is_empty()).then_some(fields)),
        false => Err(refused(&faults)),
    }
}

fn read_one(field: Field, members: &mut Map<String, Value>) -> Result<Option<Clear>, String> {
    match members.remove(field.as_str()) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Clear::new(field, text).map(Some).map_err(|invalid| invalid.to_string()),
        Some(_) => Err("must be a text".to_owned()),
    }
}

fn fault(field: &'static str, detail: &str) -> Fault {
    Fault { field, detail: detail.to_owned() }
}

fn refused(faults: &[Fault]) -> Problem {
    let first = faults.first().map(|Fault { field, detail }| format!("{field} {detail}.")).unwrap_or_default();
    Problem::new(&kind::INVALID_PATIENT)
        .detail(format!("{first} Nothing was taken; mend the member patient and send it again."))
        .member("errors", serde_json::to_value(faults).expect("texts are always JSON"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_is_given() {
        assert!(read(Value::Null).is_ok_and(|given| given.is_none()));
        assert!(read(json!({})).is_ok_and(|given| given.is_none()), "nothing in it");
        let given = read(json!({"name": "李明", "phone": null})).expect("valid").expect("something");
        assert_eq!((given.name.expect("given").expose(), given.phone), ("李明", None));
    }

    #[test]
    fn says_what_is_wrong_and_never_what_was_sent() {
        for (given, fields) in [
            (json!("13812341234"), vec!["patient"]),
            (json!({"phone": 13_812_341_234_u64}), vec!["phone"]),
            (json!({"phone": "138 1234 1234", "name": ""}), vec!["name", "phone"]),
            (json!({"13812341234": "x"}), vec!["patient"]),
            (json!({"identity_number": ["11010519491231002X"]}), vec!["identity_number"]),
        ] {
            let problem = read(given).expect_err("wrong");
            let told = format!("{problem:?}");
            for field in fields {
                assert!(told.contains(field), "{told}");
            }
            assert!(!told.contains("138") && !told.contains("1101051949"), "{told}");
        }
    }
}
