//! What must not compile.
#![cfg(all(feature = "inbound", feature = "connector"))]
#![allow(missing_docs)]

#[test]
fn nothing_verified_is_made_from_plain_data() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
