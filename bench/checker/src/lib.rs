//! orderly-checker
