//! A product.

use super::goods::category_word;
use crate::format::{self, money};
use crate::gate::{Fields, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::session::QUANTITY_MAX;
use crate::shelf::{Item, Shelf};
use crate::text;
use crate::wire::Terms;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

/// Products that are shown beside it.
const BESIDE: usize = 4;

/// A product's page.
pub(crate) async fn show(visit: Visit, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    let shelf = match visit.shop.shared.shelf(&visit.shop.api).await {
        Ok(shelf) => shelf,
        Err(error) => return visit.trouble(&error),
    };
    let Some(item) = shelf.value.find(&id) else {
        return visit.problem(StatusCode::NOT_FOUND, text::NO_PRODUCT, visit.t(text::NOT_FOUND_HINT));
    };
    let lang = visit.lang;
    let catalog = visit.shop.catalog;
    let (name, good) = (catalog.name(&id, lang), catalog.find(&id));
    let body = html! {
        @if let Some(good) = good {
            nav.crumbs aria-label=(visit.t(text::CATEGORIES)) {
                a href="/shop" { (visit.t(text::GOODS)) }
                a href=(link::with("/shop", &[("category", &good.category)])) { (visit.t(category_word(&good.category))) }
            }
        }
        (parts::note(&visit, &query))
        div.product {
            (parts::picture(&id, 480, true))
            div.facts {
                h1 { (name) }
                @if let Some(good) = good { p.text { (good.text(lang)) } }
                p.price { b { (money(lang, item.price, &item.currency)) } " " (parts::stock(lang, item)) }
                (buy(&visit, item))
                ul.small {
                    li { (vat(&visit, item)) }
                    @if let Some(terms) = &shelf.value.terms { li { (shipping(&visit, terms)) } }
                    @if let Some(most) = item.per_member { li { (lang.f(text::PER_MEMBER, &[&most.to_string()])) } }
                }
                (parts::fresh(&visit, &shelf, text::FRESH))
            }
        }
        (inside(&visit, item, &shelf.value))
        (beside(&visit, item, &shelf.value))
    };
    visit.page(Page::new(name, Place::Goods, body))
}

fn buy(visit: &Visit, item: &Item) -> Markup {
    let most =
        item.left.unwrap_or(0).min(u64::from(QUANTITY_MAX.min(item.per_member.unwrap_or(QUANTITY_MAX))));
    html! {
        @if item.can_be_had() && most > 0 {
            form.buy method="post" action="/shop/cart/add" {
                (parts::csrf(visit))
                input type="hidden" name="product" value=(item.id);
                label { span { (visit.t(text::QUANTITY)) } (parts::quantity("quantity", 1, 1, most as u32, visit.t(text::QUANTITY))) }
                button.primary type="submit" { (visit.t(text::ADD)) }
            }
        } @else {
            p.notice { (visit.t(if item.is_sold_out() { text::SOLD_OUT_HINT } else { text::NOT_COUNTED })) }
        }
    }
}

fn vat(visit: &Visit, item: &Item) -> Markup {
    let lang = visit.lang;
    html! {
        @if item.vat_basis_points == 0 { (visit.t(text::VAT_FREE)) }
        @else { (lang.f(text::VAT_INCLUDED, &[&money(lang, item.vat(), &item.currency)])) }
    }
}

/// What delivery costs, in a sentence.
pub(crate) fn shipping(visit: &Visit, terms: &Terms) -> String {
    let lang = visit.lang;
    let fee = money(lang, terms.shipping_fee, &terms.currency);
    match terms.free_shipping_from {
        Some(from) => lang.f(text::SHIPPING_FROM, &[&fee, &money(lang, from, &terms.currency)]),
        None => lang.f(text::SHIPPING_ALWAYS, &[&fee]),
    }
}

/// What a set is made of.
fn inside(visit: &Visit, item: &Item, shelf: &Shelf) -> Markup {
    let itself = matches!(item.parts.as_slice(), [one] if one.sku == item.id && one.quantity == 1);
    html! {
        @if !itself {
            section.inside {
                h2 { (visit.t(text::INSIDE)) }
                ul { @for part in &item.parts {
                    li {
                        (parts::picture(&part.sku, 64, false))
                        @let name = visit.shop.catalog.name(&part.sku, visit.lang);
                        @if shelf.find(&part.sku).is_some() { a href=(parts::product_href(&part.sku)) { (name) } } @else { span { (name) } }
                        span.hint { (visit.lang.f(text::UNITS, &[&format::number(u64::from(part.quantity))])) }
                    }
                } }
            }
        }
    }
}

/// Others of its category, beginning behind it.
fn beside(visit: &Visit, item: &Item, shelf: &Shelf) -> Markup {
    let catalog = visit.shop.catalog;
    let Some(good) = catalog.find(&item.id) else { return html! {} };
    let at = catalog.place(&item.id);
    let goods = catalog.goods();
    let others = goods[at + 1..].iter().chain(&goods[..at]);
    let shown: Vec<_> = others
        .filter(|other| other.category == good.category)
        .filter_map(|other| shelf.find(&other.id))
        .filter(|other| other.on_sale)
        .take(BESIDE)
        .collect();
    html! {
        @if !shown.is_empty() {
            section.beside {
                h2 { (visit.t(text::MORE_LIKE_THIS)) }
                ul.goods { @for other in shown { (parts::card(visit, other, false)) } }
            }
        }
    }
}
