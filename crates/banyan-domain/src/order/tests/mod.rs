//! Tests of orders.
