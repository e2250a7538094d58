// A piece of a file, for `include!`.

/// What included it.
pub const INCLUDED: &str = "the standard library";
