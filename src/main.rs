//! orderly
fn main() {}
