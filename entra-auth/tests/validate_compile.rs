//! What must not compile.
#![cfg(feature = "validate")]
#![allow(missing_docs)]

#[test]
fn tokens_cannot_be_made_or_misused() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/fixtures/compile-fail/*.rs");
}
