//! Holds the log to the answers that were given: every line of an acknowledgements file must be in it.

use super::acks_order::{At, OrderAcks};
use super::book::{Book, State};
use super::{Fingerprint, Kind, fingerprint};
use crate::exit::Failure;
use banyan_domain::coupon::{CouponCode, Event};
use banyan_domain::{CouponId, Entry, Event as AnyEvent};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// All acknowledged answers, in the order of the log.
#[derive(Default)]
pub(crate) struct Acks {
    acks: Vec<Ack>,
    keys: Vec<(Fingerprint, Ack)>,
    campaigns: Vec<String>,
    orders: OrderAcks,
    files: Vec<PathBuf>,
    /// Last lines that were cut short: whoever wrote them was stopped in the middle.
    pub cut_short: u64,
    checked: usize,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line<'a> {
    action: Action,
    status: u16,
    #[serde(borrow)]
    campaign: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    member: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    coupon: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    code: std::borrow::Cow<'a, str>,
    seq: u64,
    #[serde(borrow, default)]
    key: Option<std::borrow::Cow<'a, str>>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Issue,
    Hold,
    Redeem,
    Release,
    Revoke,
}

/// One answer, in few bytes: there may be tens of millions.
#[derive(Clone, Copy, PartialEq)]
struct Ack {
    seq: u64,
    n: u64,
    campaign: u32,
    line: u32,
    file: u16,
    action: Action,
    member: Fingerprint,
    code: CouponCode,
}

