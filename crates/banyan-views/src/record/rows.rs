//! What each event but an issue does to the rows.

use super::apply::Fault;
use super::holds::{HoldRow, HoldRows};
use super::json;
use super::redemptions::Redemptions;
use banyan_domain::coupon::{
    Audience, Benefit, CampaignDefinition, CouponState, EndCause, Event, ReleaseCause, Stacking,
};
use banyan_domain::{Actor, CampaignNo, CouponId, MemberId, OrderId, Reason, Timestamp};
use banyan_log::Seq;
use rusqlite::{Connection, OptionalExtension, Params, params};
use std::collections::BTreeMap;

/// Changes of one campaign's totals, gathered and written once a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TotalsChange {
    pub issued: i64,
    pub held: i64,
    pub redeemed: i64,
    pub revoked: i64,
    pub expired: i64,
}

/// Where and when an event happened, and what it changes.
pub(super) struct Change<'a> {
    pub db: &'a Connection,
    pub seq: Seq,
    pub at: Timestamp,
    pub totals: &'a mut BTreeMap<CampaignNo, TotalsChange>,
    pub redemptions: &'a mut Redemptions,
    pub holds: &'a mut HoldRows,
    /// Whether coupons may be parked, whose rows an expiry must leave alone.
    pub any_parked: bool,
}

