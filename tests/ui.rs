//! What users see of their mistakes: each file in `ui/fail` makes one, its `.stderr` is the message.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
