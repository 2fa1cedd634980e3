//! Pictures of the sample goods, drawn by us: one drawing for each kind of thing, in the colours and with the pattern of the
//! product. No file, no download: a picture is a few hundred bytes of SVG.
//!
//! Every thing stands on the line `y = 190` of a square of 240, around `x = 120`.

mod carry;
mod cloth;
mod desk;
mod home;
mod kitchen;
mod pantry;
mod table;

use std::fmt::Write;

/// The side of a picture.
const SIDE: u32 = 240;

/// The colours of a picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tint {
    /// Behind everything.
    ground: &'static str,
    /// What the thing stands on, and its shadow.
    floor: &'static str,
    main: &'static str,
    /// `main` away from the light.
    shade: &'static str,
    /// `main` in the light.
    light: &'static str,
    /// What stands out.
    accent: &'static str,
}

/// Something that can be drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawing<'a> {
    /// What it is: one of [`KINDS`].
    pub(crate) kind: &'a str,
    /// Its colours: one of [`TINTS`].
    pub(crate) tint: &'a str,
    /// Its pattern: 0 plain, 1 a band, 2 dots, 3 stripes.
    pub(crate) pattern: u8,
}

/// The colours by name.
pub(crate) const TINTS: [(&str, Tint); 10] = [
    ("moss", tint("#e9ecd9", "#d3d9bb", "#7d8f4a", "#64743a", "#a3b26e", "#f4ecd0")),
    ("leaf", tint("#dfeee2", "#c3dcc9", "#2f7d4a", "#236239", "#63a87a", "#f3e3b4")),
    ("clay", tint("#f6e6da", "#e8cfbb", "#c4714a", "#a3583a", "#dd9874", "#fbf1e4")),
    ("sand", tint("#f4ecdc", "#e4d6b9", "#d3b987", "#b79a67", "#e7d5b0", "#7a5c3a")),
    ("snow", tint("#e8ebe6", "#d0d6cf", "#fbfaf5", "#dcdcd2", "#ffffff", "#55705f")),
    ("ink", tint("#dfe5e8", "#c4ced3", "#33474f", "#24343b", "#5a727c", "#e9b95a")),
    ("plum", tint("#f0e3ea", "#dfc9d6", "#7d4463", "#63334d", "#a56c8b", "#f3d6a4")),
    ("butter", tint("#fbf1d3", "#f0deaa", "#e5b443", "#c69529", "#f2d07d", "#ffffff")),
    ("rose", tint("#f9e5e2", "#edcbc6", "#d4877f", "#b86a64", "#e6ada6", "#fdf6ef")),
    ("sea", tint("#dfecec", "#c2dadb", "#4e8f93", "#3b7377", "#86b9bb", "#f7efdc")),
];

type Draw = fn(&mut Pen, Tint, u8);

/// The kinds by name.
pub(crate) const KINDS: [(&str, Draw); 34] = [
    ("mug", table::mug),
    ("teacup", table::teacup),
    ("bowl", table::bowl),
    ("plate", table::plate),
    ("teapot", table::teapot),
    ("glass", table::glass),
    ("chopsticks", table::chopsticks),
    ("kettle", kitchen::kettle),
    ("pan", kitchen::pan),
    ("knife", kitchen::knife),
    ("board", kitchen::board),
    ("ladle", kitchen::ladle),
    ("towel", cloth::towel),
    ("blanket", cloth::blanket),
    ("apron", cloth::apron),
    ("cushion", cloth::cushion),
    ("socks", cloth::socks),
    ("notebook", desk::notebook),
    ("pencils", desk::pencils),
    ("cards", desk::cards),
    ("clock", desk::clock),
    ("lamp", home::lamp),
    ("candle", home::candle),
    ("vase", home::vase),
    ("plant", home::plant),
    ("basket", home::basket),
    ("brush", home::brush),
    ("tin", pantry::tin),
    ("jar", pantry::jar),
    ("pouch", pantry::pouch),
    ("bottle", pantry::bottle),
    ("bar", pantry::bar),
    ("tote", carry::tote),
    ("umbrella", carry::umbrella),
];

const fn tint(
    ground: &'static str,
    floor: &'static str,
    main: &'static str,
    shade: &'static str,
    light: &'static str,
    accent: &'static str,
) -> Tint {
    Tint { ground, floor, main, shade, light, accent }
}

