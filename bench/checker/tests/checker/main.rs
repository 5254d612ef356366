//! The checker against histories that a real log and a real store hold: right ones, and ones with a planted fault.

mod analytics;
mod auditor;
mod clients;
mod faults;
mod forgotten;
mod histories;
mod hospital;
