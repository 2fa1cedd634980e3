//! The orders' part of a snapshot: CBOR, piece by piece.

use super::instance::Order;
use super::product::{Product, Terms};
use super::state::{Orders, order_digest, placed_digest, product_digest, terms_digest};
use minicbor::{Decode, Decoder, Encode};

#[derive(Encode, Decode)]
struct Header {
    #[n(0)]
    terms: Option<Terms>,
    #[n(1)]
    placed: u64,
    #[n(2)]
    products: u64,
    #[n(3)]
    orders: u64,
}

impl Orders {
    /// Writes the orders: their length, a header, and one product or order after another.
    pub(crate) fn write_snapshot(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        let (products, orders) = (self.products.len() as u64, self.orders.len() as u64);
        let header = Header { terms: self.terms.clone(), placed: self.placed, products, orders };
        let fine = "a vector takes every write";
        minicbor::encode(&header, &mut *out).expect(fine);
        for product in self.products.values() {
            minicbor::encode(product, &mut *out).expect(fine);
        }
        for order in self.orders.values() {
            minicbor::encode(order, &mut *out).expect(fine);
        }
        let length = (out.len() - start - 8) as u64;
        out[start..start + 8].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads the orders back and takes their bytes off `input`.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub(crate) fn read_snapshot(input: &mut &[u8]) -> Result<Self, &'static str> {
        let cut = "the orders";
        let (length, rest) = input.split_first_chunk::<8>().ok_or(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut)?;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(cut)?;
        *input = rest;
        let mut decoder = Decoder::new(bytes);
        let header: Header = decoder.decode().map_err(|_| cut)?;
        let mut read = Self { terms: header.terms, placed: header.placed, ..Self::new() };
        read.terms.iter().for_each(|terms| read.digest.add(terms_digest(terms)));
        read.digest.add(placed_digest(read.placed));
        for _ in 0..header.products {
            let product: Product = decoder.decode().map_err(|_| "a product")?;
            read.digest.add(product_digest(&product));
            if read.products.insert(product.id.clone(), product).is_some() {
                return Err("a product is there twice");
            }
        }
        for _ in 0..header.orders {
            let order: Order = decoder.decode().map_err(|_| "an order")?;
            let line = |part: &super::RefundLine| usize::from(part.line) < order.lines.len();
            if !order.refunds.iter().flat_map(|refund| &refund.lines).all(line) {
                return Err("a refund names a line that is not there");
            }
            read.digest.add(order_digest(&order));
            read.over.extend(order.over());
            if read.orders.insert(order.no, order).is_some() {
                return Err("an order is there twice");
            }
        }
        if decoder.position() == bytes.len() { Ok(read) } else { Err("bytes are left over after the orders") }
    }
}