impl Change<'_> {
    /// Does what `event` says to the rows. Issues are not for here.
    pub(super) fn apply(&mut self, event: &Event) -> Result<(), Fault> {
        match event {
            Event::CouponIssued { .. } => Ok(()),
            Event::CouponHeld { coupon, order, until, .. } => self.held(*coupon, order, *until),
            Event::CouponRedeemed { coupon, order } => self.redeemed(*coupon, order),
            Event::CouponReleased { coupon, cause: ReleaseCause::Restored, expired } => {
                self.restored(*coupon, *expired)
            }
            Event::CouponReleased { coupon, expired, .. } => self.released(*coupon, *expired),
            Event::CouponRevoked { coupon, by, reason } => self.revoked(*coupon, by, reason),
            Event::CouponsExpired { no, first, last } => self.expired(*no, *first, *last),
            Event::CampaignCreated { no, definition, by } => self.created(*no, definition, by),
            Event::AllowListExtended { no, members } => self.allow_list_extended(*no, members),
            Event::CampaignPaused { no, by, reason } => {
                self.campaign(*no, "UPDATE campaign SET paused = 1, seq = ?2 WHERE no = ?1")?;
                self.action(*no, None, "campaign-paused", by, reason)
            }
            Event::CampaignResumed { no, by, reason } => {
                self.campaign(*no, "UPDATE campaign SET paused = 0, seq = ?2 WHERE no = ?1")?;
                self.action(*no, None, "campaign-resumed", by, reason)
            }
            Event::CampaignExtended { no, ends_at, by, reason } => {
                let sql = "UPDATE campaign SET ends_at = ?3, seq = ?2 WHERE no = ?1";
                self.one_row(sql, params![no.get(), self.seq(), ms(*ends_at)], "the campaign is not there")?;
                self.action(*no, None, "campaign-extended", by, reason)
            }
            Event::CampaignQuantityChanged { no, quantity, by, reason } => {
                let sql = "UPDATE campaign SET quantity = ?3, seq = ?2 WHERE no = ?1";
                self.one_row(
                    sql,
                    params![no.get(), self.seq(), *quantity as i64],
                    "the campaign is not there",
                )?;
                self.action(*no, None, "campaign-quantity-changed", by, reason)
            }
            Event::CampaignEnded { no, cause } => {
                let sql = "UPDATE campaign SET ended_at = ?3, seq = ?2 WHERE no = ?1";
                self.one_row(sql, params![no.get(), self.seq(), ms(self.at)], "the campaign is not there")?;
                match cause {
                    EndCause::Window => Ok(()),
                    EndCause::Operator { by, reason } => self.action(*no, None, "campaign-ended", by, reason),
                }
            }
            Event::CampaignRetired { no } => {
                let sql = "UPDATE campaign SET retired_at = ?3, seq = ?2 WHERE no = ?1";
                self.one_row(sql, params![no.get(), self.seq(), ms(self.at)], "the campaign is not there")
            }
        }
    }

    fn created(&mut self, no: CampaignNo, definition: &CampaignDefinition, by: &Actor) -> Result<(), Fault> {
        let (benefit, amount, basis_points, cap) = match &definition.benefit {
            Benefit::Amount(money) => ("amount", Some(*money), None, None),
            Benefit::Percent { basis_points, cap } => ("percent", None, Some(*basis_points), *cap),
            Benefit::FreeShipping => ("free_shipping", None, None, None),
        };
        let (audience, segment) = match &definition.audience {
            Audience::Everyone => ("everyone", None),
            Audience::AllowList => ("allow_list", None),
            Audience::Segment(segment) => ("segment", Some(segment.as_str())),
        };
        let stacking = match definition.stacking {
            Stacking::Exclusive => "exclusive",
            Stacking::Stackable => "stackable",
        };
        let minimum = definition.minimum_order;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO campaign (no, id, name, quantity, per_member, benefit, amount_minor, basis_points, cap_minor, currency,
               minimum_order_minor, minimum_order_currency, starts_at, ends_at, audience, segment, valid_for_ms, stacking,
               created_at, created_by, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        )?;
        insert.execute(params![
            no.get(),
            definition.id.as_str(),
            &*definition.name,
            definition.quantity.map(|quantity| quantity as i64),
            definition.per_member,
            benefit,
            amount.map(|money| money.minor),
            basis_points,
            cap.map(|money| money.minor),
            amount.or(cap).map(|money| money.currency.as_str().to_owned()),
            minimum.map(|money| money.minor),
            minimum.map(|money| money.currency.as_str().to_owned()),
            definition.starts_at.map(ms),
            definition.ends_at.map(ms),
            audience,
            segment,
            definition.valid_for.map(|span| span.get() as i64),
            stacking,
            ms(self.at),
            by.as_str(),
            self.seq(),
        ])?;
        let none = Reason::new("").expect("an empty reason is valid");
        self.action(no, None, "campaign-created", by, &none)
    }

    fn allow_list_extended(&mut self, no: CampaignNo, members: &[MemberId]) -> Result<(), Fault> {
        let sql = "UPDATE campaign SET allowed = allowed + ?2 WHERE no = ?1";
        self.one_row(sql, params![no.get(), members.len() as i64], "the campaign is not there")?;
        let listed = json::array(members.iter().map(MemberId::as_str));
        self.db
            .prepare_cached(
                "INSERT INTO allow_list (seq, campaign, at, added, members) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![self.seq(), no.get(), ms(self.at), members.len() as i64, listed])?;
        Ok(())
    }

    fn held(&mut self, coupon: CouponId, order: &OrderId, until: Timestamp) -> Result<(), Fault> {
        self.expect(coupon, CouponState::Issued, CouponState::Held)?;
        let row =
            HoldRow { order: order.as_str().into(), until: ms(until), held_at: ms(self.at), seq: self.seq() };
        self.holds.insert(id(coupon), row);
        self.totals(coupon).held += 1;
        Ok(())
    }

    fn redeemed(&mut self, coupon: CouponId, order: &OrderId) -> Result<(), Fault> {
        self.settle(coupon, CouponState::Redeemed)?;
        self.redemptions.add(self.db, self.seq(), id(coupon), order.as_str(), ms(self.at))?;
        self.totals(coupon).redeemed += 1;
        Ok(())
    }

    fn released(&mut self, coupon: CouponId, expired: bool) -> Result<(), Fault> {
        let to = if expired { CouponState::Expired } else { CouponState::Issued };
        self.expect(coupon, CouponState::Held, to)?;
        self.end_hold(coupon)?;
        if expired {
            self.end(coupon, CouponState::Expired)?;
        }
        self.totals(coupon).expired += i64::from(expired);
        Ok(())
    }

    fn restored(&mut self, coupon: CouponId, expired: bool) -> Result<(), Fault> {
        let to = if expired { CouponState::Expired } else { CouponState::Issued };
        self.expect(coupon, CouponState::Redeemed, to)?;
        self.redemptions.remove(self.db, id(coupon))?;
        self.totals(coupon).redeemed -= 1;
        if expired {
            self.end(coupon, CouponState::Expired)?;
        }
        self.totals(coupon).expired += i64::from(expired);
        Ok(())
    }

    fn revoked(&mut self, coupon: CouponId, by: &Actor, reason: &Reason) -> Result<(), Fault> {
        self.settle(coupon, CouponState::Revoked)?;
        self.end(coupon, CouponState::Revoked)?;
        self.totals(coupon).revoked += 1;
        self.action(coupon.campaign(), Some(coupon), "coupon-revoked", by, reason)
    }

    fn expired(&mut self, no: CampaignNo, first: u64, last: u64) -> Result<(), Fault> {
        self.holds.flush(self.db)?;
        // What is held or redeemed is so in its own table, of which a stretch is read in order.
        let all = "UPDATE coupon SET state = 4 WHERE id BETWEEN ?1 AND ?2 AND state = 0
             AND id NOT IN (SELECT coupon FROM hold WHERE coupon BETWEEN ?1 AND ?2)
             AND id NOT IN (SELECT coupon FROM redemption_filed WHERE coupon BETWEEN ?1 AND ?2)
             AND id NOT IN (SELECT coupon FROM redemption_recent WHERE coupon BETWEEN ?1 AND ?2)";
        let but_parked =
            || format!("{all} AND id NOT IN (SELECT coupon FROM parked WHERE coupon IS NOT NULL)");
        let mut update = match self.any_parked {
            true => self.db.prepare_cached(&but_parked())?,
            false => self.db.prepare_cached(all)?,
        };
        let range = [id(CouponId::new(no, first)), id(CouponId::new(no, last))];
        self.totals.entry(no).or_default().expired += update.execute(range)? as i64;
        Ok(())
    }

    /// Checks that a coupon may go to a final state, which it may if it is held or free, and ends its hold.
    fn settle(&mut self, coupon: CouponId, to: CouponState) -> Result<(), Fault> {
        match self.state(coupon)? {
            Some(CouponState::Issued) => Ok(()),
            Some(CouponState::Held) => self.end_hold(coupon),
            found => Err(contradiction(CouponState::Issued, to, found)),
        }
    }

    fn end_hold(&mut self, coupon: CouponId) -> Result<(), Fault> {
        if !self.holds.end(id(coupon)) {
            self.one_row("DELETE FROM hold WHERE coupon = ?1", [id(coupon)], "the coupon has no hold")?;
        }
        self.totals(coupon).held -= 1;
        Ok(())
    }

    /// Writes a final state into the coupon's row.
    fn end(&mut self, coupon: CouponId, to: CouponState) -> Result<(), Fault> {
        let sql = "UPDATE coupon SET state = ?2 WHERE id = ?1";
        self.one_row(sql, [id(coupon), to as i64], "the coupon is not there")
    }

    fn expect(&self, coupon: CouponId, from: CouponState, to: CouponState) -> Result<(), Fault> {
        match self.state(coupon)? {
            Some(found) if found == from => Ok(()),
            found => Err(contradiction(from, to, found)),
        }
    }

    /// What the rows say of a coupon; none if it is not there.
    fn state(&self, coupon: CouponId) -> Result<Option<CouponState>, Fault> {
        if self.holds.has(id(coupon)) {
            return Ok(Some(CouponState::Held));
        }
        let sql = "SELECT CASE WHEN state <> 0 THEN state
               WHEN EXISTS (SELECT 1 FROM hold WHERE coupon = ?1) THEN 1
               WHEN EXISTS (SELECT 1 FROM redemption_recent WHERE coupon = ?1) THEN 2
               WHEN EXISTS (SELECT 1 FROM redemption_filed WHERE coupon = ?1) THEN 2
               ELSE 0 END
             FROM coupon WHERE id = ?1";
        let mut read = self.db.prepare_cached(sql)?;
        let state = read.query_row([id(coupon)], |row| row.get::<_, i64>(0)).optional()?;
        let known = |state: i64| u8::try_from(state).ok().and_then(CouponState::from_u8);
        state
            .map(|state| known(state).ok_or_else(|| Fault::poison("the coupon's row has no known state")))
            .transpose()
    }

    fn campaign(&mut self, no: CampaignNo, sql: &str) -> Result<(), Fault> {
        self.one_row(sql, params![no.get(), self.seq()], "the campaign is not there")
    }

    fn one_row(&mut self, sql: &str, params: impl Params, otherwise: &str) -> Result<(), Fault> {
        match self.db.prepare_cached(sql)?.execute(params)? {
            1 => Ok(()),
            _ => Err(Fault::poison(otherwise)),
        }
    }

    fn action(
        &mut self,
        no: CampaignNo,
        coupon: Option<CouponId>,
        action: &str,
        by: &Actor,
        reason: &Reason,
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO operator_action (seq, at, actor, action, campaign, coupon, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let (at, coupon) = (ms(self.at), coupon.map(id));
        self.db.prepare_cached(sql)?.execute(params![
            self.seq(),
            at,
            by.as_str(),
            action,
            no.get(),
            coupon,
            reason.as_str()
        ])?;
        Ok(())
    }

    fn totals(&mut self, coupon: CouponId) -> &mut TotalsChange {
        self.totals.entry(coupon.campaign()).or_default()
    }

    fn seq(&self) -> i64 {
        self.seq.0 as i64
    }
}

impl TotalsChange {
    /// Adds the change to the campaign's row.
    pub(super) fn write(self, db: &Connection, no: CampaignNo) -> Result<(), Fault> {
        let mut update = db.prepare_cached(
            "UPDATE campaign SET issued = issued + ?2, held = held + ?3, redeemed = redeemed + ?4,
               revoked = revoked + ?5, expired = expired + ?6 WHERE no = ?1",
        )?;
        let Self { issued, held, redeemed, revoked, expired } = self;
        match update.execute(params![no.get(), issued, held, redeemed, revoked, expired])? {
            1 => Ok(()),
            _ => Err(Fault::poison_campaign(no, "the coupon's campaign is not there")),
        }
    }
}

fn contradiction(from: CouponState, to: CouponState, found: Option<CouponState>) -> Fault {
    let found = found.map_or("not there", CouponState::as_str);
    Fault::poison(format!("the coupon should go from {} to {}, but is {found}", from.as_str(), to.as_str()))
}

fn id(coupon: CouponId) -> i64 {
    coupon.get() as i64
}

/// An instant as columns hold it.
pub(super) fn ms(at: Timestamp) -> i64 {
    at.as_millis() as i64
}
