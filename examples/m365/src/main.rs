//! Command-line tool of the family.
fn main() {}
