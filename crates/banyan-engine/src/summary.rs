//! The numbers that readers see without asking the writer: published after each sync, taken without a lock.

use banyan_domain::coupon::{CampaignDefinition, CampaignState, Totals};
use banyan_domain::{CampaignId, CampaignNo, State, Timestamp, coupon};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every campaign as of one log position.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The log position.
    pub seq: u64,
    /// Time of the block that ends there.
    pub time: Timestamp,
    /// Bytes of memory of the coupons and members in the hot state.
    pub idempotency_keys: u64,
    by_no: Vec<Arc<CampaignSummary>>,
    by_id: Arc<BTreeMap<CampaignId, CampaignNo>>,
}

/// One campaign.
#[derive(Clone, Debug)]
pub struct CampaignSummary {
    /// Its number.
    pub no: CampaignNo,
    /// Its definition as changed since.
    pub definition: CampaignDefinition,
    /// Whether it is paused.
    pub paused: bool,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// Whether it left the hot state.
    pub retired: bool,
    /// Its totals.
    pub totals: Totals,
    /// Members on its allow-list.
    pub allowed: u64,
    /// Bytes of memory that its coupons and members take.
    pub memory_bytes: u64,
    /// Log position of the block that last changed it.
    pub seq: u64,
}

/// Keeps the summaries of all campaigns, and remembers which ones the block being decided touches.
pub(crate) struct Board {
    by_no: Vec<Arc<CampaignSummary>>,
    by_id: Arc<BTreeMap<CampaignId, CampaignNo>>,
    touched: Vec<CampaignNo>,
}

impl Summary {
    /// Every campaign, in order of creation.
    pub fn campaigns(&self) -> impl DoubleEndedIterator<Item = &Arc<CampaignSummary>> + ExactSizeIterator {
        self.by_no.iter()
    }

    /// The campaign named `id`.
    #[must_use]
    pub fn campaign(&self, id: &str) -> Option<&Arc<CampaignSummary>> {
        let id = CampaignId::new(id).ok()?;
        self.campaign_no(*self.by_id.get(&id)?)
    }

    /// The campaign numbered `no`.
    #[must_use]
    pub fn campaign_no(&self, no: CampaignNo) -> Option<&Arc<CampaignSummary>> {
        self.by_no.get((no.get() as usize).checked_sub(1)?)
    }
}

impl CampaignSummary {
    /// Coupons that can still be issued; none means without limit.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.definition.quantity.map(|quantity| quantity.saturating_sub(self.totals.issued))
    }

    /// Its state at `now`.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> CampaignState {
        self.definition.state_at(self.paused, self.ended_at, now)
    }
}

impl Board {
    pub(crate) fn new(state: &State) -> Self {
        let mut board = Self { by_no: Vec::new(), by_id: Arc::default(), touched: Vec::new() };
        let mut by_id = BTreeMap::new();
        for no in (1..=state.coupons().campaigns_ever()).map(CampaignNo::new) {
            let summary = summarize(state, no);
            by_id.insert(summary.definition.id.clone(), no);
            board.by_no.push(Arc::new(summary));
        }
        board.by_id = Arc::new(by_id);
        board
    }

    /// Notes that `event` changed its campaign.
    pub(crate) fn touch(&mut self, event: &coupon::Event) {
        let no = event.campaign();
        if self.touched.last() != Some(&no) && !self.touched.contains(&no) {
            self.touched.push(no);
        }
    }

    /// Brings the touched campaigns up to date and returns the summary to publish.
    pub(crate) fn publish(&mut self, state: &State) -> Arc<Summary> {
        for no in std::mem::take(&mut self.touched) {
            let summary = summarize(state, no);
            let index = no.get() as usize - 1;
            if index == self.by_no.len() {
                Arc::make_mut(&mut self.by_id).insert(summary.definition.id.clone(), no);
                self.by_no.push(Arc::new(summary));
            } else {
                self.by_no[index] = Arc::new(summary);
            }
        }
        self.summary(state)
    }

    pub(crate) fn summary(&self, state: &State) -> Arc<Summary> {
        Arc::new(Summary {
            seq: state.seq(),
            time: state.time(),
            idempotency_keys: state.idempotency().len() as u64,
            by_no: self.by_no.clone(),
            by_id: self.by_id.clone(),
        })
    }
}

fn summarize(state: &State, no: CampaignNo) -> CampaignSummary {
    let seq = state.seq();
    if let Some(campaign) = state.coupons().campaign_no(no) {
        return CampaignSummary {
            no,
            definition: campaign.definition().clone(),
            paused: campaign.is_paused(),
            ended_at: campaign.ended_at(),
            retired: false,
            totals: campaign.totals(),
            allowed: campaign.allowed(),
            memory_bytes: campaign.memory_bytes() as u64,
            seq,
        };
    }
    let Some(retired) = state.coupons().retired_no(no) else { unreachable!("a campaign is hot or retired") };
    CampaignSummary {
        no,
        definition: (*retired.definition).clone(),
        paused: false,
        ended_at: Some(retired.ended_at),
        retired: true,
        totals: retired.totals,
        allowed: 0,
        memory_bytes: 0,
        seq,
    }
}
