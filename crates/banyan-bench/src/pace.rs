//! Moments at a fixed rate, whatever else happens. The runtime's own timers have steps of 1 ms, which is as much as a proxy adds;
//! the kernel's timer descriptors keep to some tens of microseconds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use crate::{Failure, failed};

/// Moments closer together than this come in groups.
const STEP_MIN: Duration = Duration::from_micros(50);

/// Numbers moments from 0, and gives each out when it has come.
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    start: Instant,
    rate: f64,
    given: u64,
    all: u64,
}

impl Pacer {
    /// `rate` moments a second from now on, for `duration`. To be called within a runtime.
    pub(crate) fn start(rate: f64, duration: Duration) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| failed("making a timer", e);
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        let timer = timer.map_err(|e| failed(e.into()))?;
        let step = Duration::from_secs_f64(1.0 / rate).max(STEP_MIN);
        let step = Timespec {
            tv_sec: i64::try_from(step.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(step.subsec_nanos()),
        };
        let every = Itimerspec { it_interval: step, it_value: step };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every).map_err(|e| failed(e.into()))?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that is owned; what is to replace it is unsafe to call"
        )]
        let timer = AsyncFd::new(timer).map_err(failed)?;
        let all = (rate * duration.as_secs_f64()).ceil() as u64;
        Ok(Self { timer, start: Instant::now(), rate, given: 0, all })
    }

    /// Waits for the next moment, and gives it with all that have come by then; nothing after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Range<u64>>, Failure> {
        while self.given < self.all {
            let come = (self.start.elapsed().as_secs_f64() * self.rate) as u64 + 1;
            let come = come.min(self.all);
            if come > self.given {
                return Ok(Some(std::mem::replace(&mut self.given, come)..come));
            }
            let waiting = |e: std::io::Error| failed("waiting for a timer", e);
            let mut ready = self.timer.readable().await.map_err(waiting)?;
            // An error of the outer kind says that it was not ready after all.
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0_u8; 8])?)) {
                read.map_err(waiting)?;
            }
        }
        Ok(None)
    }

    /// When the moment with this number is.
    pub(crate) fn moment(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// Numbered work at a fixed rate for several takers on one thread: whoever is free takes what is due next, and who was free for
/// longest is first.
pub(crate) struct Turns {
    /// Due and not taken: its number, and since when.
    due: RefCell<VecDeque<(u64, Instant)>>,
    /// As many permits as there is work due; at the end one more for each taker, so that it looks and ends.
    room: Semaphore,
}

impl Turns {
    /// Nothing is due yet.
    pub(crate) fn new() -> Self {
        Self { due: RefCell::default(), room: Semaphore::new(0) }
    }

    /// Hands work out at `rate` a second, for `duration`, to this many takers; ends when all of it is handed out.
    pub(crate) async fn hand_out(&self, rate: f64, duration: Duration, takers: usize) -> Result<(), Failure> {
        let mut pacer = Pacer::start(rate, duration)?;
        while let Some(come) = pacer.next().await? {
            let count = (come.end - come.start) as usize;
            self.due.borrow_mut().extend(come.map(|number| (number, pacer.moment(number))));
            self.room.add_permits(count);
        }
        self.room.add_permits(takers);
        Ok(())
    }

    /// What is due next, and since when; nothing after the last. Each taker stops asking then.
    pub(crate) async fn next(&self) -> Option<(u64, Instant)> {
        self.room.acquire().await.ok()?.forget();
        self.due.borrow_mut().pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_moment_comes_once_and_none_before_its_time() {
        let mut pacer = Pacer::start(2_000.0, Duration::from_millis(50)).expect("a timer");
        let mut next = 0;
        while let Some(come) = pacer.next().await.expect("a moment") {
            assert_eq!(come.start, next);
            assert!(Instant::now() >= pacer.moment(come.end - 1), "{come:?}");
            next = come.end;
        }
        assert_eq!(next, 100);
    }

    #[tokio::test]
    async fn all_work_is_taken_once_and_every_taker_ends() {
        let turns = Turns::new();
        let taken = RefCell::new(Vec::new());
        let taker = async || {
            while let Some((number, since)) = turns.next().await {
                assert!(since <= Instant::now());
                taken.borrow_mut().push(number);
                tokio::task::yield_now().await;
            }
        };
        let handed_out = turns.hand_out(5_000.0, Duration::from_millis(20), 3);
        let (handed_out, ..) = tokio::join!(handed_out, taker(), taker(), taker());
        handed_out.expect("handed out");
        taken.borrow_mut().sort_unstable();
        assert_eq!(*taken.borrow(), (0..100).collect::<Vec<_>>());
    }
}
