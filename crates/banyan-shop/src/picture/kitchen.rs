//! What one cooks with.

use super::{Pen, Tint};

pub(super) fn kettle(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 68, t);
    pen.line("M80 104C84 44 156 44 160 104", t.shade, 10);
    pen.line("M98 62q22-12 44 0", t.accent, 12);
    pen.path("M164 148l36-46 14 6-30 68Z", t.shade);
    pen.path("M84 98h72c18 16 30 46 30 78 0 10-6 14-14 14H68c-8 0-14-4-14-14 0-32 12-62 30-78Z", t.main);
    pen.path("M138 98h18c18 16 30 46 30 78 0 10-6 14-14 14h-30c20-20 16-66-4-92Z", t.shade);
    match pattern {
        1 => pen.path("M57 154h126l3 16H54Z", t.accent),
        2 => pen.dots((80, 132), (5, 3), 20, t.accent),
        _ => pen.line("M82 122q-12 22-12 48", t.light, 6),
    }
    pen.oval((120, 98), (38, 9), t.light);
    pen.dot(120, 88, 8, t.accent);
}

pub(super) fn pan(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(100, 76, t);
    pen.line("M158 142L222 112", t.accent, 12);
    pen.line("M152 146l22-10", t.shade, 12);
    pen.path("M26 138h148l-10 40a16 16 0 0 1-16 12H52a16 16 0 0 1-16-12Z", t.main);
    pen.path("M142 138h32l-10 40a16 16 0 0 1-16 12h-20c10-8 14-30 14-52Z", t.shade);
    pen.oval((100, 138), (74, 18), t.light);
    pen.oval((100, 140), (64, 13), t.shade);
    match pattern {
        0 => pen.line("M58 140q42 12 84 0", t.main, 3),
        _ => {
            pen.path("M64 138c4-10 24-12 36-10s34 0 36 10-16 12-36 12-40-2-36-12Z", "#fffaf0");
            pen.oval((104, 137), (13, 6), "#efb443");
        }
    }
}

pub(super) fn knife(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 84, t);
    pen.path("M34 158h172v20a12 12 0 0 1-12 12H46a12 12 0 0 1-12-12Z", t.light);
    pen.path("M34 158h172v12H34Z", t.shade);
    pen.path("M38 124L150 104l10 34-60 14c-30 4-52-8-62-28Z", "#dfe4e3");
    pen.path("M38 124c10 20 32 32 62 28l60-14-3-10-60 14c-24 4-46-2-59-18Z", "#b6c0be");
    pen.path("M150 104l14-3 9 34-14 4Z", t.accent);
    pen.path("M164 101l42-10a17 17 0 0 1 8 33l-41 11Z", t.main);
    pen.line("M180 115h.5M198 110h.5", t.light, 7);
    if pattern > 0 {
        pen.line("M64 126l60-11", "#f4f6f5", 3);
    }
}

pub(super) fn board(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 58, t);
    pen.path("M104 34h32a10 10 0 0 1 10 10v20h-52V44a10 10 0 0 1 10-10Z", t.main);
    pen.path(
        "M76 62h88a14 14 0 0 1 14 14v100a14 14 0 0 1-14 14H76a14 14 0 0 1-14-14V76a14 14 0 0 1 14-14Z",
        t.main,
    );
    pen.path("M164 62a14 14 0 0 1 14 14v100a14 14 0 0 1-14 14h-10V62Z", t.shade);
    pen.dot(120, 48, 7, t.ground);
    pen.line("M82 80c8 30-6 62 4 96M104 74c6 34-4 70 2 110M128 74c-4 30 6 72-2 110", t.light, 3);
    if pattern > 0 {
        pen.path("M62 134h116v18H62Z", t.accent);
    }
}

pub(super) fn ladle(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 52, t);
    pen.line("M96 116L70 40", t.main, 9);
    pen.path("M56 34c-6-16 8-26 16-14s12 34 10 44-18-10-26-30Z", t.main);
    pen.line("M120 112V36", t.shade, 9);
    pen.path("M104 30a16 16 0 0 1 32 0v24a16 16 0 0 1-32 0Z", t.shade);
    pen.line("M112 26v30M120 26v32M128 26v30", t.ground, 3);
    pen.line("M144 116L168 44", t.light, 9);
    pen.oval((172, 38), (17, 22), t.light);
    pen.oval((170, 38), (11, 15), t.main);
    pen.path("M78 108h84l-8 72a12 12 0 0 1-12 10H98a12 12 0 0 1-12-10Z", t.accent);
    pen.path("M140 108h22l-8 72a12 12 0 0 1-12 10h-14c8-12 12-48 12-82Z", t.floor);
    match pattern {
        1 => pen.path("M80 130h80l-2 16H82Z", t.main),
        2 => pen.dots((98, 128), (3, 3), 20, t.main),
        _ => {}
    }
}
