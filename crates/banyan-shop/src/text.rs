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
