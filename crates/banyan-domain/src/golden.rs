//! How stored values are held to their bytes, in the tests of every kind of event.

use expect_test::Expect;
use minicbor::{Decode, Encode};
use std::fmt::{Debug, Write as _};

/// The value must be stored as these bytes, and read back from them.
#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "`expect!` is written in place at every call")]
pub(crate) fn check<T>(value: T, wanted: Expect)
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
{
    let bytes = minicbor::to_vec(&value).expect("a vector takes every write");
    let hex = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    });
    wanted.assert_eq(&hex);
    assert_eq!(minicbor::decode::<T>(&bytes).expect("it was written"), value);
    for cut in 0..bytes.len() {
        assert!(minicbor::decode::<T>(&bytes[..cut]).is_err(), "cut to {cut} bytes");
    }
}
