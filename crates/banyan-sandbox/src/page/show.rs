//! The page's HTML.

use super::text::{self, Lang, Text};
use crate::card::{CHALLENGE_CODE, TEST_CARDS, Wrong};
use crate::payment::{Payment, Status};
use maud::{DOCTYPE, Markup, html};

/// What went wrong with what the customer sent.
#[derive(Clone, Copy)]
pub(super) enum Notice {
    Wrong(Wrong),
    Declined,
    WrongCode,
}

/// A payment as its customer sees it.
pub(super) struct View<'a> {
    pub(super) lang: Lang,
    pub(super) payment: &'a Payment,
    pub(super) notice: Option<Notice>,
    /// The expiry that was typed: the only field that is shown again.
    pub(super) expiry: &'a str,
    /// The shop's address, if there is one to go back to.
    pub(super) back: Option<&'a str>,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

impl Notice {
    fn text(self) -> Text {
        match self {
            Self::Wrong(wrong) => text::wrong(wrong),
            Self::Declined => text::DECLINED,
            Self::WrongCode => text::WRONG_CODE,
        }
    }

    /// The name of the field that it is about.
    fn field(self) -> &'static str {
        match self {
            Self::Wrong(Wrong::Expiry) => "expiry",
            Self::Wrong(Wrong::Cvc) => "cvc",
            Self::WrongCode => "code",
            Self::Wrong(Wrong::Number | Wrong::NotATestCard) | Self::Declined => "number",
        }
    }
}

/// The page of a payment.
pub(super) fn payment(view: &View<'_>) -> Markup {
    let lang = view.lang;
    let amount = amount(lang, view.payment.amount, &view.payment.currency);
    let action = format!("/pay/{}?lang={}", view.payment.id, lang.code());
    let form = match view.payment.status {
        Status::RequiresCard if view.payment.challenged => challenge(view, &action),
        Status::RequiresCard => card(view, &action, &amount),
        _ => over(view),
    };
    let body = html! {
        div.columns {
            section.summary aria-label=(lang.t(text::TO_PAY)) {
                p.label { (lang.t(text::TO_PAY)) }
                p.amount { (amount) }
                (facts(view))
            }
            section.form #form tabindex="-1" { (form) }
        }
    };
    document(lang, &format!("{} · {amount}", lang.t(text::CARD)), &body)
}

/// A page that only says something.
pub(super) fn message(lang: Lang, title: Text, hint: Text) -> Markup {
    let body = html! { section.form.message #form tabindex="-1" { h1 { (lang.t(title)) } p.hint { (lang.t(hint)) } } };
    document(lang, lang.t(title), &body)
}

/// The first page, for who looks around.
pub(super) fn home(lang: Lang) -> Markup {
    message(lang, text::SIMULATED, text::HOME_HINT)
}

fn facts(view: &View<'_>) -> Markup {
    let (lang, payment) = (view.lang, view.payment);
    let shop =
        payment.return_url.parse::<http::Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
    let minutes =
        payment.deadline.map(|deadline| (deadline - view.now).max(0).unsigned_abs().div_ceil(60_000));
    html! {
        dl.facts {
            @if let Some(shop) = shop { div { dt { (lang.t(text::SHOP)) } dd { (shop) } } }
            @if !payment.title.is_empty() { div { dt { (lang.t(text::ITEM)) } dd { (payment.title) } } }
            div { dt { (lang.t(text::ORDER)) } dd.mono { (payment.order) } }
            div { dt { (lang.t(text::PAYMENT)) } dd.mono { (payment.id) } }
            @if payment.status == Status::RequiresCard {
                @if let Some(minutes) = minutes {
                    div { dt { (lang.t(text::MINUTES_LEFT)) } dd { (minutes) (lang.t(text::MINUTES)) } }
                }
            }
        }
    }
}

fn card(view: &View<'_>, action: &str, amount: &str) -> Markup {
    let lang = view.lang;
    html! {
        h1 { (lang.t(text::CARD)) }
        (notice(view))
        form method="post" action=(action) {
            (field(view, "number", text::NUMBER, &html! {
                input #number name="number" inputmode="numeric" autocomplete="off" required maxlength="32"
                    placeholder="4242 4242 4242 4242" spellcheck="false" aria-invalid=[invalid(view, "number")]
                    aria-describedby=[described(view, "number")];
            }))
            div.pair {
                (field(view, "expiry", text::EXPIRY, &html! {
                    input #expiry name="expiry" autocomplete="off" required maxlength="9" placeholder="12/30"
                        value=(view.expiry) aria-invalid=[invalid(view, "expiry")] aria-describedby=[described(view, "expiry")];
                }))
                (field(view, "cvc", text::CVC, &html! {
                    input #cvc name="cvc" inputmode="numeric" autocomplete="off" required maxlength="4" placeholder="123"
                        aria-invalid=[invalid(view, "cvc")] aria-describedby=[described(view, "cvc")];
                }))
            }
            button.primary type="submit" { (lang.t(text::PAY)) " " (amount) }
        }
        form.cards method="post" action=(action) {
            h2 { (lang.t(text::TEST_CARDS)) }
            p.hint { (lang.t(text::TEST_CARDS_HINT)) }
            @for card in &TEST_CARDS {
                button type="submit" name="use" value=(card.token) {
                    span.mono { (card.grouped()) }
                    span.hint { (brand(card.brand)) " · " (lang.t(text::outcome(card.outcome))) }
                }
            }
        }
        (leave(lang, action))
    }
}

fn challenge(view: &View<'_>, action: &str) -> Markup {
    let lang = view.lang;
    html! {
        h1 { (lang.t(text::CHALLENGE)) }
        @if let Some(card) = &view.payment.card { p.mono { (brand(&card.brand)) " •••• " (card.last4) } }
        (notice(view))
        p { (lang.t(text::CHALLENGE_HINT)) " " strong.mono { (CHALLENGE_CODE) } }
        form method="post" action=(action) {
            (field(view, "code", text::CODE, &html! {
                input #code name="code" inputmode="numeric" autocomplete="one-time-code" required maxlength="6"
                    aria-invalid=[invalid(view, "code")] aria-describedby=[described(view, "code")];
            }))
            button.primary type="submit" { (lang.t(text::CONFIRM)) }
        }
        (leave(lang, action))
    }
}

/// Nothing is left to do here.
fn over(view: &View<'_>) -> Markup {
    let lang = view.lang;
    let (title, hint) = text::status(view.payment.status);
    html! {
        h1 { (lang.t(title)) }
        @if let Some(card) = &view.payment.card { p.mono { (brand(&card.brand)) " •••• " (card.last4) } }
        p.hint { (lang.t(hint)) }
        @if let Some(back) = view.back { p { a.button.primary href=(back) { (lang.t(text::BACK)) } } }
    }
}

fn notice(view: &View<'_>) -> Markup {
    let lang = view.lang;
    html! {
        @if let Some(notice) = view.notice {
            p.notice #notice role="alert" {
                (lang.t(notice.text()))
                @if text::is_last_try(view.payment.failures) { " " (lang.t(text::LAST_TRY)) }
            }
        }
    }
}

