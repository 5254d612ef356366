//! Ingress nodes that know of each other.

pub mod redis;
