//! Loads a running server through its API, and measures it: the [`rush`] is a release with invented demand, the
//! [`replay`] decides real bookings and compares the outcome with what must come out, [`limits`] sets each path beside what
//! the machine can do, [`compare`] sets Orderly beside what people would otherwise build, and [`micro`] repeats the small
//! steps that every booking takes.

pub mod api;
pub mod client;
pub mod compare;
pub mod demand;
pub mod goal;
pub mod latency;
pub mod limits;
pub mod machine;
pub mod micro;
mod pace;
pub mod plot;
pub mod replay;
pub mod rush;
pub mod schedule;
pub mod soak;
pub mod table;
pub mod timeline;
pub mod verdict;
mod wire;
