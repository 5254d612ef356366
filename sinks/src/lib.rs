//! orderly-sinks
