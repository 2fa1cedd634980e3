//! How the auditor objects.

/// Why something must not be: one sentence.
pub(crate) type Objection = String;

/// Objects with the sentence unless the condition holds.
macro_rules! object_unless {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
