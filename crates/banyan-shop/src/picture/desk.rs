//! What lies on a desk.

use super::{Pen, Tint};

pub(super) fn notebook(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(122, 60, t);
    pen.rect((76, 46), (104, 144), 8, "#fffaf0");
    pen.line("M180 60v118M176 60v118", t.floor, 2);
    pen.rect((66, 42), (106, 148), 8, t.main);
    pen.path("M74 42h14v148H74a8 8 0 0 1-8-8V50a8 8 0 0 1 8-8Z", t.shade);
    match pattern {
        1 => pen.path("M150 42h10v148h-10Z", t.accent),
        2 => pen.dots((106, 132), (3, 3), 20, t.accent),
        3 => pen.line("M98 128l62-20M98 148l62-20M98 168l62-20", t.light, 4),
        _ => {}
    }
    pen.rect((98, 66), (48, 26), 3, t.accent);
    pen.line("M106 76h30M106 83h18", t.shade, 3);
}

pub(super) fn pencils(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 50, t);
    for (x, top, fill) in
        [(84_u32, 56_u32, t.main), (104, 38, t.accent), (124, 50, t.shade), (144, 34, t.light)]
    {
        pen.path(&format!("M{x} {}l9-26 9 26v94H{x}Z", top + 26), "#e9c99b");
        pen.path(&format!("M{x} {}h18v90H{x}Z", top + 28), fill);
        pen.path(&format!("M{} {}l3-10 3 10Z", x + 6, top + 10), t.shade);
    }
    pen.path("M74 118h92v60a12 12 0 0 1-12 12H86a12 12 0 0 1-12-12Z", t.main);
    pen.path("M140 118h26v60a12 12 0 0 1-12 12h-22c6-20 8-48 8-72Z", t.shade);
    match pattern {
        1 => pen.path("M74 140h92v16H74Z", t.accent),
        2 => pen.dots((90, 136), (4, 3), 19, t.accent),
        3 => pen.line("M90 124v60M106 124v64M122 124v64", t.light, 4),
        _ => {}
    }
}

pub(super) fn cards(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 82, t);
    pen.path("M70 62l104-18 18 100-104 18Z", t.light);
    pen.path("M84 72l84-14 12 70-84 14Z", "#fffaf0");
    pen.path("M132 84c16-14 34 6 6 30-34-10-30-36-6-30Z", t.main);
    pen.rect((42, 102), (150, 88), 6, t.main);
    pen.path("M42 108l75 48 75-48v-2a6 6 0 0 0-6-4H48a6 6 0 0 0-6 4Z", t.shade);
    pen.path("M48 188l52-42M186 188l-52-42", t.main);
    if pattern > 0 {
        pen.line("M48 184l50-40M186 184l-50-40", t.light, 3);
    }
    pen.dot(117, 152, 13, t.accent);
}

pub(super) fn clock(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 60, t);
    pen.path("M84 166l-14 24h16l12-18ZM156 166l14 24h-16l-12-18Z", t.shade);
    pen.dot(120, 112, 72, t.main);
    pen.path("M120 40a72 72 0 0 1 0 144 90 90 0 0 0 0-144Z", t.shade);
    pen.dot(120, 112, 58, "#fffaf0");
    match pattern {
        0 => pen.line("M120 60v8M172 112h-8M68 112h8M120 164v-8", t.shade, 5),
        _ => pen.line("M120 60v8M172 112h-8M68 112h8M120 164v-8M146 67l-3 5M165 86l-5 3M165 138l-5-3M146 157l-3-5M94 157l3-5M75 138l5-3M75 86l5 3M94 67l3 5", t.shade, 4),
    }
    pen.line("M120 112V78", t.shade, 6);
    pen.line("M120 112l26 16", t.main, 6);
    pen.dot(120, 112, 6, t.accent);
}
