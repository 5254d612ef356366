//! orderly-pipeline
