//! What a command of one capability comes to, if it is not refused.

/// A decision, over the events `E`, answers `O` and remembered answers `R` of a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided<E, O, R> {
    /// One event, the usual case.
    One(E),
    /// Several events, all or none. Never empty; the last one has the answer.
    Many(Vec<E>),
    /// Nothing new: the command was carried out before, at this log position, and this is its answer. It cannot change, so
    /// there is nothing to remember.
    Before(O, u64),
    /// Nothing to do: things are as the command wants them. They may change, so the answer is to be remembered.
    AsItIs(O, R),
}

impl<E, O, R> Decided<E, O, R> {
    /// The same decision as one over all capabilities.
    pub(crate) fn lift<E2, O2, R2>(
        self,
        event: impl Fn(E) -> E2,
        outcome: impl Fn(O) -> O2,
        remembered: impl Fn(R) -> R2,
    ) -> Decided<E2, O2, R2> {
        match self {
            Self::One(one) => Decided::One(event(one)),
            Self::Many(many) => Decided::Many(many.into_iter().map(event).collect()),
            Self::Before(answer, seq) => Decided::Before(outcome(answer), seq),
            Self::AsItIs(answer, kept) => Decided::AsItIs(outcome(answer), remembered(kept)),
        }
    }
}
