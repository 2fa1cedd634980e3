//! The cart: what is in it, how many, and the coupon and points for it.

use super::coupons::{self, usable};
use super::quote::{Sums, quote, sums};
use crate::ApiError;
use crate::format::{money, number};
use crate::gate::{Fields, Posted, Visit};
use crate::layout::{Page, Place};
use crate::link;
use crate::parts;
use crate::session::{LINES_MAX, QUANTITY_MAX};
use crate::shelf::Shelf;
use crate::text;
use axum::extract::Query;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

/// The cart.
pub(crate) async fn show(visit: Visit, Query(query): Query<Fields>) -> Response {
    page(&visit, &query, StatusCode::OK, None).await
}

async fn page(visit: &Visit, query: &Fields, status: StatusCode, fault: Option<&str>) -> Response {
    let shelf = match visit.shop.shared.shelf(&visit.shop.api).await {
        Ok(shelf) => shelf,
        Err(error) => return visit.trouble(&error),
    };
    let title = visit.t(text::CART);
    if visit.session.cart.is_empty() {
        let body = html! {
            div.title { h1 { (title) } }
            @if let Some(fault) = fault { (parts::fault(fault)) }
            (parts::empty(visit.t(text::CART_EMPTY), visit.t(text::CART_EMPTY_HINT), &html! {
                p { a.button.primary href="/shop" { (visit.t(text::BACK_TO_GOODS)) } }
            }))
        };
        return visit.page_as(status, Page::new(title, Place::Cart, body));
    }
    let body = html! {
        div.title { h1 { (title) } }
        @if let Some(fault) = fault { (parts::fault(fault)) }
        (parts::note(visit, query))
        @if let Some(order) = query.get("again").filter(|order| is_order(order)) { (parts::well(&visit.lang.f(text::EMPTY_AGAIN, &[order]))) }
        div.two {
            div {
                (lines(visit, &shelf.value))
                (parts::fresh(visit, &shelf, text::FRESH))
            }
            (side(visit, &shelf.value, query).await)
        }
    };
    visit.page_as(status, Page::new(title, Place::Cart, body))
}

/// The goods, in one form: each with its quantity and a button that takes it out.
fn lines(visit: &Visit, shelf: &Shelf) -> Markup {
    let lang = visit.lang;
    html! {
        form.lines method="post" action="/shop/cart" {
            (parts::csrf(visit))
            ul {
                @for (id, quantity) in &visit.session.cart {
                    @let name = visit.shop.catalog.name(id, lang);
                    li.line {
                        (parts::picture(id, 96, true))
                        div.what {
                            a href=(parts::product_href(id)) { (name) }
                            @match shelf.find(id).filter(|item| item.on_sale) {
                                Some(item) => {
                                    span.hint { (lang.f(text::PRICE_EACH, &[&money(lang, item.price, &item.currency)])) }
                                    @if item.is_sold_out() { span.short { (visit.t(text::SOLD_OUT)) } }
                                    @else if let Some(left) = item.left.filter(|left| *left < u64::from(*quantity)) {
                                        span.short { (lang.f(text::ONLY_LEFT, &[&number(left)])) }
                                    }
                                }
                                None => span.short { (visit.t(text::GONE_FROM_SHOP)) },
                            }
                        }
                        div.how-many {
                            (parts::quantity(&format!("q.{id}"), *quantity, 0, QUANTITY_MAX, &format!("{}: {name}", visit.t(text::QUANTITY))))
                            button.plain type="submit" name="remove" value=(id) aria-label=(lang.f(text::REMOVE_WHAT, &[name])) formnovalidate { (visit.t(text::REMOVE)) }
                        }
                        b.amount { @if let Some(item) = shelf.find(id) { (money(lang, item.price * i64::from(*quantity), &item.currency)) } }
                    }
                }
            }
            p.under { button type="submit" { (visit.t(text::UPDATE)) } }
        }
    }
}

