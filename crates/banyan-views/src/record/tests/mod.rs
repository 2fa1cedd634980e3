//! The store against the domain's own state: after any commands, stopped anywhere, poisoned, rebuilt.

mod capabilities;
mod damage;
mod legacy;
mod model;
mod orders;
mod parked;
mod rebuilding;
mod redemptions;
mod rests;
mod running;
mod shop;
mod stopped;
mod story;
