//! orderly-ingress

pub mod throttle;
