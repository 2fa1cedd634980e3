//! Every sentence that a shopper reads, in English and Korean.
//!
//! `{0}`, `{1}` stand for values. A sentence that is missing in one language does not compile.

#[rustfmt::skip]
mod problems;
#[rustfmt::skip]
mod words;

pub(crate) use problems::*;
pub(crate) use words::*;

/// A sentence in each language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text(&'static str, &'static str);

/// A language of the shop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lang {
    /// English.
    #[default]
    En,
    /// Korean.
    Ko,
}

impl Lang {
    /// The language with the code `code`.
    pub(crate) fn from_code(code: &str) -> Option<Self> {
        [Self::En, Self::Ko].into_iter().find(|lang| lang.code() == code)
    }

    /// What a browser's `Accept-Language` prefers: whichever of ours it names first.
    pub(crate) fn preferred(accepted: &str) -> Self {
        let names = accepted.split(',').filter_map(|name| name.trim().get(..2));
        names.map(str::to_ascii_lowercase).find_map(|name| Self::from_code(&name)).unwrap_or_default()
    }

    /// Its code, for `lang` attributes.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
        }
    }

    /// Its own name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ko => "한국어",
        }
    }

    /// The language to switch to.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::En => Self::Ko,
            Self::Ko => Self::En,
        }
    }

    /// `text` in this language.
    pub(crate) const fn t(self, text: Text) -> &'static str {
        match self {
            Self::En => text.0,
            Self::Ko => text.1,
        }
    }

    /// `text` in this language, with `values` in place of `{0}`, `{1}`.
    pub(crate) fn f(self, text: Text, values: &[&str]) -> String {
        let mut rest = self.t(text);
        let mut filled = String::with_capacity(rest.len() + 16);
        // In one pass, so that a value that looks like a place is left alone.
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let place = after.split_once('}').and_then(|(n, tail)| Some((n.parse::<usize>().ok()?, tail)));
            let Some((index, tail)) = place else {
                filled.push('{');
                rest = after;
                continue;
            };
            filled.push_str(values.get(index).copied().unwrap_or_default());
            rest = tail;
        }
        filled.push_str(rest);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_places_once() {
        assert_eq!(Lang::En.f(LEFT, &["{0}"]), "{0} left");
        assert_eq!(Lang::Ko.f(LEFT, &["3"]), "3개 남음");
    }

    /// Refusals of what only operators and their programs do.
    const NOT_FOR_SHOPPERS: &[&str] = &[
        "account-exists",
        "allow-list-unavailable",
        "amount-not-positive",
        "balance-overflow",
        "beyond-the-log",
        "campaign-exists",
        "capture-exceeds",
        "currency-mismatch",
        "dry-run-unsupported",
        "end-in-past",
        "events-archived",
        "gates-closed",
        "gateway-conflict",
        "gateway-invalid",
        "gateway-malformed",
        "gateway-no-route",
        "gateway-no-upgrade",
        "gateway-not-found",
        "gateway-stale",
        "gateway-storage",
        "gateway-too-large",
        "idempotency-key-required",
        "legacy-not-configured",
        "method-not-allowed",
        "mirror-conflict",
        "mirror-too-large",
        "move-not-ours",
        "move-under-way",
        "no-such-move",
        "not-found",
        "not-refundable",
        "phase-not-next",
        "quantity-below-issued",
        "reason-required",
        "rebuild-running",
        "refund-exceeds",
        "reservation-committed",
        "reservation-expired",
        "reservation-not-found",
        "reservation-released",
        "return-too-much",
        "saga-cannot-undo",
        "saga-changed",
        "saga-invalid",
        "saga-key-reused",
        "saga-not-found",
        "saga-not-parked",
        "saga-too-late",
        "saga-version",
        "same-account",
        "source-gap",
        "source-unknown",
        "stock-above-limit",
        "stock-below-held",
        "too-many-accounts",
        "too-many-campaigns",
        "too-many-products",
        "too-many-skus",
        "too-many-streams",
        "transfer-not-found",
        "transfer-not-pending",
    ];

    #[test]
    fn every_refusal_that_a_shopper_can_meet_has_words_in_both_languages() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        let pages = std::fs::read_dir(folder).expect("the pages of the refusals");
        let names = pages.map(|page| page.expect("readable").file_name().into_string().expect("text"));
        let slugs: Vec<_> = names.filter_map(|name| name.strip_suffix(".md").map(str::to_owned)).collect();
        let slugs: Vec<_> =
            slugs.iter().map(String::as_str).filter(|slug| !["README", "startup"].contains(slug)).collect();
        assert!(slugs.len() > 50, "{slugs:?}");
        let unknown: Vec<_> =
            slugs.iter().filter(|slug| refusal(slug).is_none() && !NOT_FOR_SHOPPERS.contains(slug)).collect();
        assert!(
            unknown.is_empty(),
            "say what these mean to a shopper, or that none can meet them: {unknown:?}"
        );
        let gone: Vec<_> = NOT_FOR_SHOPPERS.iter().filter(|slug| !slugs.contains(slug)).collect();
        assert!(gone.is_empty(), "these are refusals no more: {gone:?}");
    }

    #[test]
    fn no_word_of_the_log_and_no_sentence_of_a_company_reaches_a_shopper() {
        for why in [
            "timed-out",
            "voided",
            "undone-by-operator",
            "status 500",
            "do_not_honor: Call your bank.",
            "",
            "새",
        ] {
            for lang in [Lang::En, Lang::Ko] {
                for said in
                    [why_failed(lang, why), why_refused(lang, why).to_owned(), refused(lang, why, why)]
                {
                    assert!(!said.is_empty() && (why.is_empty() || !said.contains(why)), "{why:?}: {said}");
                    assert!(!said.contains("Call your bank") && !said.contains('_'), "{said}");
                }
            }
            assert!(
                why_failed(Lang::Ko, why).chars().all(|c| !c.is_ascii_alphabetic()),
                "{why}: in Korean only"
            );
        }
    }

    #[test]
    fn a_browser_gets_the_language_it_names_first() {
        for (accepted, lang) in [
            ("ko-KR,ko;q=0.9,en;q=0.8", Lang::Ko),
            ("en-US,ko", Lang::En),
            ("fr, ko", Lang::Ko),
            ("", Lang::En),
        ] {
            assert_eq!(Lang::preferred(accepted), lang, "{accepted}");
        }
    }
}
