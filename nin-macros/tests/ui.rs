//! What rustc says where a model in a macro is wrong.

#[test]
fn errors_stand_under_their_tokens() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
