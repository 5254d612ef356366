//! What a team would otherwise build: six booking services that keep the same rules as Orderly, each as its advocates
//! would write it, behind one JSON API, to be loaded by the same client.
//!
//! The rules: a session's numbers are distinct and at most its capacity; a patient has one booking in a department on a
//! day; a repeated `Idempotency-Key` of a patient gets the answer of the first. There are no cancellations.

pub mod api;
pub mod booking;
mod postgres;
pub mod systems;

pub use booking::{Attempt, Booked, Error, Outcome, Reason, Session};
pub use systems::{Kind, Options, System};
