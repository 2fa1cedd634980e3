//! Moving a capability from one phase to the next: what it takes, what must be so before, and doing it step by step.
//!
//! A move is in the log from its first moment, and each point that it comes to is noted there before the next is gone for. So
//! whoever takes over after a crash reads where it stands, and looks at the old database for the one thing that may have
//! happened without being noted: the switch.

mod drive;
mod gates;
mod look;
mod plan;
mod recall;

pub use drive::{Comparer, DriveError, Driver, Stage};
pub(crate) use drive::{instant, open_reservations};
pub use gates::{Facts, Gate, RouteEvidence, gates};
pub use look::{Gatekeeper, Look};
pub(crate) use look::{check, closed, looked};
pub use plan::{Planned, steps};
pub use recall::Recall;