impl Acks {
    /// Reads `files`.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut all = Self { files: files.to_vec(), ..Self::default() };
        let mut numbers = BTreeMap::new();
        for (file, path) in (0..).zip(files) {
            all.read_file(file, path, &mut numbers)?;
        }
        all.acks.sort_unstable_by_key(|ack| ack.seq);
        all.orders.sort();
        Ok(all)
    }

    /// How many answers there are.
    pub(crate) fn len(&self) -> usize {
        self.acks.len() + self.orders.len()
    }

    /// Checks the answers that name the event at `seq`, right after the book has followed it.
    pub(crate) fn check(&mut self, seq: u64, entry: &Entry, book: &mut Book) {
        while let Some(ack) = self.acks.get(self.checked).copied().filter(|ack| ack.seq <= seq) {
            self.checked += 1;
            if ack.seq < seq || !self.holds(&ack, entry, book) {
                let what = format!("acknowledged and not there: {}", self.describe(&ack));
                book.findings.add(ack.seq, Kind::Missing, what);
            }
        }
        for (seq, kind, what, at) in self.orders.check(seq, book) {
            book.findings.add(seq, kind, format!("{what} ({})", self.place(at)));
        }
    }

    /// Notes the answers that lie beyond the log, and those that differ although their key is the same.
    pub(crate) fn close(&mut self, head: u64, book: &mut Book) {
        for ack in &self.acks[self.checked..] {
            let what = format!("acknowledged, but the log ends at {head}: {}", self.describe(ack));
            book.findings.add(ack.seq, Kind::Missing, what);
        }
        for (seq, kind, what, at) in self.orders.close(head) {
            book.findings.add(seq, kind, format!("{what} ({})", self.place(at)));
        }
        self.keys.sort_unstable_by_key(|(key, ack)| (*key, ack.action, ack.file, ack.line));
        for pair in self.keys.windows(2) {
            let ((key, a), (other, b)) = (&pair[0], &pair[1]);
            let same =
                (a.seq, a.n, a.campaign, a.member, a.code) == (b.seq, b.n, b.campaign, b.member, b.code);
            if key == other && a.action == b.action && !same {
                let what = format!("one key, two answers: {} and {}", self.describe(a), self.describe(b));
                book.findings.add(b.seq, Kind::AnswersDiffer, what);
            }
        }
    }

    /// Whether the log has what `ack` says.
    fn holds(&self, ack: &Ack, entry: &Entry, book: &Book) -> bool {
        let Some((id, coupon)) = book.coupon(&self.campaigns[ack.campaign as usize], ack.n) else {
            return false;
        };
        let code = book.codes().map(|codes| codes.code(id));
        if coupon.member != ack.member || code != Some(ack.code) {
            return false;
        }
        if event_of(entry) == Some((ack.action, id)) {
            return true;
        }
        // What had been done before is answered without a new event, with the position the log had then.
        match ack.action {
            Action::Issue => false,
            Action::Hold => coupon.was_held || coupon.state == State::Redeemed,
            Action::Redeem => coupon.state == State::Redeemed,
            Action::Release => !matches!(coupon.state, State::Held | State::Redeemed),
            Action::Revoke => coupon.state == State::Revoked,
        }
    }

    fn place(&self, (file, line): At) -> String {
        format!("{} line {line}", self.files[usize::from(file)].display())
    }

    fn describe(&self, ack: &Ack) -> String {
        let (file, campaign) =
            (self.files[usize::from(ack.file)].display(), &self.campaigns[ack.campaign as usize]);
        format!("{:?} of {campaign}-{} at {} ({file} line {})", ack.action, ack.n, ack.seq, ack.line)
    }

    fn read_file(
        &mut self,
        file: u16,
        path: &Path,
        numbers: &mut BTreeMap<String, u32>,
    ) -> Result<(), Failure> {
        let opened = File::open(path);
        let opened =
            opened.map_err(|error| Failure::usage(format!("opening {}: {error}", path.display())))?;
        let mut reader = BufReader::with_capacity(1 << 20, opened);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let read = reader.read_until(b'\n', &mut text);
            let read =
                read.map_err(|error| Failure::environment(format!("reading {}: {error}", path.display())))?;
            if read == 0 {
                return Ok(());
            }
            match parse(&text) {
                Ok(parsed) => self.push(&parsed, file, line, numbers),
                Err(_) if self.orders.push(&text, (file, line)).is_ok() => {}
                Err(_) if !text.ends_with(b"\n") => self.cut_short += 1,
                Err(why) => {
                    return Err(Failure::usage(format!(
                        "{} line {line} is no acknowledged answer: {why}",
                        path.display()
                    )));
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, parsed: &Parsed<'_>, file: u16, line: u32, numbers: &mut BTreeMap<String, u32>) {
        let Parsed { line: text, n, code } = parsed;
        let campaign = match numbers.get(&*text.campaign) {
            Some(number) => *number,
            None => {
                let number = self.campaigns.len() as u32;
                self.campaigns.push(text.campaign.to_string());
                numbers.insert(text.campaign.to_string(), number);
                number
            }
        };
        let member = fingerprint(&text.member);
        let ack =
            Ack { seq: text.seq, n: *n, campaign, line, file, action: text.action, member, code: *code };
        self.acks.push(ack);
        if let Some(key) = &text.key {
            self.keys.push((fingerprint(key), ack));
        }
    }
}

struct Parsed<'a> {
    line: Line<'a>,
    n: u64,
    code: CouponCode,
}

fn parse(text: &[u8]) -> Result<Parsed<'_>, String> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if !matches!(line.status, 200 | 201) {
        return Err(format!("status {} acknowledges nothing", line.status));
    }
    let n = line.coupon.strip_prefix(&*line.campaign).and_then(|rest| rest.strip_prefix('-'));
    let n = n.and_then(|n| n.parse().ok()).ok_or("coupon must be CAMPAIGN-NUMBER")?;
    let code = CouponCode::parse(&line.code).map_err(|error| error.to_string())?;
    Ok(Parsed { line, n, code })
}

fn event_of(entry: &Entry) -> Option<(Action, CouponId)> {
    let AnyEvent::Coupon(event) = &entry.event else { return None };
    match event {
        Event::CouponIssued { coupon, .. } => Some((Action::Issue, *coupon)),
        Event::CouponHeld { coupon, .. } => Some((Action::Hold, *coupon)),
        Event::CouponRedeemed { coupon, .. } => Some((Action::Redeem, *coupon)),
        Event::CouponReleased { coupon, .. } => Some((Action::Release, *coupon)),
        Event::CouponRevoked { coupon, .. } => Some((Action::Revoke, *coupon)),
        _ => None,
    }
}
