//! What one takes along.

use super::{Pen, Tint};

pub(super) fn tote(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 62, t);
    pen.line("M90 92C90 24 150 24 150 92", t.shade, 8);
    pen.path("M60 84h120l10 98a8 8 0 0 1-8 8H58a8 8 0 0 1-8-8Z", t.main);
    pen.path("M156 84h24l10 98a8 8 0 0 1-8 8h-28c10-30 10-72 2-106Z", t.shade);
    pen.line("M90 92v26M150 92v26", t.light, 8);
    match pattern {
        1 => pen.path("M54 144h132l3 22H51Z", t.accent),
        2 => pen.dots((84, 136), (5, 3), 20, t.accent),
        3 => pen.line("M78 132v54M98 132v56M118 132v56M138 132v56", t.accent, 5),
        _ => {
            pen.path("M94 144c0-16 12-24 26-24s26 8 26 24q0 3-4 3H98q-4 0-4-3Z", t.accent);
            pen.line("M120 147v28M110 147q0 16-6 28M130 147q0 16 6 28", t.accent, 4);
        }
    }
}

pub(super) fn umbrella(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 40, t);
    pen.line("M120 40V168a15 15 0 0 0 30 0", "#6b5436", 8);
    pen.path(
        "M26 122a94 88 0 0 1 188 0q-16-14-31 0-16-14-32 0-15-14-31 0-16-14-31 0-16-14-32 0-15-14-31 0Z",
        t.main,
    );
    pen.path("M120 34a94 88 0 0 1 94 88q-16-14-31 0-8-60-63-88Z", t.shade);
    pen.path("M120 34q-34 30-31 88-16-14-32 0 6-60 63-88Z", t.light);
    match pattern {
        1 => pen.path("M31 100a94 88 0 0 1 4-12h170a94 88 0 0 1 4 12Z", t.accent),
        2 => pen.dots((70, 78), (6, 3), 20, t.accent),
        _ => {}
    }
    pen.line("M120 24v10", "#6b5436", 7);
}
