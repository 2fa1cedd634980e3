//! Since when the old columns lack something: while nothing can be written, no write says how late it is.

use super::{Keeper, needs_outward};
use crate::progress::ProgressView;
use banyan_domain::legacy::CapabilityState;
use std::time::Duration;

/// Older than this, and somebody must look: a restart of the old database is over by then.
const OLD: Duration = Duration::from_secs(15);
/// How often it is told again.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What the old columns lack, as looked at now and then.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// An event that was not written yet, and when it was there, milliseconds since 1970.
    oldest: Option<(u64, u64)>,
    told_at: Option<u64>,
}

impl Behind {
    /// Looks: the log ends at `seq`, and everything up to `written` is in the old columns. How long something has waited for
    /// that, at least; 0 if nothing does.
    fn look(&mut self, seq: u64, written: u64, now_millis: u64) -> u64 {
        if self.oldest.is_none_or(|(waits, _)| waits <= written) {
            // What came since the last look is not older than that.
            self.oldest = (written < seq).then_some((seq, now_millis));
        }
        self.oldest.map_or(0, |(_, since)| now_millis.saturating_sub(since))
    }

    /// Whether it is to be told now.
    fn tells(&mut self, behind: Duration, now_millis: u64) -> bool {
        if behind < OLD {
            self.told_at = None;
            return false;
        }
        let due =
            self.told_at.is_none_or(|at| Duration::from_millis(now_millis.saturating_sub(at)) >= TELL_EVERY);
        if due {
            self.told_at = Some(now_millis);
        }
        due
    }
}

impl Keeper {
    /// Notes how long the old columns have lacked something, and says so when it is long.
    pub(super) fn look_how_far_behind(&self, behind: &mut Behind, state: &CapabilityState, now_millis: u64) {
        let progress = &self.driver.progress;
        if !needs_outward(state) {
            *behind = Behind::default();
            progress.waits_out(0);
            return;
        }
        let seq = self.driver.desk.shard().confirmed().get().0;
        let millis = behind.look(seq, progress.view().seq_written, now_millis);
        progress.waits_out(millis);
        let waited = Duration::from_millis(millis);
        if behind.tells(waited, now_millis) {
            tracing::warn!("{}", sentence(waited, &progress.view()));
        }
    }
}

/// What an operator is told, if the old columns have lacked something for so long that somebody must look.
pub(super) fn trouble(view: &ProgressView) -> Option<String> {
    let waited = Duration::from_millis(view.out_waits_millis);
    (waited >= OLD).then(|| sentence(waited, view))
}

fn sentence(waited: Duration, view: &ProgressView) -> String {
    let why = view.trouble.outward.as_deref().unwrap_or("and nothing is known to be in the way");
    format!(
        "the old columns lack what Banyan decided {} s ago: whoever reads them sees older numbers, and nothing is sold twice by that as \
         long as orders ask Banyan ({why})",
        waited.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_old_columns_lack_grows_older_until_it_is_written() {
        let mut behind = Behind::default();
        assert_eq!(behind.look(10, 10, 1_000), 0, "nothing is lacking");
        assert_eq!(behind.look(12, 10, 2_000), 0, "it came just now");
        assert_eq!(behind.look(12, 10, 9_000), 7_000);
        assert_eq!(behind.look(40, 11, 12_000), 10_000, "more came, and the oldest is still not there");
        assert_eq!(
            behind.look(41, 12, 13_000),
            0,
            "it is there; what came after it is of the last look at the earliest"
        );
        assert_eq!(behind.look(41, 12, 15_000), 2_000);
        assert_eq!(behind.look(41, 41, 16_000), 0);
    }

    /// Found by reading: while nothing could be written, the lag stayed that of the last write, and nobody was told.
    #[test]
    fn columns_that_are_not_written_are_late_and_trouble_and_it_is_said_why() {
        let progress = crate::Progress::default();
        progress.wrote(10, 1, 30);
        progress.waits_out(14_000);
        let view = progress.view();
        assert_eq!((view.out_lag_millis, trouble(&view)), (14_000, None), "not yet");
        progress.waits_out(90_000);
        progress.outward(true, Some("connecting: no answer within 10 s".to_owned()));
        let told = trouble(&progress.view()).expect("trouble");
        assert!(
            told.contains("90 s ago") && told.contains("older numbers") && told.contains("no answer"),
            "{told}"
        );
        progress.waits_out(0);
        assert_eq!((progress.view().out_lag_millis, trouble(&progress.view())), (30, None));
    }

    #[test]
    fn it_is_told_once_a_minute_and_not_for_a_moment() {
        let mut behind = Behind::default();
        let seconds = Duration::from_secs;
        let told: Vec<u64> = (0..200).filter(|at| behind.tells(seconds(*at), at * 1_000)).collect();
        assert_eq!(told, [15, 75, 135, 195]);
        assert!(
            !behind.tells(seconds(0), 300_000) && behind.tells(seconds(20), 320_000),
            "a new one is told at once"
        );
    }
}
