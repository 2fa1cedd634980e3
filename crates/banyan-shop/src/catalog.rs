//! What the goods are called and look like: the shop's own words and pictures. Prices and stock are the API's.
//!
//! The sample catalogue is part of the program (`assets/catalog.toml`). A product that it does not know is shown under its
//! id, with the picture of a parcel.

use crate::picture::{self, Drawing};
use crate::text::Lang;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const SAMPLE: &str = include_str!("../assets/catalog.toml");

/// The categories, in the order in which they are shown.
pub(crate) const CATEGORIES: [&str; 8] =
    ["table", "kitchen", "cloth", "desk", "home", "pantry", "carry", "set"];

/// Everything the shop knows of its goods.
pub(crate) struct Catalog {
    goods: Vec<Good>,
    by_id: BTreeMap<String, usize>,
}

/// One product as the catalogue has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Good {
    pub(crate) id: String,
    pub(crate) category: String,
    /// In won, VAT included; what the sample sets.
    pub(crate) price: i64,
    /// Units that the sample counts; none for a bundle, which is made of others.
    #[serde(default)]
    pub(crate) stock: Option<u32>,
    /// Units that one member may buy.
    #[serde(default)]
    pub(crate) per_member: Option<u32>,
    /// VAT in basis points.
    #[serde(default = "usual_vat")]
    pub(crate) vat: u16,
    /// The SKUs of a bundle.
    #[serde(default)]
    pub(crate) parts: Vec<GoodPart>,
    #[serde(default)]
    picture: Option<PictureOf>,
    en: Words,
    ko: Words,
}

/// One SKU of a bundle.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoodPart {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PictureOf {
    kind: String,
    tint: String,
    pattern: u8,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    product: Vec<Good>,
}

const fn usual_vat() -> u16 {
    1_000
}

impl Good {
    /// Its name.
    pub(crate) fn name(&self, lang: Lang) -> &str {
        &self.words(lang).name
    }

    /// What it is, in a sentence or two.
    pub(crate) fn text(&self, lang: Lang) -> &str {
        &self.words(lang).text
    }

    /// Whether `wanted`, in lower case, is in its words, in either language.
    pub(crate) fn matches(&self, wanted: &str) -> bool {
        let words = [&self.en.name, &self.en.text, &self.ko.name, &self.ko.text, &self.id];
        words.into_iter().any(|text| text.to_lowercase().contains(wanted))
    }

    const fn words(&self, lang: Lang) -> &Words {
        match lang {
            Lang::En => &self.en,
            Lang::Ko => &self.ko,
        }
    }
}

impl Catalog {
    /// The sample catalogue.
    pub(crate) fn sample() -> &'static Self {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
            let file: File =
                toml::from_str(SAMPLE).expect("the catalogue is part of the program, and a test reads it");
            let by_id = file.product.iter().enumerate().map(|(n, good)| (good.id.clone(), n)).collect();
            Catalog { goods: file.product, by_id }
        });
        &CATALOG
    }

    /// Every product, in the catalogue's order.
    pub(crate) fn goods(&self) -> &[Good] {
        &self.goods
    }

    /// The product `id`.
    pub(crate) fn find(&self, id: &str) -> Option<&Good> {
        self.by_id.get(id).map(|n| &self.goods[*n])
    }

    /// Its place in the catalogue's order; what is not in it comes last.
    pub(crate) fn place(&self, id: &str) -> usize {
        self.by_id.get(id).copied().unwrap_or(usize::MAX)
    }

    /// The name of `id`, which is the id itself if it is not known.
    pub(crate) fn name<'a>(&'a self, id: &'a str, lang: Lang) -> &'a str {
        self.find(id).map_or(id, |good| good.name(lang))
    }

    /// The picture of `id`. A bundle shows up to three of its parts.
    pub(crate) fn picture(&self, id: &str) -> String {
        let drawing = |good: &'_ Good| -> Option<(String, String, u8)> {
            good.picture.as_ref().map(|p| (p.kind.clone(), p.tint.clone(), p.pattern))
        };
        let mut found = Vec::new();
        if let Some(good) = self.find(id) {
            found.extend(drawing(good));
            for part in &good.parts {
                let of_part = self.find(&part.sku).and_then(drawing);
                // Two of one kind are shown as two, if there is room.
                let shown = if good.parts.len() < 2 { part.quantity.min(2) } else { 1 };
                found.extend((0..shown).filter_map(|_| of_part.clone()));
            }
        }
        let drawings: Vec<_> = found
            .iter()
            .take(3)
            .map(|(kind, tint, pattern)| Drawing { kind, tint, pattern: *pattern })
            .collect();
        if drawings.is_empty() {
            return picture::svg(&[Drawing { kind: "parcel", tint: "sand", pattern: 0 }]);
        }
        picture::svg(&drawings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{KINDS, TINTS};
    use std::collections::BTreeSet;

    #[test]
    fn the_sample_is_whole() {
        let catalog = Catalog::sample();
        assert!(catalog.goods().len() >= 50, "{} products", catalog.goods().len());
        assert_eq!(catalog.by_id.len(), catalog.goods().len(), "no id stands for two");
        let mut pictures = BTreeSet::new();
        for good in catalog.goods() {
            let id = &good.id;
            assert!(CATEGORIES.contains(&good.category.as_str()), "{id}: category {}", good.category);
            assert!(
                good.price > 0 && !good.text(Lang::Ko).is_empty() && !good.text(Lang::En).is_empty(),
                "{id}"
            );
            assert_ne!(good.name(Lang::Ko), good.name(Lang::En), "{id}");
            assert_eq!(good.stock.is_none(), !good.parts.is_empty(), "{id}: counted, or made of parts");
            for part in &good.parts {
                let of = catalog.find(&part.sku);
                assert!(part.quantity > 0 && of.is_some_and(|of| of.stock.is_some()), "{id}: {}", part.sku);
            }
            if let Some(picture) = &good.picture {
                assert!(KINDS.iter().any(|(kind, _)| *kind == picture.kind), "{id}: {}", picture.kind);
                assert!(TINTS.iter().any(|(tint, _)| *tint == picture.tint), "{id}: {}", picture.tint);
            }
            assert!(pictures.insert(catalog.picture(id)), "{id} looks like another");
        }
        let shared =
            |sku: &str| catalog.goods().iter().filter(|g| g.parts.iter().any(|p| p.sku == sku)).count();
        assert!(shared("mug-moss") >= 2, "bundles share a SKU");
    }

    #[test]
    fn what_is_searched_is_found_in_either_language() {
        let teapot = Catalog::sample().find("teapot-leaf").expect("in the sample");
        for wanted in ["teapot", "찻주전자", "strainer", "teapot-leaf"] {
            assert!(teapot.matches(wanted), "{wanted}");
        }
        assert!(!teapot.matches("umbrella"));
    }
}
