//! Cloth.

use super::{Pen, Tint};

pub(super) fn towel(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 78, t);
    for (y, fill, edge) in [(156, t.main, t.shade), (122, t.light, t.main), (88, t.accent, t.floor)] {
        pen.rect((46, y), (148, 34), 15, fill);
        pen.path(&format!("M178 {y}a16 17 0 0 1 0 34h-22a17 17 0 0 0 0-34Z"), edge);
        match pattern {
            1 => pen.path(&format!("M70 {y}h14v34H70Z"), edge),
            3 => pen.line(&format!("M72 {}v30M84 {}v30M96 {}v30", y + 2, y + 2, y + 2), edge, 4),
            _ => pen.line(&format!("M64 {}h86", y + 17), edge, 3),
        }
    }
}

pub(super) fn blanket(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 84, t);
    pen.path("M40 108q0-18 18-18h124q18 0 18 18v72H40Z", t.main);
    pen.path("M40 108q0-18 18-18h124q18 0 18 18-4-6-18-6H58q-14 0-18 6Z", t.light);
    match pattern {
        1 => pen.path("M40 128h160v14H40ZM40 150h160v6H40Z", t.accent),
        2 => pen.dots((60, 122), (7, 4), 20, t.accent),
        3 => pen.path("M62 92h10v88H62ZM96 92h10v88H96ZM130 92h10v88h-10ZM164 92h10v88h-10ZM40 122h160v8H40ZM40 150h160v8H40Z", t.accent),
        _ => pen.line("M40 138h160", t.shade, 3),
    }
    pen.path("M40 158h160v22H40Z", t.shade);
    pen.line("M46 180v12M60 180v12M74 180v12M88 180v12M102 180v12M116 180v12M130 180v12M144 180v12M158 180v12M172 180v12M186 180v12M195 180v12", t.main, 5);
}

pub(super) fn apron(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.line("M92 62C92 12 148 12 148 62", t.shade, 7);
    pen.line("M72 108L38 96M168 108l34-12", t.shade, 7);
    pen.path("M90 56h60c2 26 8 40 26 48v78a8 8 0 0 1-8 8H72a8 8 0 0 1-8-8v-78c18-8 24-22 26-48Z", t.main);
    pen.path("M136 56h14c2 26 8 40 26 48v78a8 8 0 0 1-8 8h-20c4-50-4-94-12-134Z", t.shade);
    match pattern {
        3 => pen.line("M84 108v80M100 62v126M116 60v128M132 62v126", t.light, 4),
        2 => pen.dots((84, 118), (5, 5), 18, t.light),
        _ => {}
    }
    pen.path("M86 124h68v30a12 12 0 0 1-12 12H98a12 12 0 0 1-12-12Z", t.accent);
    pen.line("M120 124v42", t.floor, 3);
}

pub(super) fn cushion(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 72, t);
    pen.path(
        "M48 58q72 18 144 0 8 2 8 10-12 54 0 114 0 8-8 10-72-14-144 0-8-2-8-10 12-60 0-114 0-8 8-10Z",
        t.main,
    );
    pen.path("M192 58q8 2 8 10-12 54 0 114 0 8-8 10-20-4-40-6 20-60 6-122 18-2 34-6Z", t.shade);
    match pattern {
        1 => pen.path("M47 108q73 10 146 0v26q-73-10-146 0Z", t.accent),
        2 => pen.dots((76, 90), (5, 5), 22, t.accent),
        3 => pen.line(
            "M78 70q10 54 0 112M104 72q6 54 0 110M132 72q-4 54 0 110M160 70q-8 54 0 112",
            t.accent,
            6,
        ),
        _ => pen.line("M120 126l-28-22M120 126l28-22M120 126l-28 26M120 126l28 26", t.light, 4),
    }
    pen.dot(120, 126, 6, t.light);
}

pub(super) fn socks(pen: &mut Pen, t: Tint, pattern: u8) {
    pen.shadow(120, 72, t);
    for (x, fill, edge) in [(96_u32, t.shade, t.light), (44, t.main, t.light)] {
        pen.path(
            &format!("M{x} 52h48v72c0 14 6 20 18 28l22 14a16 16 0 0 1-8 24h-32c-30-8-48-30-48-62Z"),
            fill,
        );
        pen.path(&format!("M{x} 52h48v18h-48Z"), edge);
        match pattern {
            1 => pen.path(&format!("M{x} 92h48v12h-48Z"), t.accent),
            2 => pen.dots((x + 14, 88), (2, 4), 20, t.accent),
            3 => pen.path(&format!("M{x} 82h48v6h-48ZM{x} 98h48v6h-48ZM{x} 114h48v6h-48Z"), t.accent),
            _ => {}
        }
        pen.path(&format!("M{} 170q24-6 28 20h-16q-20 0-12-20Z", x + 54), edge);
    }
}
