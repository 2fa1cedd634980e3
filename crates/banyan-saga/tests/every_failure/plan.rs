//! What goes wrong in one run, and the run.

use crate::shop::{Shop, actor, reason};
use banyan_domain::Millis;
use banyan_domain::saga::{self, Ask, OpenAsk, Request, Resume, Settlement};

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// These are refused, by the store or by whom they are asked of, until an operator has seen to it.
    pub(crate) refused: Vec<(usize, Ask)>,
    /// This one, counted from 0, of all that is asked outside, goes wrong in this way.
    pub(crate) wrong: Option<(usize, Wrong)>,
    /// Every request arrives twice, and every answer.
    pub(crate) twice: bool,
    /// How much was asked outside.
    pub(crate) asked: usize,
    /// How often an operator had to look.
    pub(crate) parked: usize,
}

/// How one request goes wrong. With `true` its participant hears of it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The answer is that nobody knows.
    Unknown(bool),
    /// No answer comes.
    Silence(bool),
    /// It does not arrive, and the sender knows.
    NotSent,
    /// The participant waits for somebody, who comes.
    Waiting,
}

impl Wrong {
    pub(crate) const ALL: [Self; 6] = [
        Self::Unknown(false),
        Self::Unknown(true),
        Self::Silence(false),
        Self::Silence(true),
        Self::NotSent,
        Self::Waiting,
    ];
}

impl Plan {
    pub(crate) fn refuses(&self, step: usize, ask: Ask) -> bool {
        self.refused.contains(&(step, ask))
    }
}

impl Shop {
    /// Goes on until the saga is over: the services answer as planned, and an operator, who mends what was refused, lets it be
    /// tried again whenever it is parked.
    #[track_caller]
    pub(crate) fn carry_to_its_end(&mut self) {
        for _ in 0..500 {
            for open in self.state.sagas().open_asks() {
                let request = self.state.sagas().request(self.state.keys(), open);
                if let Some(request) = request {
                    self.answer(open, &request);
                }
            }
            if let Some(park) = &self.saga().parked {
                // What the step itself was refused is mended; an undo of another is not.
                let place = usize::from(park.step);
                self.plan.parked += 1;
                assert!(self.plan.parked < 10, "it is parked again and again: {:#?}", self.saga());
                let forward = self.saga().phase == saga::Phase::Running;
                self.plan.refused.retain(|(step, ask)| *step != place || (*ask == Ask::Undo) == forward);
                let (mark, how) = (self.saga().mark(), Resume::Retry);
                self.ask(saga::Command::Resume { saga: self.no, mark, how, by: actor(), reason: reason() });
                continue;
            }
            if self.saga().is_over() {
                return;
            }
            self.pass(Millis::from_seconds(5));
        }
        panic!("it never ends: {:#?}", self.saga());
    }

    fn answer(&mut self, open: OpenAsk, request: &Request) {
        let nth = self.plan.asked;
        self.plan.asked += 1;
        if self.plan.refuses(usize::from(open.step), open.ask) {
            self.settle(open, Settlement::Refused("planted".into()));
            return;
        }
        match self.plan.wrong.filter(|(wrong, _)| *wrong == nth).map(|(_, how)| how) {
            Some(Wrong::Unknown(heard)) => {
                let _lost = heard.then(|| self.partner.does(request));
                self.settle(open, Settlement::Unknown("planted".into()));
            }
            Some(Wrong::Silence(heard)) => {
                let _lost = heard.then(|| self.partner.does(request));
                self.pass(request.timeout);
            }
            Some(Wrong::NotSent) => self.settle(open, Settlement::NotSent("planted".into())),
            Some(Wrong::Waiting) if open.ask != Ask::Undo => {
                let until = self.state.time().plus(Millis::from_seconds(60));
                let said = match self.partner.does(request) {
                    Settlement::Done(said) => said,
                    other => return self.settle(open, other),
                };
                self.settle(open, Settlement::Awaiting(said, until));
            }
            _ => {
                let result = self.partner.does(request);
                if self.plan.twice {
                    assert_eq!(self.partner.does(request), result, "the same key has the same answer");
                    self.settle(open, result.clone());
                }
                self.settle(open, result);
            }
        }
    }
}
