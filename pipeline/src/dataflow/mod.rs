//! The one place where capabilities and frontiers are touched: runs operators, which know neither, on timely.

mod alarm;
mod asynchronous;
mod source;
mod synchronous;

pub(crate) use asynchronous::{Lanes, Runtime, asynchronous};
pub(crate) use source::{Feed, Feeder, feed, source};
pub(crate) use synchronous::synchronous;

/// A micro-batch's number: 0, 1, 2, … in the order in which the log was read.
pub(crate) type Epoch = u64;
