//! orderly-bench
