//! Paths that lead nowhere.

nin_macros::include!("tests/ui/absent.nin");
nin_macros::include!(models);

fn main() {}
