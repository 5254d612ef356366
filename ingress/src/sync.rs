//! What threads share in those modules whose turns are tried (`interleaved`): in a build the primitives themselves, in unit
//! tests the same with points at which another thread may go on.

#[cfg(not(test))]
pub(crate) use arc_swap::ArcSwap;
#[cfg(not(test))]
pub(crate) use std::sync::Mutex;
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, fence};

#[cfg(test)]
pub(crate) use orderly_interleave::sync::{ArcSwap, AtomicU64, AtomicUsize, Mutex, fence};
