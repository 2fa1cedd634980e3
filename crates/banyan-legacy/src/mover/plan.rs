//! The steps of each move. Pure.

use banyan_domain::legacy::{MoveStep, Phase};

/// One step of a move, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which step.
    pub step: MoveStep,
    /// What is done in it.
    pub what: &'static str,
}

/// The steps from one phase to one beside it, in their order. Empty if they are not one step apart.
#[must_use]
pub fn steps(from: Phase, to: Phase) -> &'static [Planned] {
    match (from, to) {
        (Phase::Legacy, Phase::Mirror) => {
            const {
                &[
                    planned(MoveStep::Checked, "look at the old database: settings, rights, tables, rows"),
                    planned(
                        MoveStep::Prepared,
                        "make what is missing of ours there: bookkeeping tables, publication, slot",
                    ),
                    planned(
                        MoveStep::Copied,
                        "copy all mapped rows as of one position, then follow every change",
                    ),
                    planned(MoveStep::Compared, "compare both sides, row by row, until they are equal"),
                    planned(MoveStep::Switched, "write the phase into the old database's bookkeeping"),
                ]
            }
        }
        (Phase::Mirror, Phase::Lead) => {
            const {
                &[
                    planned(
                        MoveStep::Checked,
                        "look at the gates again: preflight, stream, lag, comparison, evidence",
                    ),
                    planned(MoveStep::Compared, "compare both sides, row by row: they must be equal"),
                    planned(
                        MoveStep::Switched,
                        "wait until no order is in flight in the old shop, and hand over: from that position of its stream on, Banyan decides",
                    ),
                ]
            }
        }
        (Phase::Lead, Phase::Mirror) => {
            const {
                &[
                    planned(
                        MoveStep::Checked,
                        "wait, while everything is sold, for the reservations that are open; then look at the gates again: preflight, \
                         stream, sync out",
                    ),
                    planned(
                        MoveStep::Drained,
                        "reserve nothing more, and wait for the reservations that are still open",
                    ),
                    planned(
                        MoveStep::Switched,
                        "wait until no order is in flight in the old shop, bring its columns up to date, and hand back",
                    ),
                ]
            }
        }
        (Phase::Lead, Phase::Retired) => {
            const {
                &[
                    planned(
                        MoveStep::Checked,
                        "look again at who still touches the old columns: nobody for the time stated",
                    ),
                    planned(
                        MoveStep::Switched,
                        "write the phase into the old database's bookkeeping; its columns are not kept any more",
                    ),
                ]
            }
        }
        (Phase::Retired, Phase::Lead) => {
            const {
                &[
                    planned(MoveStep::Checked, "look at the old database: settings, rights, tables, rows"),
                    planned(MoveStep::Flushed, "bring the old columns up to date"),
                    planned(MoveStep::Compared, "compare both sides, row by row, until they are equal"),
                    planned(MoveStep::Switched, "write the phase into the old database's bookkeeping"),
                ]
            }
        }
        (Phase::Mirror, Phase::Legacy) => {
            const {
                &[
                    planned(MoveStep::Checked, "look at the old database"),
                    planned(MoveStep::Switched, "write the phase into the old database's bookkeeping"),
                    planned(
                        MoveStep::Cleared,
                        "give the stream up, so that the old database keeps nothing for us",
                    ),
                ]
            }
        }
        _ => &[],
    }
}

const fn planned(step: MoveStep, what: &'static str) -> Planned {
    Planned { step, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_move_of_one_step_has_steps_and_no_other() {
        for from in Phase::ALL {
            for to in Phase::ALL {
                let steps = steps(from, to);
                assert_eq!(!steps.is_empty(), from.is_next_to(to), "{from:?} to {to:?}");
                if let [first, ..] = steps {
                    assert_eq!(first.step, MoveStep::Checked);
                    assert!(steps.iter().any(|planned| planned.step == MoveStep::Switched));
                }
            }
        }
    }
}