/// Coupon, points, sums and the way on.
async fn side(visit: &Visit, shelf: &Shelf, typed: &Fields) -> Markup {
    let lang = visit.lang;
    let Some(member) = visit.member() else {
        let known = || visit.session.cart.iter().filter_map(|(id, n)| Some((shelf.find(id)?, i64::from(*n))));
        let goods: i64 = known().map(|(item, n)| item.price * n).sum();
        let currency = known().next().map(|(item, _)| item.currency.as_str()).unwrap_or_default();
        return html! {
            aside.side aria-label=(visit.t(text::SUM)) {
                h2 { (visit.t(text::SUM)) }
                dl.sums { (parts::sum_line(visit.t(text::SUM_GOODS), &money(lang, goods, currency), "total")) }
                @if let Some(terms) = &shelf.terms { p.hint { (super::product::shipping(visit, terms)) } }
                p { a.button.primary.wide href=(link::with("/shop/sign-in", &[("next", "/shop/cart")])) { (visit.t(text::SIGN_IN_TO_ORDER)) } }
            }
        };
    };
    let quote = quote(visit, member).await;
    html! {
        aside.side aria-label=(visit.t(text::SUM)) {
            (coupon(visit, member, typed).await)
            h2 { (visit.t(text::SUM)) }
            @match &quote {
                Ok(quote) => {
                    (points(visit, quote.points_balance, typed))
                    (sums(visit, &Sums::from(quote)))
                    p { a.button.primary.wide href="/shop/checkout" { (visit.t(text::CHECK_OUT)) } }
                }
                Err(ApiError::Refused(refused)) => {
                    (parts::fault(&text::refused(lang, &refused.slug, &refused.detail)))
                    @if matches!(refused.slug.as_str(), "insufficient-funds" | "account-not-found") { (points(visit, 0, typed)) }
                }
                Err(ApiError::Unknown(_)) => (parts::fault(visit.t(text::TROUBLE_HINT))),
            }
        }
    }
}

/// The coupon of the cart, or how to choose one.
async fn coupon(visit: &Visit, member: &str, typed: &Fields) -> Markup {
    let lang = visit.lang;
    // A convenience: without the list a code can still be typed.
    let mine = coupons::read(visit, member).await.map(|(coupons, _)| coupons).unwrap_or_default();
    let campaigns = visit.shop.shared.campaigns(&visit.shop.api).await.ok();
    let worth = |coupon: &crate::wire::Coupon| {
        let all = campaigns.as_ref().map(|all| all.value.as_slice()).unwrap_or_default();
        coupons::worth(lang, coupon, all)
    };
    let chosen = visit.session.coupon.as_deref();
    html! {
        section.coupon {
            h2 { (visit.t(text::COUPON)) }
            @match chosen {
                Some(code) => {
                    @let named = mine.iter().find(|coupon| coupon.code == code).map_or_else(|| code.to_owned(), &worth);
                    form method="post" action="/shop/cart/coupon" {
                        (parts::csrf(visit))
                        p { (lang.f(text::COUPON_CHOSEN, &[&named])) }
                        button type="submit" name="drop" value="yes" { (visit.t(text::COUPON_DROP)) }
                    }
                }
                None => {
                    @let free: Vec<_> = mine.iter().filter(|coupon| usable(coupon)).collect();
                    @if !free.is_empty() {
                        form.row method="post" action="/shop/cart/coupon" {
                            (parts::csrf(visit))
                            label { span.sr { (visit.t(text::COUPON_PICK)) }
                                select name="code" { @for coupon in &free { option value=(coupon.code) { (worth(coupon)) } } } }
                            button type="submit" { (visit.t(text::COUPON_USE)) }
                        }
                    }
                    form.row method="post" action="/shop/cart/coupon" {
                        (parts::csrf(visit))
                        label { span.sr { (visit.t(text::COUPON_CODE)) }
                            input name="code" value=[typed.get("code")] maxlength="64" autocomplete="off" autocapitalize="characters" placeholder=(visit.t(if free.is_empty() { text::COUPON_CODE } else { text::COUPON_TYPE })); }
                        button type="submit" { (visit.t(text::COUPON_USE)) }
                    }
                }
            }
        }
    }
}

/// How many points to use.
fn points(visit: &Visit, balance: i64, typed: &Fields) -> Markup {
    let lang = visit.lang;
    let chosen = visit.session.points.to_string();
    let shown = typed.get("points").unwrap_or(&chosen);
    html! {
        @if balance > 0 || visit.session.points > 0 {
            form.points method="post" action="/shop/cart/points" {
                (parts::csrf(visit))
                label { span { (visit.t(text::POINTS_USE)) }
                    input type="number" inputmode="numeric" name="points" min="0" max=(balance.max(visit.session.points)) step="1" value=(shown); }
                button type="submit" { (visit.t(text::POINTS_SET)) }
                p.hint { (lang.f(text::POINTS_HAVE, &[&crate::format::points(lang, balance)])) }
            }
        }
    }
}