/// The picture of one thing, or of up to three that are sold together.
pub(crate) fn svg(drawings: &[Drawing<'_>]) -> String {
    let ground = drawings.first().map_or(TINTS[4].1, |first| tint_of(first.tint));
    let mut pen = Pen(String::with_capacity(2_048));
    let _written_to_memory = write!(
        pen.0,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {SIDE} {SIDE}\" width=\"480\" height=\"480\">"
    );
    pen.rect((0, 0), (SIDE, SIDE), 0, ground.ground);
    pen.path("M0 176h240v64H0Z", ground.floor);
    // Further back first, so that the first thing named stands in front.
    let places: &[(f64, f64, f64)] = match drawings.len() {
        0 | 1 => &[(0.0, 0.0, 1.0)],
        2 => &[(8.0, 62.0, 0.70), (96.0, 46.0, 0.68)],
        _ => &[(46.0, 84.0, 0.62), (-4.0, 52.0, 0.60), (112.0, 54.0, 0.58)],
    };
    for (drawing, (x, y, scale)) in drawings.iter().zip(places).rev() {
        let _written_to_memory = write!(pen.0, "<g transform=\"translate({x} {y}) scale({scale})\">");
        let tint = tint_of(drawing.tint);
        match KINDS.iter().find(|(name, _)| *name == drawing.kind) {
            Some((_, draw)) => draw(&mut pen, tint, drawing.pattern),
            None => parcel(&mut pen, tint, 0),
        }
        pen.0.push_str("</g>");
    }
    pen.0.push_str("</svg>");
    pen.0
}

fn tint_of(name: &str) -> Tint {
    TINTS.iter().find(|(known, _)| *known == name).map_or(TINTS[3].1, |(_, tint)| *tint)
}

/// What is shown of a product that the catalogue does not know: a parcel.
fn parcel(pen: &mut Pen, tint: Tint, _pattern: u8) {
    pen.shadow(120, 82, tint);
    pen.path("M52 96L120 72L188 96V170L120 198L52 170Z", tint.main);
    pen.path("M120 120L188 96V170L120 198Z", tint.shade);
    pen.path("M52 96L120 72L188 96L120 120Z", tint.light);
    pen.path("M80 86L148 110V134L160 129V105L94 81Z", tint.accent);
}

/// Writes shapes.
pub(crate) struct Pen(String);

impl Pen {
    /// An area with the outline `d`.
    fn path(&mut self, d: &str, fill: &str) {
        let _written_to_memory = write!(self.0, "<path d=\"{d}\" fill=\"{fill}\"/>");
    }

    /// A line along `d`.
    fn line(&mut self, d: &str, stroke: &str, width: u32) {
        let _written_to_memory = write!(
            self.0,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" \
             stroke-linecap=\"round\" stroke-linejoin=\"round\"/>"
        );
    }

    fn rect(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), corner: u32, fill: &str) {
        let _written_to_memory = write!(
            self.0,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{corner}\" fill=\"{fill}\"/>"
        );
    }

    fn oval(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), fill: &str) {
        let _written_to_memory =
            write!(self.0, "<ellipse cx=\"{x}\" cy=\"{y}\" rx=\"{width}\" ry=\"{height}\" fill=\"{fill}\"/>");
    }

    fn dot(&mut self, x: u32, y: u32, radius: u32, fill: &str) {
        self.oval((x, y), (radius, radius), fill);
    }

    /// The soft shadow of something `width` wide to each side.
    fn shadow(&mut self, x: u32, width: u32, tint: Tint) {
        let _written_to_memory = write!(
            self.0,
            "<ellipse cx=\"{x}\" cy=\"191\" rx=\"{width}\" ry=\"8\" fill=\"{}\" opacity=\".28\"/>",
            tint.shade
        );
    }

    /// Dots in rows, every other row between those above.
    fn dots(&mut self, (left, top): (u32, u32), (columns, rows): (u32, u32), step: u32, fill: &str) {
        for row in 0..rows {
            for column in 0..columns - row % 2 {
                self.dot(left + column * step + (row % 2) * step / 2, top + row * step * 4 / 5, 4, fill);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_drawn_in_its_own_way_and_fits_the_frame() {
        let mut drawn = BTreeSet::new();
        for (kind, _) in KINDS {
            for pattern in 0..4 {
                let picture = svg(&[Drawing { kind, tint: "clay", pattern }]);
                assert!(picture.len() < 8_000, "{kind} is {} bytes", picture.len());
                assert!(!picture.contains("NaN") && picture.ends_with("</svg>"), "{kind}");
                if pattern == 0 {
                    assert!(drawn.insert(picture), "{kind} looks like another");
                }
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_a_parcel() {
        let parcel = svg(&[Drawing { kind: "?", tint: "?", pattern: 9 }]);
        assert!(parcel.contains("M52 96L120 72"), "{parcel}");
    }
}
