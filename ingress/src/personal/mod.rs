//! Personal data at the door: sealed before it reaches the log, and shown masked.
//!
//! What is read from a request, what is sealed and what is shown are three types, so that none can stand in another's place:
//! [`Clear`] has no way into a log line, and answers are made of masks.

mod fields;
mod ring;

use std::sync::Arc;

use arc_swap::ArcSwap;
use orderly_domain::personal::{Clear, Field, Fields, Sealed};
use orderly_domain::port::store::Details;
use orderly_domain::{Position, ticket};

pub(crate) use fields::{Given, Masked, Shown, read};
pub use ring::{Key, Ring, Unopened, Unsealed};

use crate::problem::{Problem, kind};
use crate::state::Shared;

/// The keys in use. Its copies are one: what is put into one is in all.
#[derive(Clone, Debug)]
pub struct Keys(Arc<ArcSwap<Ring>>);

impl Keys {
    /// With these to begin with.
    #[must_use]
    pub fn new(ring: Ring) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(ring)))
    }

    /// Takes over other keys, for what is sealed and opened from now on.
    pub fn replace(&self, ring: Ring) {
        self.0.store(Arc::new(ring));
    }

    /// The keys as they are now.
    #[must_use]
    pub fn now(&self) -> Arc<Ring> {
        self.0.load_full()
    }
}

/// Seals what was given with a booking.
pub(crate) fn seal(state: &Shared, ticket: ticket::Id, given: &Fields<Clear>) -> Result<Fields<Sealed>, Problem> {
    let ring = state.personal.now();
    let sealed = given.try_map(|field, clear| ring.seal(field, ticket, clear));
    let sealed = sealed.map_err(|error| Problem::internal("sealing personal data", &error))?;
    state.metrics.personal_sealed.inc_by(given.iter().count() as u64);
    Ok(sealed)
}

/// What may be shown of what is kept; fields that cannot be opened here are left out, and counted.
pub(crate) fn masked(state: &Shared, details: &Details) -> Masked {
    let ring = state.personal.now();
    let one = |field: Field| {
        let sealed = details.fields.get(field)?;
        match ring.open(field, details.ticket, sealed) {
            Ok(clear) => Some(clear.masked(field)),
            Err(error) => {
                note(state, details.position, field, error);
                None
            }
        }
    };
    Masked { name: one(Field::Name), phone: one(Field::Phone), identity_number: one(Field::IdentityNumber) }
}

/// All of what is kept.
pub(crate) fn opened(state: &Shared, details: &Details) -> Result<Fields<Clear>, Problem> {
    let ring = state.personal.now();
    let open = |field, sealed: &Sealed| {
        let opened = ring.open(field, details.ticket, sealed);
        opened.inspect_err(|error| note(state, details.position, field, *error))
    };
    details.fields.try_map(open).map_err(|error| {
        let advice = "Nothing was lost; see docs/ops/keys.md for what to do.";
        Problem::new(&kind::UNAVAILABLE).detail(format!("The patient's data cannot be opened here: {error}. {advice}"))
    })
}

/// What may be shown of the patient behind an appointment. That it cannot be read takes nothing from the answer in which it
/// would stand.
pub(crate) async fn masked_at(state: &Shared, position: Position) -> Option<Masked> {
    match state.ports.store.details(&[position]).await {
        Ok(found) => found.first().map(|details| masked(state, details)),
        Err(error) => {
            tracing::warn!(%error, %position, "a patient's data could not be read; they are left out of an answer");
            None
        }
    }
}

fn note(state: &Shared, position: Position, field: Field, error: Unopened) {
    state.metrics.personal_unopened.inc();
    tracing::error!(%position, field = field.as_str(), %error, "a sealed field cannot be opened");
}
