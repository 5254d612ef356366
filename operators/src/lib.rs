//! orderly-operators