/// Puts a product into the cart.
pub(crate) async fn add(mut posted: Posted) -> Response {
    let product = posted.field("product").to_owned();
    let quantity = posted.field("quantity").parse().unwrap_or(1);
    let known = match posted.visit.shop.shared.shelf(&posted.visit.shop.api).await {
        Ok(shelf) => shelf.value.find(&product).is_some(),
        Err(error) => return posted.visit.trouble(&error),
    };
    if !known {
        return posted.visit.problem(
            StatusCode::NOT_FOUND,
            text::NO_PRODUCT,
            posted.visit.t(text::NOT_FOUND_HINT),
        );
    }
    if !posted.visit.session.add(&product, quantity) {
        let fault = posted.visit.t(text::CART_FULL);
        return page(&posted.visit, &Fields::new(), StatusCode::UNPROCESSABLE_ENTITY, Some(fault)).await;
    }
    posted.visit.lead(&link::with(&parts::product_href(&product), &[("note", "added")]))
}

/// Takes a product out of the cart, or changes quantities.
pub(crate) async fn change(mut posted: Posted) -> Response {
    let session = &mut posted.visit.session;
    match posted.fields.get("remove") {
        Some(product) => session.set(product, 0),
        None => {
            for (name, value) in posted.fields.iter().take(LINES_MAX + 2) {
                if let (Some(product), Ok(quantity)) = (name.strip_prefix("q."), value.trim().parse()) {
                    session.set(product, quantity);
                }
            }
        }
    }
    posted.visit.lead("/shop/cart?note=changed")
}

/// Chooses the coupon for the cart, or none. A code that the API does not take is not kept.
pub(crate) async fn set_coupon(mut posted: Posted) -> Response {
    let Some(member) = posted.visit.member().map(str::to_owned) else {
        return posted.visit.must_sign_in("/shop/cart");
    };
    let code = posted.field("code").to_ascii_uppercase();
    posted.visit.session.coupon = None;
    if code.is_empty() || posted.fields.contains_key("drop") {
        return posted.visit.lead("/shop/cart?note=changed");
    }
    let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_graphic());
    if !plain {
        return refused(&posted.visit, "coupon-not-found", "", ("code", &code)).await;
    }
    posted.visit.session.coupon = Some(code.clone());
    if posted.visit.session.cart.is_empty() {
        return posted.visit.lead("/shop/cart");
    }
    match quote(&posted.visit, &member).await {
        Err(ApiError::Refused(no))
            if no.slug.contains("coupon")
                || no.slug == "below-minimum-order"
                || no.slug == "other-currency" =>
        {
            posted.visit.session.coupon = None;
            refused(&posted.visit, &no.slug, &no.detail, ("code", &code)).await
        }
        _ => posted.visit.lead("/shop/cart?note=changed"),
    }
}

/// Says how many points to use for the cart. A number that the API does not take is not kept.
pub(crate) async fn set_points(mut posted: Posted) -> Response {
    let Some(member) = posted.visit.member().map(str::to_owned) else {
        return posted.visit.must_sign_in("/shop/cart");
    };
    posted.visit.session.points = posted.field("points").parse().unwrap_or(0).max(0);
    match quote(&posted.visit, &member).await {
        Err(ApiError::Refused(no)) if no.slug == "insufficient-funds" || no.slug == "account-not-found" => {
            let typed = std::mem::take(&mut posted.visit.session.points).to_string();
            refused(&posted.visit, &no.slug, &no.detail, ("points", &typed)).await
        }
        _ => posted.visit.lead("/shop/cart?note=changed"),
    }
}

/// The cart with what was refused, and what was typed.
async fn refused(visit: &Visit, slug: &str, detail: &str, typed: (&str, &str)) -> Response {
    let fault = text::refused(visit.lang, slug, detail);
    let typed = Fields::from([(typed.0.to_owned(), typed.1.to_owned())]);
    page(visit, &typed, StatusCode::UNPROCESSABLE_ENTITY, Some(&fault)).await
}

/// Whether `text` looks like an order's number: nobody puts another text on our page.
fn is_order(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|no| no.len() <= 20 && no.bytes().all(|b| b.is_ascii_digit()))
}
