//! Every sentence that a person reads, in English and Korean, in the order of the pages.
//!
//! `{0}`, `{1}` stand for values. A sentence that is missing in one language does not compile.

#[rustfmt::skip]
#[cfg_attr(not(feature = "gateway"), allow(dead_code, reason = "some words are of pages that are not in this build"))]
mod gateway;
#[rustfmt::skip]
mod goods;
#[rustfmt::skip]
mod orders;
#[rustfmt::skip]
mod over;
#[rustfmt::skip]
mod sagas;
#[rustfmt::skip]
mod words;

pub(crate) use gateway::*;
pub(crate) use goods::*;
pub(crate) use orders::*;
pub(crate) use over::*;
pub(crate) use sagas::*;
pub(crate) use words::*;

use banyan_domain::coupon::Refusal;

/// A sentence in each language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text(&'static str, &'static str);

/// A language of the console.
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

/// What an event did, in a word.
pub(crate) fn action(kind: &str) -> Text {
    match kind {
        "campaign-created" => Text("Created", "생성"),
        "campaign-paused" => Text("Paused", "일시중지"),
        "campaign-resumed" => Text("Resumed", "재개"),
        "campaign-extended" => Text("End moved", "종료 변경"),
        "campaign-quantity-changed" => Text("Quantity changed", "수량 변경"),
        "campaign-ended" => Text("Ended", "종료"),
        "campaign-retired" => Text("Retired", "정리됨"),
        "allow-list-extended" => Text("Allow-list extended", "허용 명단 추가"),
        "coupon-revoked" => Text("Revoked", "회수"),
        _ => Text("Changed", "변경"),
    }
}

/// A refusal that an operator can meet on a form.
pub(crate) const fn refusal(refusal: Refusal) -> Option<Text> {
    Some(match refusal {
        Refusal::CampaignNotFound => Text("No campaign has this id.", "이 아이디의 캠페인이 없습니다."),
        Refusal::CampaignExists => Text(
            "A campaign with this id exists and is defined otherwise. Choose another id.",
            "같은 아이디의 다른 캠페인이 있습니다. 다른 아이디를 고르세요.",
        ),
        Refusal::Ended => Text(
            "The campaign is over. Nothing was changed.",
            "이미 종료된 캠페인입니다. 아무것도 바뀌지 않았습니다.",
        ),
        Refusal::QuantityBelowIssued => Text(
            "The quantity cannot be below what is already issued, nor above 4,294,967,294. Nothing was changed.",
            "이미 발급된 수량보다 적게, 또는 4,294,967,294보다 많게 정할 수 없습니다. 아무것도 바뀌지 않았습니다.",
        ),
        Refusal::EndInPast => Text(
            "The new end must be in the future and after the start. Nothing was changed.",
            "종료 시각은 미래이고 시작보다 뒤여야 합니다. 아무것도 바뀌지 않았습니다.",
        ),
        Refusal::CouponNotFound => {
            Text("No coupon has this name or code.", "이 이름이나 코드의 쿠폰이 없습니다.")
        }
        Refusal::CouponRedeemed => Text(
            "The coupon has already been used. Nothing was changed.",
            "이미 사용한 쿠폰입니다. 아무것도 바뀌지 않았습니다.",
        ),
        Refusal::CouponExpired => Text(
            "The coupon's validity is over. Nothing was changed.",
            "유효기간이 끝난 쿠폰입니다. 아무것도 바뀌지 않았습니다.",
        ),
        _ => return None,
    })
}

/// A problem of stock, sagas or orders that an operator can meet on a form, by the name that the API gives it.
pub(crate) fn problem(slug: &str) -> Option<Text> {
    Some(match slug {
        "stock-below-held" => STOCK_BELOW_HELD,
        "stock-above-limit" => STOCK_ABOVE,
        "saga-not-parked" => SAGA_NOT_PARKED,
        "saga-changed" => SAGA_CHANGED,
        "saga-too-late" => SAGA_TOO_LATE,
        "saga-cannot-undo" => SAGA_CANNOT_UNDO,
        "order-settling" => ORDER_SETTLING,
        "order-ended" => ORDER_ENDED,
        "refund-under-way" => ORDER_REFUND_RUNS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_places_once() {
        assert_eq!(
            Lang::En.f(WHY_P99, &["{1}", "b"]),
            "Answers are slow: 99 of 100 take up to {1}, the limit is b."
        );
        assert_eq!(Lang::Ko.f(AGO, &["3분"]), "3분 전");
        assert_eq!(Lang::En.f(SALE, &[]), "Sale");
    }

    #[test]
    fn a_browser_gets_the_language_it_names_first() {
        for (accepted, lang) in [
            ("ko-KR,ko;q=0.9,en;q=0.8", Lang::Ko),
            ("en-US,ko", Lang::En),
            ("fr, ko", Lang::Ko),
            ("", Lang::En),
            ("한국", Lang::En),
        ] {
            assert_eq!(Lang::preferred(accepted), lang, "{accepted}");
        }
    }
}
