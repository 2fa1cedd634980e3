//! The small things that pages are made of.

use crate::assets;
use crate::cell::Dated;
use crate::format::{self, money};
use crate::gate::{Fields, Visit};
use crate::link;
use crate::shelf::Item;
use crate::text::{self, Lang, Text};
use maud::{Markup, html};

/// Stock at which a page says how few are left.
const FEW: u64 = 9;

/// Our mark: one crown, many roots.
pub(crate) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false" {
            path d="M3 14.5C3 7.600 8.600 3 16 3s13 4.600 13 11.500c0 1-.8 1.500-1.800 1.500H4.800C3.800 16 3 15.500 3 14.500Z" {}
            path.root d="M16 16v13M11.500 16c0 5-.6 9-2.600 13M20.500 16c0 5 .6 9 2.600 13M7 16c0 3.500-.6 6-2 8.500M25 16c0 3.500.6 6 2 8.500" {}
        }
    }
}

/// A basket.
pub(crate) fn basket() -> Markup {
    html! {
        svg.basket viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false" {
            path d="M3 10h18l-2 9.500H5ZM7.500 10L10.500 4M16.500 10L13.500 4" {}
        }
    }
}

/// The hidden field that every form carries.
pub(crate) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.shop.signer.csrf(&visit.session)); }
}

/// The picture of a product. Its name stands beside it, so it needs no words of its own.
pub(crate) fn picture(product: &str, side: u32, eager: bool) -> Markup {
    html! {
        img.picture src=(assets::picture_of(product)) width=(side) height=(side) alt="" loading=(if eager { "eager" } else { "lazy" }) decoding="async";
    }
}

/// The address of a product.
pub(crate) fn product_href(product: &str) -> String {
    format!("/shop/goods/{}", link::encode(product))
}

/// The address of an order.
pub(crate) fn order_href(order: &str) -> String {
    format!("/shop/orders/{}", link::encode(order))
}

/// A state: shape first, word beside it, colour last.
pub(crate) fn state(lang: Lang, shape: &'static str, word: Text) -> Markup {
    html! { span.state data-state=(shape) { (shape_of(shape)) span { (lang.t(word)) } } }
}

fn shape_of(shape: &str) -> Markup {
    let (d, filled) = match shape {
        "paid" | "done" | "issued" | "open" => ("M2 6.500L5 9.500L10 3", false),
        "placed" | "begun" | "held" | "paused" | "moving" => ("M3 2h2v8H3ZM7 2h2v8H7Z", true),
        "failed" | "refused" => ("M2.500 2.500L9.500 9.500M9.500 2.500L2.500 9.500", false),
        "redeemed" => ("M6 1.500a4.500 4.500 0 1 0 0 9a4.500 4.500 0 0 0 0-9Z", true),
        "scheduled" => ("M6 2a4 4 0 1 0 0 8a4 4 0 0 0 0-8Z", false),
        _ => ("M2 6h8", false),
    };
    html! {
        svg.shape viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" data-filled=[filled.then_some("")] { path d=(d) {} }
    }
}

/// How much is left of a product, in words.
pub(crate) fn stock(lang: Lang, item: &Item) -> Markup {
    html! {
        @match item.left {
            _ if !item.on_sale => span.stock data-level="none" { (lang.t(text::GONE_FROM_SHOP)) },
            None => span.stock data-level="none" { (lang.t(text::NOT_COUNTED)) },
            Some(0) => span.stock data-level="none" { (lang.t(text::SOLD_OUT)) },
            Some(left) if left <= FEW => span.stock data-level="few" { (lang.f(text::LEFT, &[&format::number(left)])) },
            Some(_) => span.stock { (lang.t(text::IN_STOCK)) },
        }
    }
}

/// A product as a card that leads to its page.
pub(crate) fn card(visit: &Visit, item: &Item, eager: bool) -> Markup {
    let lang = visit.lang;
    html! {
        li.card {
            a href=(product_href(&item.id)) {
                (picture(&item.id, 240, eager))
                span.name { (visit.shop.catalog.name(&item.id, lang)) }
            }
            p.facts { b.price { (money(lang, item.price, &item.currency)) } " " (stock(lang, item)) }
        }
    }
}

/// How fresh prices and stock are.
pub(crate) fn fresh<T>(visit: &Visit, dated: &Dated<T>, sentence: Text) -> Markup {
    let lang = visit.lang;
    let at = format::clock(lang, dated.at);
    html! {
        @if dated.stale {
            p.notice.wait role="status" { (lang.f(text::STALE, &[&at])) }
        } @else {
            p.fresh { (lang.f(sentence, &[&at])) }
        }
    }
}

/// Something that went wrong, in place.
pub(crate) fn fault(message: &str) -> Markup {
    html! { p.notice.harm role="alert" { (message) } }
}

/// Something that went well, in place.
pub(crate) fn well(message: &str) -> Markup {
    html! { p.notice.well role="status" { (message) } }
}

/// What the page before has done, told by a word in the address: only words that we know, never text.
pub(crate) fn note(visit: &Visit, query: &Fields) -> Markup {
    let note = query.get("note").map(String::as_str).unwrap_or_default();
    let text = match note {
        "added" => text::ADDED,
        "changed" => text::CHANGED_CART,
        "claimed" => text::CLAIMED,
        "claimed-before" => text::CLAIMED_BEFORE,
        "points" => text::POINTS_TAKEN,
        _ => return html! {},
    };
    html! {
        div.notice.well role="status" {
            span { (visit.t(text)) }
            @if note == "added" { " " a href="/shop/cart" { (visit.t(text::TO_CART)) } }
        }
    }
}

/// What a page without content says: what belongs here, and where it comes from.
pub(crate) fn empty(title: &str, hint: &str, more: &Markup) -> Markup {
    html! { div.empty { (mark()) h2 { (title) } p { (hint) } (more) } }
}

/// A line of a sum.
pub(crate) fn sum_line(name: &str, value: &str, class: &str) -> Markup {
    html! { div class=(class) { dt { (name) } dd { (value) } } }
}

/// A field for a number of units.
pub(crate) fn quantity(name: &str, value: u32, least: u32, most: u32, label: &str) -> Markup {
    html! {
        input.quantity type="number" inputmode="numeric" name=(name) value=(value) min=(least) max=(most) step="1" aria-label=(label) required;
    }
}
