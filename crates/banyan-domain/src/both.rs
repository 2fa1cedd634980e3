//! Two pieces of pure work, and who says on how many threads they are done.

/// Does two pieces of work that share nothing. The rules own no threads: whoever calls them may have some, and lends them
/// through this. What comes out is the same however they are done.
pub trait Both: Sync {
    /// Does `a` and `b`, in either order or at the same time, and gives back what they came to.
    fn both<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B);
}

/// One after the other, on the caller's thread.
#[derive(Clone, Copy, Debug)]
pub struct InTurn;

impl Both for InTurn {
    fn both<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        (a(), b())
    }
}
