//! A guest of the shop, from the shelf to the thank-you page.

use std::io;

use super::{Page, Visitor};

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The shop said thank you.
    Ordered {
        /// The order's number.
        number: String,
    },
    /// The shop said no: nothing is left, or not now.
    Refused {
        /// In its words.
        why: String,
    },
    /// Something broke.
    Failed {
        /// Where, and how.
        why: String,
    },
}

/// A guest on their way to the till.
#[derive(Clone, Debug)]
pub struct Shopper {
    visitor: Visitor,
}

impl Outcome {
    /// Whether the shop took the order.
    pub fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered { .. })
    }
}

impl Shopper {
    /// A whole order: `quantity` of the product with that number, at `http://HOST:PORT`.
    pub fn buys(url: &str, product: u64, quantity: u32) -> Outcome {
        match Self::at_the_till(url, &[(product, quantity)]) {
            Ok(shopper) => shopper.place(),
            Err(outcome) => outcome,
        }
    }

    /// Goes as far as the button that places the order. Looks at each product's page on the way.
    pub fn at_the_till(url: &str, basket: &[(u64, u32)]) -> Result<Self, Outcome> {
        let visitor = Visitor::at(url).map_err(|error| Outcome::Failed { why: error.to_string() })?;
        let mut shopper = Self { visitor };
        for (product, quantity) in basket {
            shopper.get(&format!("/catalogue/x_{product}/"), |page| page.text.contains("basket/add"))?;
            let quantity = quantity.to_string();
            shopper.post(&format!("/basket/add/{product}/"), &[("quantity", &quantity)], |page| {
                page.text.contains("been added to your basket")
            })?;
        }
        shopper.get("/basket/", |page| page.text.contains("Proceed to checkout"))?;
        let guest = [("username", "guest@example.com"), ("options", "anonymous")];
        shopper.post("/checkout/", &guest, |page| page.path.starts_with("/checkout/shipping-address"))?;
        let address = [
            ("first_name", "Ada"),
            ("last_name", "Reed"),
            ("line1", "1 Mill Road"),
            ("line4", "London"),
            ("postcode", "N12 9RE"),
            ("country", "GB"),
        ];
        // There is one way of shipping, which the shop chooses by itself, and nothing to be said about paying.
        let address_taken = |page: &Page| page.path == "/checkout/payment-details/";
        shopper.post("/checkout/shipping-address/", &address, address_taken)?;
        shopper.get("/checkout/preview/", |page| page.path == "/checkout/preview/")?;
        Ok(shopper)
    }

    /// Uses a voucher; to be called where the basket can still change.
    pub fn with_voucher(mut self, code: &str) -> Result<Self, Outcome> {
        self.post("/basket/vouchers/add/", &[("code", code)], |page| page.text.contains(code))?;
        self.get("/checkout/preview/", |page| page.path == "/checkout/preview/")?;
        Ok(self)
    }

    /// Presses the button.
    pub fn place(mut self) -> Outcome {
        let thanked = |page: &Page| page.path == "/checkout/thank-you/";
        match self.post("/checkout/preview/", &[("action", "place_order")], thanked) {
            Ok(page) => match order_number(&page.text) {
                Some(number) => Outcome::Ordered { number },
                None => Outcome::Failed { why: "the thank-you page names no order".into() },
            },
            Err(outcome) => outcome,
        }
    }

    fn get(&mut self, path: &str, well: impl Fn(&Page) -> bool) -> Result<Page, Outcome> {
        let page = self.visitor.get(path);
        expect(path, page, well)
    }

    fn post(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        well: impl Fn(&Page) -> bool,
    ) -> Result<Page, Outcome> {
        let page = self.visitor.post(path, fields);
        expect(path, page, well)
    }
}

/// A page that did not come, or is another than expected, ends the trip: the shop's own words say whether it refused.
fn expect(asked: &str, page: io::Result<Page>, well: impl Fn(&Page) -> bool) -> Result<Page, Outcome> {
    let page = page.map_err(|error| Outcome::Failed { why: format!("{asked}: {error}") })?;
    if page.status == 200 && well(&page) {
        return Ok(page);
    }
    let told = page.alerts().join(" / ");
    let unavailable = page.text.contains("Unavailable") && asked.starts_with("/catalogue/");
    let refusals = ["no longer available", "no stock available", "can be bought", "cannot check its stock"];
    if page.status == 200 && (unavailable || refusals.iter().any(|words| told.contains(words))) {
        return Err(Outcome::Refused { why: if told.is_empty() { "Unavailable".into() } else { told } });
    }
    Err(Outcome::Failed { why: format!("{asked} led to {} {}: {told}", page.status, page.path) })
}

/// The shop numbers its orders from 100001.
fn order_number(text: &str) -> Option<String> {
    let at = text.find("order number")? + "order number".len();
    let digits = text[at..].split(|letter: char| !letter.is_ascii_digit());
    digits.filter(|digits| digits.len() >= 6).map(str::to_owned).next()
}
