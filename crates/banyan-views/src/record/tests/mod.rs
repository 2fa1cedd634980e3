//! The store against the domain's own state: after any commands, stopped anywhere, poisoned, rebuilt.

mod capabilities;
mod damage;
mod legacy;
mod model;
mod orders;
mod pace;
mod parked;
mod rebuilding;
mod redemptions;
mod running;
mod shop;
mod stopped;
mod story;
