//! What makes a room.

use super::{Pen, Tint};

pub(super) fn lamp(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 46, t);
    pen.path("M60 124L30 190h180l-30-66Z", "#fff3cf");
    pen.path("M30 176h180l6 14H24Z", "#f8e4a8");
    pen.line("M120 120v62", t.shade, 8);
    pen.path("M86 190a34 14 0 0 1 68 0Z", t.shade);
    pen.path("M92 44h56l34 80H58Z", t.main);
    pen.path("M130 44h18l34 80h-34Z", t.shade);
    match pattern {
        1 => pen.path("M66 106h108l5 12H61Z", t.accent),
        2 => pen.dots((90, 92), (4, 2), 20, t.accent),
        3 => pen.line("M98 48L76 120M110 48l-8 72M124 48l4 72M138 48l18 72", t.light, 3),
        _ => {}
    }
    pen.oval((120, 44), (28, 5), t.light);
}

pub(super) fn candle(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 56, t);
    pen.path("M120 38c14 18 16 26 10 36-5 8-15 8-20 0-6-10-2-20 10-36Z", "#efb443");
    pen.path("M120 54c7 9 8 14 5 18-3 4-8 4-10 0-3-5 0-9 5-18Z", "#fff3cf");
    pen.line("M120 80v16", "#3a2b1c", 4);
    pen.path("M70 96h100v82a12 12 0 0 1-12 12H82a12 12 0 0 1-12-12Z", t.main);
    pen.path("M146 96h24v82a12 12 0 0 1-12 12h-24c10-20 12-60 12-94Z", t.shade);
    pen.oval((120, 96), (50, 10), t.light);
    pen.oval((120, 97), (42, 7), "#fffaf0");
    match pattern {
        2 => pen.dots((88, 118), (4, 4), 20, t.accent),
        3 => pen.line("M86 112v70M102 112v74M118 112v74", t.light, 4),
        _ => {
            pen.rect((86, 124), (56, 40), 3, t.accent);
            pen.line("M96 138h36M104 150h20", t.shade, 3);
        }
    }
}

pub(super) fn vase(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 46, t);
    pen.line("M118 100C110 70 92 60 80 34M122 100c4-36 20-50 38-70M120 100V28", "#6b5436", 4);
    for (x, y) in
        [(80, 34), (92, 54), (160, 30), (144, 52), (120, 28), (118, 58), (72, 50), (170, 48), (134, 40)]
    {
        pen.dot(x, y, 8, t.accent);
        pen.dot(x, y, 3, "#efb443");
    }
    pen.path(
        "M104 88h32v18c0 12 32 20 32 54 0 20-16 30-30 30h-36c-14 0-30-10-30-30 0-34 32-42 32-54Z",
        t.main,
    );
    pen.path("M124 88h12v18c0 12 32 20 32 54 0 20-16 30-30 30h-20c38-16 30-58 6-76Z", t.shade);
    match pattern {
        1 => pen.path("M75 146h90l3 16H72Z", t.light),
        3 => pen.line("M82 138q38 10 76 0M76 154q44 12 88 0M74 170q46 10 92 0", t.light, 3),
        2 => pen.dots((94, 140), (4, 3), 18, t.light),
        _ => {}
    }
    pen.oval((120, 88), (16, 4), t.light);
}

pub(super) fn plant(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 50, t);
    let (leaf, dark) = ("#2f7d4a", "#236239");
    pen.line("M120 132V60M120 120C92 104 84 92 80 74M120 116c30-8 40-22 44-44", dark, 4);
    match pattern {
        0 | 1 => {
            pen.path("M120 22c22 24 22 44 0 64-22-20-22-40 0-64Z", leaf);
            pen.path("M48 52c32 0 46 14 44 42-30 0-44-14-44-42Z", leaf);
            pen.path("M194 44c0 30-14 44-44 44 0-30 14-44 44-44Z", dark);
            pen.path("M62 104c26-8 42 0 50 22-26 8-42 0-50-22Z", dark);
            pen.path("M178 100c-8 24-24 32-50 24 8-24 24-32 50-24Z", leaf);
        }
        _ => {
            for (x, y) in [(120, 44), (80, 70), (164, 64), (96, 96), (146, 96), (104, 62), (138, 58)] {
                pen.dot(x, y, 20, if x % 4 == 0 { leaf } else { dark });
            }
        }
    }
    pen.path("M78 128h84v16H78Z", t.light);
    pen.path("M82 144h76l-8 38a10 10 0 0 1-10 8h-40a10 10 0 0 1-10-8Z", t.main);
    pen.path("M134 144h24l-8 38a10 10 0 0 1-10 8h-18c8-14 12-30 12-46Z", t.shade);
}

pub(super) fn basket(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 72, t);
    pen.line("M64 112C64 30 176 30 176 112", t.shade, 9);
    if pattern > 0 {
        pen.dot(92, 102, 22, "#d4573d");
        pen.dot(138, 98, 24, "#e5b443");
        pen.dot(116, 94, 20, "#7d8f4a");
    }
    pen.path("M44 110h152l-14 70a12 12 0 0 1-12 10H70a12 12 0 0 1-12-10Z", t.main);
    for (row, y) in [(0_u32, 132), (1, 150), (2, 168)] {
        let inset = row * 4 + 4;
        pen.line(&format!("M{} {y}h{}", 46 + inset, 148 - inset * 2), t.shade, 4);
    }
    pen.line("M74 118l6 66M98 118l3 68M122 118v68M146 118l-3 68M168 118l-6 66", t.light, 4);
    pen.rect((38, 102), (164, 16), 8, t.light);
}

pub(super) fn brush(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 76, t);
    for x in (52..190).step_by(10) {
        pen.line(&format!("M{x} 150v36"), if x % 20 == 12 { "#f0e3c4" } else { "#dcc9a0" }, 8);
    }
    pen.path("M40 138a14 14 0 0 1 14-14h132a14 14 0 0 1 14 14v16H40Z", t.shade);
    pen.path("M64 124c0-40 24-56 56-56s56 16 56 56Z", t.main);
    pen.path("M142 71c22 6 34 24 34 53h-32c8-18 8-38-2-53Z", t.shade);
    pen.oval((120, 100), (26, 11), t.ground);
    if pattern > 0 {
        pen.line("M84 112q4-26 22-34", t.light, 5);
    }
}
