//! What shoppers ask: orders placed, cancelled and given back in part.

use super::stock::{SKUS, sku};
use super::{Workload, actor, member};
use crate::prng::Prng;
use banyan_domain::order::{Cart, CartLine, Command, Part, Product, Terms};
use banyan_domain::{Currency, Money, OrderNo, ProductId, Reason};

/// Products on the price list: one for each SKU, and a bundle of two.
const PRODUCTS: u64 = SKUS + 1;

impl Workload {
    /// The terms and the price list as they are first.
    pub(super) fn first_prices(&self, number: usize) -> Option<Command> {
        match number {
            0 => Some(Command::SetTerms { terms: terms(3_000), by: actor() }),
            1 => {
                let products = (0..PRODUCTS).map(|number| product(number, 9_900)).collect();
                Some(Command::SetProducts { products, by: actor() })
            }
            _ => None,
        }
    }

    /// Something that a shopper asks.
    pub(super) fn of_orders(&self, rng: &mut Prng) -> Command {
        match rng.below(100) {
            0..3 => Command::SetTerms { terms: terms(*rng.pick(&[0, 3_000]).expect("two")), by: actor() },
            3..8 => {
                let mut changed =
                    product(rng.below(PRODUCTS), *rng.pick(&[9_900, 12_000, 0]).expect("three"));
                changed.on_sale = rng.chance(85);
                Command::SetProducts { products: vec![changed], by: actor() }
            }
            8..58 => self.placed(rng),
            58..70 => {
                // From a stream of its own, so that what the seeds are known to come to stays as it is.
                let mut aside = rng.clone();
                let owner = aside.chance(20).then(|| member(&mut aside));
                Command::Cancel { order: self.order(rng), owner, by: actor(), reason: reason() }
            }
            _ => {
                // Whatever is on the list: some of it is not in the order.
                let known = listed(rng);
                let lines = vec![CartLine {
                    product: product_id(rng.below(known)),
                    quantity: rng.between(1, 2) as u32,
                }];
                Command::Return { order: self.order(rng), lines, by: actor(), reason: reason() }
            }
        }
    }

    fn placed(&self, rng: &mut Prng) -> Command {
        let count = rng.between(1, 3);
        let line = |rng: &mut Prng| {
            let known = if rng.chance(97) { listed(rng) } else { PRODUCTS + 1 };
            CartLine { product: product_id(rng.below(known)), quantity: rng.between(1, 3) as u32 }
        };
        let lines = (0..count).map(|_| line(rng)).collect();
        let (mut whose, mut coupon) = (member(rng), None);
        if rng.chance(40) {
            let recent = &self.owned[self.owned.len().saturating_sub(25)..];
            if let Some((found, owner)) = rng.pick(recent).cloned() {
                coupon = Some(found);
                if rng.chance(92) {
                    whose = owner;
                }
            }
        }
        let points = if rng.chance(35) { rng.between(1, 200) as i64 } else { 0 };
        let method = *rng.pick(&["tok_ok", "tok_ok", "tok_ok", "tok_declined", "page"]).expect("some");
        let expect_total = rng.chance(3).then_some(1);
        let cart = Box::new(Cart { member: whose, lines, coupon, points });
        Command::Place { cart, method: method.into(), return_url: "".into(), expect_total }
    }

    fn order(&self, rng: &mut Prng) -> OrderNo {
        let known = &self.shop.orders;
        let recent = &known[known.len().saturating_sub(8)..];
        // Older ones are paid, mostly.
        let from = if rng.chance(25) { recent } else { known };
        let found = rng.pick(from).copied();
        found.unwrap_or_else(|| OrderNo::new(rng.below(20)))
    }
}

fn product(number: u64, price: i64) -> Product {
    let part = |number: u64, quantity| Part { sku: sku(number), quantity };
    let bundle = number == SKUS;
    Product {
        id: product_id(number),
        price: Money { minor: price + number as i64, currency: krw() },
        vat_basis_points: 1_000,
        parts: if bundle { vec![part(0, 1), part(1, 2)] } else { vec![part(number, 1)] },
        on_sale: true,
    }
}

/// How many of the first products somebody looks at: a few are bought most.
fn listed(rng: &mut Prng) -> u64 {
    if rng.chance(60) { 2 } else { PRODUCTS }
}

fn product_id(number: u64) -> ProductId {
    ProductId::new(format!("product-{number}")).expect("visible")
}

fn terms(shipping_fee: i64) -> Terms {
    Terms { currency: krw(), shipping_fee, free_shipping_from: Some(50_000), vat_basis_points: 1_000 }
}

fn krw() -> Currency {
    Currency::new("KRW").expect("a currency")
}

fn reason() -> Reason {
    Reason::new("simulated").expect("a reason")
}
