//! What is kept in a pantry.

use super::{Pen, Tint};

pub(super) fn tin(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 52, t);
    pen.path("M72 78h96v104a8 8 0 0 1-8 8H80a8 8 0 0 1-8-8Z", t.main);
    pen.path("M144 78h24v104a8 8 0 0 1-8 8h-16Z", t.shade);
    pen.rect((66, 56), (108, 28), 6, t.light);
    pen.path("M148 56h20a6 6 0 0 1 6 6v16a6 6 0 0 1-6 6h-20Z", t.main);
    pen.rect((84, 104), (60, 58), 4, t.accent);
    leaf(pen, 114, 133, t.main);
    match pattern {
        1 => pen.path("M72 172h96v6H72ZM72 90h96v5H72Z", t.light),
        2 => pen.dots((80, 96), (5, 1), 18, t.light),
        _ => {}
    }
}

pub(super) fn jar(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 54, t);
    pen.path(
        "M80 72h80c10 8 14 16 14 28v74a16 16 0 0 1-16 16H82a16 16 0 0 1-16-16v-74c0-12 4-20 14-28Z",
        t.light,
    );
    pen.path("M70 104h100v70a12 12 0 0 1-12 12H82a12 12 0 0 1-12-12Z", t.main);
    pen.path("M148 104h22v70a12 12 0 0 1-12 12h-20c8-24 10-54 10-82Z", t.shade);
    pen.rect((76, 48), (88, 26), 6, t.shade);
    pen.path("M76 62h88v6H76Z", t.main);
    pen.rect((84, 120), (72, 44), 4, "#fffaf0");
    match pattern {
        1 => pen.path("M120 126l11 6.500v12.500l-11 6.500-11-6.500v-12.500Z", t.main),
        2 => {
            pen.dots((104, 134), (3, 2), 15, t.shade);
        }
        _ => leaf(pen, 120, 142, t.shade),
    }
}

pub(super) fn pouch(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 54, t);
    pen.path("M76 60h88l10 118a12 12 0 0 1-12 12H78a12 12 0 0 1-12-12Z", t.main);
    pen.path("M146 60h18l10 118a12 12 0 0 1-12 12h-20c8-40 8-90 4-130Z", t.shade);
    pen.rect((72, 42), (96, 22), 4, t.shade);
    pen.line("M82 53h76", t.light, 3);
    pen.rect((86, 92), (64, 72), 5, t.accent);
    match pattern {
        1 => {
            pen.oval((118, 122), (15, 20), "#6b4226");
            pen.line("M121 104c-10 12 6 22-5 36", t.accent, 4);
        }
        2 => {
            for (x, y) in [(108, 116), (122, 112), (130, 124), (114, 128), (122, 136), (104, 132)] {
                pen.oval((x, y), (4, 7), t.shade);
            }
        }
        _ => leaf(pen, 118, 122, t.main),
    }
    pen.line("M100 154h36", t.shade, 3);
}

pub(super) fn bottle(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 40, t);
    pen.rect((108, 26), (24, 18), 4, t.accent);
    pen.path(
        "M110 44h20v32c0 14 24 20 24 44v58a12 12 0 0 1-12 12H98a12 12 0 0 1-12-12v-58c0-24 24-30 24-44Z",
        t.main,
    );
    pen.path("M122 44h8v32c0 14 24 20 24 44v58a12 12 0 0 1-12 12h-16c10-50 10-110-4-146Z", t.shade);
    pen.path("M86 126h68v44H86Z", "#fffaf0");
    match pattern {
        1 => pen.path("M86 126h68v8H86ZM86 162h68v8H86Z", t.accent),
        _ => pen.line("M98 84q-4 18-6 34", t.light, 4),
    }
    leaf(pen, 120, 148, t.main);
}

pub(super) fn bar(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 82, t);
    match pattern {
        // A bar of soap on its dish.
        0 | 2 => {
            pen.path("M40 166h160l-12 24H52Z", t.floor);
            pen.rect((40, 160), (160, 12), 6, t.shade);
            pen.path(
                "M62 118a16 16 0 0 1 16-16h84a16 16 0 0 1 16 16v26a16 16 0 0 1-16 16H78a16 16 0 0 1-16-16Z",
                t.main,
            );
            pen.path("M62 118a16 16 0 0 1 16-16h84a16 16 0 0 1 16 16q0 8-8 8H70q-8 0-8-8Z", t.light);
            leaf(pen, 120, 144, t.shade);
            for (x, y, r) in [(84, 82, 10), (104, 66, 6), (152, 80, 8), (138, 56, 5)] {
                pen.dot(x, y, r, "#fffaf0");
            }
        }
        // Chocolate in its paper.
        _ => {
            pen.path("M62 36h116v88H62Z", "#5b3a26");
            pen.line("M62 66h116M62 96h116M101 36v84M140 36v84", "#442a1a", 4);
            pen.path("M56 104l16-8 16 8 16-8 16 8 16-8 16 8 16-8 16 8v86H56Z", t.main);
            pen.path("M152 104l16-8 16 8v86h-32Z", t.shade);
            pen.rect((72, 128), (72, 40), 3, t.accent);
            leaf(pen, 108, 148, t.shade);
        }
    }
}

/// A leaf, as on a label.
fn leaf(pen: &mut Pen, x: u32, y: u32, fill: &str) {
    pen.path(&format!("M{} {y}c6-16 20-18 34-14-2 16-16 26-34 14Z", x - 16), fill);
    pen.line(&format!("M{} {}q10-8 18-12", x - 20, y + 6), fill, 3);
}
