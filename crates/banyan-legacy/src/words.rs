//! What others said, as words of ours.

use banyan_domain::{Reason, limits};

/// A text as a reason: control characters become blanks, what is too long is cut.
pub(crate) fn as_reason(text: &str) -> Reason {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = clean.len().min(limits::REASON_BYTES_MAX);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    Reason::new(&clean[..end]).expect("short and without control characters")
}
