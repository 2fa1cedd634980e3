//! What every page has: the head, the way around, the foot.

use crate::assets;
use crate::gate::Visit;
use crate::link;
use crate::parts;
use crate::text::{self, Lang, Text};
use maud::{DOCTYPE, Markup, html};

/// The places of the shop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Goods,
    Sale,
    Coupons,
    Orders,
    Points,
    Cart,
    None,
}

/// A page.
pub(crate) struct Page<'a> {
    title: &'a str,
    place: Place,
    body: Markup,
    /// Seconds after which a browser without JavaScript loads the page again.
    again: Option<u32>,
    /// An address to which the browser goes by itself.
    onward: Option<String>,
}

impl<'a> Page<'a> {
    pub(crate) const fn new(title: &'a str, place: Place, body: Markup) -> Self {
        Self { title, place, body, again: None, onward: None }
    }

    /// Loads again by itself while there is something to wait for.
    pub(crate) fn again(self, seconds: Option<u32>) -> Self {
        Self { again: seconds, ..self }
    }

    /// Leads on by itself. A refresh and not the answer to a form: that one may lead only to ourselves.
    pub(crate) fn onward(self, address: &str) -> Self {
        Self { onward: Some(address.to_owned()), ..self }
    }

    /// The whole document.
    pub(crate) fn show(self, visit: &Visit) -> Markup {
        let lang = visit.lang;
        html! {
            (DOCTYPE)
            html lang=(lang.code()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · " (lang.t(text::SHOP)) }
                    link rel="icon" href=(assets::ICON);
                    link rel="stylesheet" href=(assets::style());
                    script src=(assets::script()) defer {}
                    @if let Some(address) = &self.onward { meta http-equiv="refresh" content=(format!("1; url={address}")); }
                    @if let Some(seconds) = self.again { noscript { meta http-equiv="refresh" content=(seconds); } }
                }
                body {
                    a.skip href="#main" { (lang.t(text::SKIP)) }
                    (banner(visit, self.place))
                    main #main tabindex="-1" { (self.body) }
                    footer.foot { p { (lang.t(text::DEMO)) } }
                }
            }
        }
    }
}

/// The body of a page that says what is wrong and where to go on.
pub(crate) fn problem<'a>(visit: &Visit, title: &'a str, detail: &str) -> Page<'a> {
    let body = html! {
        div.empty {
            (parts::mark())
            h1 { (title) }
            p { (detail) }
            p { a.button href="/shop" { (visit.t(text::BACK_TO_GOODS)) } }
        }
    };
    Page::new(title, Place::None, body)
}

fn banner(visit: &Visit, place: Place) -> Markup {
    let lang = visit.lang;
    let places: [(Place, &str, Text); 5] = [
        (Place::Goods, "/shop", text::GOODS),
        (Place::Sale, "/shop/sale", text::SALE),
        (Place::Coupons, "/shop/coupons", text::COUPONS),
        (Place::Points, "/shop/points", text::POINTS),
        (Place::Orders, "/shop/orders", text::ORDERS),
    ];
    let units = visit.session.units();
    html! {
        header.banner {
            a.home href="/shop" { (parts::mark()) span { (lang.t(text::SHOP)) } }
            nav aria-label=(lang.t(text::NAVIGATION)) {
                @for (of, href, word) in places {
                    a href=(href) aria-current=[(of == place).then_some("page")] { (lang.t(word)) }
                }
            }
            div.who {
                (language(visit))
                (who(visit))
                a.cart href="/shop/cart" aria-current=[(place == Place::Cart).then_some("page")] {
                    (parts::basket())
                    span.word { (lang.t(text::CART)) }
                    @if units > 0 { " " b.count { (units) } }
                }
            }
        }
    }
}

fn who(visit: &Visit) -> Markup {
    let lang = visit.lang;
    html! {
        @match visit.member() {
            Some(member) => {
                span.person title=(lang.f(text::SIGNED_IN_AS, &[member])) { (member) }
                form method="post" action="/shop/sign-out" {
                    (parts::csrf(visit))
                    button.plain type="submit" { (lang.t(text::SIGN_OUT)) }
                }
            }
            None => a.sign href=(link::with("/shop/sign-in", &[("next", &visit.here)])) { (lang.t(text::SIGN_IN)) },
        }
    }
}

/// The switch between languages.
fn language(visit: &Visit) -> Markup {
    let other: Lang = visit.lang.other();
    let href = link::with(&format!("/shop/language/{}", other.code()), &[("back", &visit.here)]);
    html! { a.language href=(href) hreflang=(other.code()) lang=(other.code()) { (other.name()) } }
}
