//! Placeholder, replaced by the first commits.
fn main() {}
