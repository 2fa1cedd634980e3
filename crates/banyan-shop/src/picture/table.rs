//! What stands on a table.

use super::{Pen, Tint};

pub(super) fn mug(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(118, 58, t);
    pen.line("M156 114h10a23 23 0 0 1 0 46h-12", t.shade, 12);
    pen.path("M72 92h86v76a22 22 0 0 1-22 22H94a22 22 0 0 1-22-22Z", t.main);
    pen.path("M138 92h20v76a22 22 0 0 1-22 22h-18a20 20 0 0 0 20-22Z", t.shade);
    match pattern {
        1 => pen.path("M72 126h86v22H72Z", t.accent),
        2 => pen.dots((86, 118), (4, 4), 19, t.accent),
        3 => pen.line("M88 108v70M104 108v78M120 108v78M136 108v74", t.accent, 4),
        _ => pen.path("M72 160h86v8a22 22 0 0 1-22 22H94a22 22 0 0 1-22-22Z", t.light),
    }
    pen.oval((115, 92), (43, 9), t.light);
    pen.oval((115, 93), (36, 6), t.shade);
}

pub(super) fn teacup(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 78, t);
    pen.oval((120, 184), (78, 12), t.light);
    pen.oval((120, 182), (78, 11), t.main);
    pen.oval((120, 180), (46, 6), t.shade);
    pen.line("M160 124h8a17 17 0 0 1 0 34h-14", t.shade, 8);
    pen.path("M70 112h100c0 40-18 66-36 68h-28c-18-2-36-28-36-68Z", t.main);
    pen.path("M146 112h24c0 40-18 66-36 68h-12c16-8 24-34 24-68Z", t.shade);
    match pattern {
        1 => pen.path("M73 130h94l-3 12H76Z", t.accent),
        2 => pen.dots((92, 130), (4, 2), 19, t.accent),
        3 => pen.line("M92 124l6 44M110 124l3 52M128 124l-1 52M146 124l-6 44", t.accent, 3),
        _ => {}
    }
    pen.oval((120, 112), (50, 10), t.light);
    pen.oval((120, 113), (43, 7), "#8a5a2b");
    pen.line("M104 92c-6-8 6-12 0-20M124 90c-6-8 6-12 0-20", t.floor, 4);
}

pub(super) fn bowl(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 60, t);
    pen.path("M94 178h52l4 12H90Z", t.shade);
    pen.path("M40 116h160c0 42-32 68-56 68H96c-24 0-56-26-56-68Z", t.main);
    pen.path("M164 116h36c0 42-32 68-56 68h-16c22-8 36-34 36-68Z", t.shade);
    match pattern {
        1 => pen.path("M43 132h154l-6 16H49Z", t.accent),
        2 => pen.dots((76, 138), (5, 2), 22, t.accent),
        3 => pen.line("M70 130l12 40M96 130l6 52M124 130v52M150 130l-7 50M174 130l-13 38", t.accent, 4),
        _ => {}
    }
    pen.oval((120, 116), (80, 15), t.light);
    pen.oval((120, 118), (70, 11), t.shade);
}

pub(super) fn plate(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 76, t);
    pen.path("M98 168h44l14 22H84Z", t.shade);
    pen.dot(120, 108, 76, t.shade);
    pen.dot(120, 106, 76, t.main);
    match pattern {
        1 => pen.dot(120, 106, 66, t.accent),
        2 => {
            for (x, y) in [(120, 44), (164, 62), (182, 106), (164, 150), (120, 168), (76, 150), (58, 106), (76, 62)] {
                pen.dot(x, y, 5, t.accent);
            }
        }
        3 => pen.line("M120 38v18M188 106h-18M52 106h18M120 174v-18M168 58l-13 13M72 58l13 13M168 154l-13-13M72 154l13-13", t.accent, 4),
        _ => {}
    }
    pen.dot(120, 106, 50, t.light);
    pen.dot(120, 108, 46, t.main);
}

pub(super) fn teapot(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 66, t);
    pen.line("M66 118C34 106 34 164 72 162", t.shade, 11);
    pen.path("M166 150c22-4 16-38 40-46l8 8c-14 10-10 54-46 60Z", t.shade);
    pen.path("M120 84c42 0 62 26 62 56 0 28-20 50-62 50s-62-22-62-50c0-30 20-56 62-56Z", t.main);
    pen.path("M142 87c28 8 40 30 40 53 0 28-20 50-62 50 40-10 46-76 22-103Z", t.shade);
    match pattern {
        1 => pen.path("M60 128h120a60 60 0 0 1 1 20H59a60 60 0 0 1 1-20Z", t.accent),
        2 => pen.dots((84, 120), (5, 3), 18, t.accent),
        3 => pen.line("M86 104c-10 24-8 56 2 76M108 96c-6 28-6 64 0 92M130 96c6 28 6 64 0 92", t.accent, 4),
        _ => {}
    }
    pen.oval((120, 88), (34, 9), t.light);
    pen.path("M92 86a28 16 0 0 1 56 0Z", t.shade);
    pen.dot(120, 66, 8, t.accent);
}

pub(super) fn glass(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 74, t);
    for x in [58_u32, 126] {
        let (left, right) = (x, x + 58);
        pen.path(&format!("M{left} 88h58l-6 96a7 7 0 0 1-7 6H{}a7 7 0 0 1-7-6Z", left + 13), t.light);
        pen.path(&format!("M{} 128h52l-3 54a6 6 0 0 1-6 6H{}a6 6 0 0 1-6-6Z", left + 3, left + 12), t.main);
        match pattern {
            1 => pen.path(&format!("M{} 104h56l-1 10h-54Z", left + 1), t.accent),
            2 => pen.dots((left + 15, 142), (3, 3), 14, t.accent),
            3 => pen.line(
                &format!("M{} 134l2 46M{} 134v46M{} 134l-2 46", left + 15, left + 29, left + 43),
                t.accent,
                3,
            ),
            _ => pen.line(&format!("M{} 100l4 76", left + 11), "#ffffff", 4),
        }
        pen.oval((x + 29, 88), (29, 6), t.shade);
        pen.oval((x + 29, 88), (25, 4), t.ground);
        let _edge = right;
    }
}

pub(super) fn chopsticks(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 70, t);
    pen.line("M86 96v88", t.shade, 9);
    pen.oval((86, 68), (24, 32), t.main);
    pen.oval((83, 66), (16, 24), t.light);
    for (x, fill) in [(138_u32, t.main), (162, t.shade)] {
        pen.path(&format!("M{} 34h10l-2 154h-6Z", x - 5), fill);
        pen.path(&format!("M{} 34h10l-.4 34h-9.200Z", x - 5), t.accent);
        if pattern > 0 {
            pen.rect((x - 5, 74), (10, 5), 0, t.accent);
        }
    }
    pen.rect((58, 164), (124, 18), 9, t.light);
    pen.path("M58 173h124a9 9 0 0 1-9 9v8H67v-8a9 9 0 0 1-9-9Z", t.main);
}
