//! Tests.
fn f() {}