fn leave(lang: Lang, action: &str) -> Markup {
    html! {
        form.leave method="post" action=(action) {
            button.plain type="submit" name="leave" value="1" { (lang.t(text::LEAVE)) }
        }
    }
}

fn field(view: &View<'_>, name: &str, label: Text, input: &Markup) -> Markup {
    html! { div.field { label for=(name) { (view.lang.t(label)) } (input) } }
}

fn invalid(view: &View<'_>, name: &str) -> Option<&'static str> {
    view.notice.filter(|notice| notice.field() == name).map(|_| "true")
}

fn described(view: &View<'_>, name: &str) -> Option<&'static str> {
    view.notice.filter(|notice| notice.field() == name).map(|_| "notice")
}

fn brand(brand: &str) -> &str {
    match brand {
        "visa" => "Visa",
        "mastercard" => "Mastercard",
        other => other,
    }
}

/// Whole units with their sign, as the language writes them.
pub(super) fn amount(lang: Lang, minor: i64, currency: &str) -> String {
    let decimals = match currency {
        "JPY" | "KRW" | "VND" | "CLP" | "ISK" | "XOF" | "XAF" | "PYG" | "UGX" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let unit = 10_i64.pow(decimals);
    let mut whole = String::new();
    let digits = (minor / unit).to_string();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            whole.push(',');
        }
        whole.push(digit);
    }
    if decimals > 0 {
        let part = minor % unit;
        whole.push_str(&format!(".{part:0width$}", width = decimals as usize));
    }
    match (currency, lang) {
        ("KRW", Lang::Ko) => format!("{whole}원"),
        ("KRW", Lang::En) => format!("₩{whole}"),
        ("USD", _) => format!("${whole}"),
        ("EUR", _) => format!("€{whole}"),
        ("JPY", _) => format!("¥{whole}"),
        _ => format!("{whole} {currency}"),
    }
}

fn document(lang: Lang, title: &str, body: &Markup) -> Markup {
    let other = lang.other();
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · " (lang.t(text::COMPANY)) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/pay/look.css";
            }
            body {
                a.skip href="#form" { (lang.t(text::SKIP)) }
                header.banner {
                    span.company {
                        svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
                            rect x="2.5" y="5" width="19" height="14" rx="2.5" {}
                            path d="M2.500 10h19M6 15h4" {}
                        }
                        (lang.t(text::COMPANY))
                    }
                    a hreflang=(other.code()) lang=(other.code()) href={ "?lang=" (other.code()) } { (other.name()) }
                }
                p.simulated {
                    svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" {
                        path.body d="M12 2.500L22.500 21h-21Z" {}
                        path d="M12 9v6M12 18v.5" {}
                    }
                    span { strong { (lang.t(text::SIMULATED)) } " " (lang.t(text::SIMULATED_HINT)) }
                }
                main { (body) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        for (lang, minor, currency, shown) in [
            (Lang::En, 25_000, "KRW", "₩25,000"),
            (Lang::Ko, 1_234_567, "KRW", "1,234,567원"),
            (Lang::En, 5, "USD", "$0.05"),
            (Lang::En, 123_456, "USD", "$1,234.56"),
            (Lang::En, 999, "KWD", "0.999 KWD"),
            (Lang::Ko, 100, "JPY", "¥100"),
        ] {
            assert_eq!(amount(lang, minor, currency), shown);
        }
    }
}
