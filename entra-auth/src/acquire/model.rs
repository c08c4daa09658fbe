//! Goal G16: every interleaving of three callers with three operations each, on the real desk and the real cache.
//!
//! The parts are those of production; one step here is one stretch of [`Engine`](super::engine::Engine) between two
//! places where another thread can come in, in the same order as there. What a step leads to is explored for every order
//! of steps and every outcome of a load; stretches that nobody else can notice the end of are one step. An own explorer
//! instead of loom: the shared state is locked, not atomic, so the order of locked stretches is all that can differ, and
//! this runs with the ordinary tests. Each rule is taken away once, to see that the model notices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests alone

use std::{
    collections::{HashSet, VecDeque},
    hash::{Hash, Hasher},
};

use time::OffsetDateTime;

use super::{
    cache::{Look, TokenCache},
    cache_key::{CacheKey, Subject},
};
use crate::{
    AccessToken, Error, ErrorKind, UserKey,
    flight::{Boarding, Desk},
};

const CALLERS: usize = 3;
const OPERATIONS: u8 = 3;
/// Of all operations, as many at most are sign-outs; the others are calls. A second one brings no new situation: all that
/// counts is whether something is from before the last.
const SIGN_OUTS: u8 = 1;
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const TENANT: &str = "11111111-1111-1111-1111-111111111111";

/// Which rule is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// The sign-outs are looked up before the lock under which the token is stored.
    EpochBeforeStore,
    /// Flights from before a sign-out can be boarded after it.
    KeyWithoutEpoch,
    /// Who begins a flight does not look into the cache again.
    NoSecondLook,
    /// The landing is announced before the seat is given back.
    NewsBeforeSeat,
    /// A panic leaves the seat taken.
    SeatKeptOnPanic,
    /// A failure is told to those who wait, and not remembered.
    FailureForgotten,
    /// When the last caller goes away, so does the load.
    LeavingCancels,
    /// A sign-out forgets the tokens first and is known after.
    ForgetBeforeEpoch,
}

/// The flight of which boards and callers speak.
type Number = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Caller {
    Idle,
    /// Has read the user's sign-outs, found nothing in the cache, and goes to the desk.
    Counted {
        epoch: u64,
    },
    Waits {
        flight: Number,
    },
    /// Signs the user out; the first of three steps is done, and gave this epoch.
    Departed {
        epoch: u64,
    },
    /// The second step is done: the tokens are forgotten.
    Forgot {
        epoch: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Boarded,
    Loading,
    /// Only of the mutant that looks up the sign-outs too early.
    Judged(Outcome, bool),
    /// With what those who wait will be told.
    Kept(Told),
    /// Only of the mutants: the seat is still taken, and nobody will give it back, or only later.
    Announced(Told),
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Token,
    /// An error, or a panic, of which the task makes one.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    /// A token that was fetched under this epoch.
    Token(u64),
    Refused,
    SignedOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flight {
    /// Of its key.
    epoch: u64,
    stage: Stage,
}

/// All that a step can change.
#[derive(Clone)]
struct World {
    mutant: Mutant,
    /// What the cache says. The cache itself is brought into this state before each change.
    cached: Option<Told>,
    /// The user's sign-outs, as the book counts them.
    epoch: u64,
    desk: Desk<u64, Number>,
    callers: [Caller; CALLERS],
    left: [u8; CALLERS],
    /// For each caller, the epoch when its present call began, and the last sign-out that was complete then.
    since: [(u64, u64); CALLERS],
    /// The last sign-out that is complete.
    complete: u64,
    flights: Vec<Flight>,
    loads: u8,
    sign_outs: u8,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(usize),
    SignOut(usize),
    /// The next stretch of what the caller has begun.
    Go(usize),
    /// The caller's future is dropped.
    Leave(usize),
    Fly(Number),
    Load(Number, Outcome),
}

fn user() -> UserKey {
    UserKey::assume_verified(TENANT.parse().unwrap(), TENANT.parse().unwrap())
}

/// Of the cache, the same for all: the epoch is not in it.
fn key() -> CacheKey {
    let subject = Subject::OnBehalfOf { user: user(), assertion: [1; 32] };
    CacheKey::new(Some(TENANT.parse().unwrap()), subject, "a".parse().unwrap(), None)
}

struct Fixed {
    user: UserKey,
    key: CacheKey,
    refusal: Error,
    cache: TokenCache,
}

impl Fixed {
    fn look(&self) -> Option<Told> {
        match self.cache.look(&self.key, NOW, None) {
            Look::Fresh(token) | Look::Aging(token) => Some(Told::Token(token.expose().parse().unwrap())),
            Look::Gated(_) => Some(Told::Refused),
            Look::Miss => None,
        }
    }

    /// Brings the cache into a state.
    fn restore(&self, cached: Option<Told>) {
        self.cache.forget(&self.user);
        match cached {
            Some(Told::Token(epoch)) => drop(self.store(epoch, &|| true)),
            Some(Told::Refused) => drop(self.fail(&|| true)),
            Some(Told::SignedOut) | None => {}
        }
        assert_eq!(self.look(), cached);
    }

    fn store(&self, epoch: u64, is_wanted: &dyn Fn() -> bool) -> bool {
        let token = AccessToken::new(epoch.to_string(), NOW + time::Duration::hours(1)).unwrap();
        self.cache.store(&self.key, &token, NOW, is_wanted)
    }

    fn fail(&self, is_wanted: &dyn Fn() -> bool) -> bool {
        self.cache.fail(&self.key, &self.refusal, false, NOW, is_wanted)
    }

    fn forget(&self, cached: Option<Told>) -> Option<Told> {
        self.restore(cached);
        self.cache.forget(&self.user);
        self.look()
    }
}

impl World {
    fn new(mutant: Mutant) -> Self {
        Self {
            mutant,
            cached: None,
            epoch: 0,
            desk: Desk::default(),
            callers: [Caller::Idle; CALLERS],
            left: [OPERATIONS; CALLERS],
            since: [(0, 0); CALLERS],
            complete: 0,
            flights: Vec::new(),
            loads: 0,
            sign_outs: 0,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (at, caller) in self.callers.iter().enumerate() {
            match caller {
                Caller::Idle if self.left[at] > 0 => {
                    steps.push(Step::Get(at));
                    if self.sign_outs < SIGN_OUTS {
                        steps.push(Step::SignOut(at));
                    }
                }
                Caller::Idle => {}
                Caller::Counted { .. } | Caller::Departed { .. } | Caller::Forgot { .. } => {
                    steps.push(Step::Go(at));
                }
                Caller::Waits { .. } => steps.push(Step::Leave(at)),
            }
        }
        for (number, flight) in self.flights.iter().enumerate() {
            match flight.stage {
                Stage::Announced(_) if self.mutant == Mutant::NewsBeforeSeat => steps.push(Step::Fly(number)),
                Stage::Announced(_) | Stage::Cancelled => {}
                Stage::Loading => {
                    steps.extend([Outcome::Token, Outcome::Refused].map(|end| Step::Load(number, end)));
                }
                _ => steps.push(Step::Fly(number)),
            }
        }
        steps
    }

    /// One step. `Err` when a promise is broken.
    fn take(&mut self, step: Step, fixed: &Fixed) -> Result<(), &'static str> {
        match step {
            Step::Get(at) => self.get(at)?,
            Step::SignOut(at) => {
                self.left[at] -= 1;
                self.sign_outs += 1;
                match self.mutant {
                    Mutant::ForgetBeforeEpoch => self.cached = fixed.forget(self.cached),
                    _ => self.epoch += 1,
                }
                self.callers[at] = Caller::Departed { epoch: self.epoch };
            }
            Step::Go(at) => self.go(at, fixed)?,
            Step::Leave(at) => self.leave(at),
            Step::Fly(number) => self.fly(number, fixed)?,
            Step::Load(number, outcome) => {
                let epoch = self.flights[number].epoch;
                self.flights[number].stage = match self.mutant {
                    Mutant::EpochBeforeStore => Stage::Judged(outcome, self.epoch == epoch),
                    _ => Stage::Kept(self.keep(epoch, outcome, None, fixed)),
                };
            }
        }
        self.judge()?;
        self.tidy();
        Ok(())
    }

    fn get(&mut self, at: usize) -> Result<(), &'static str> {
        self.left[at] -= 1;
        self.since[at] = (self.epoch, self.complete);
        match self.cached {
            Some(told) => self.answer(at, told),
            None => {
                let epoch = if self.mutant == Mutant::KeyWithoutEpoch { 0 } else { self.epoch };
                self.callers[at] = Caller::Counted { epoch };
                Ok(())
            }
        }
    }

    fn go(&mut self, at: usize, fixed: &Fixed) -> Result<(), &'static str> {
        match self.callers[at] {
            Caller::Counted { epoch } => {
                let next = self.flights.len();
                let flight = match self.desk.board(&epoch, || next) {
                    Boarding::Joined(flight) => flight,
                    Boarding::Leads(flight) => {
                        self.flights.push(Flight { epoch, stage: Stage::Boarded });
                        flight
                    }
                };
                if matches!(self.flights[flight].stage, Stage::Announced(_)) {
                    return Err("a flight was boarded that had landed");
                }
                self.callers[at] = Caller::Waits { flight };
            }
            Caller::Departed { epoch } if self.mutant == Mutant::ForgetBeforeEpoch => {
                self.epoch += 1;
                self.callers[at] = Caller::Forgot { epoch: epoch + 1 };
            }
            Caller::Departed { epoch } => {
                self.cached = fixed.forget(self.cached);
                self.callers[at] = Caller::Forgot { epoch };
            }
            Caller::Forgot { epoch } => {
                self.epoch += 1;
                self.complete = self.complete.max(epoch);
                self.callers[at] = Caller::Idle;
            }
            Caller::Idle | Caller::Waits { .. } => {}
        }
        Ok(())
    }

    fn leave(&mut self, at: usize) {
        let Caller::Waits { flight } = self.callers[at] else { return };
        self.callers[at] = Caller::Idle;
        let is_alone = !self.callers.contains(&Caller::Waits { flight });
        if self.mutant == Mutant::LeavingCancels && is_alone && self.flights[flight].stage == Stage::Loading {
            self.desk.land(&self.flights[flight].epoch);
            self.flights[flight].stage = Stage::Cancelled;
        }
    }

    /// A stretch of the task of a flight.
    fn fly(&mut self, number: Number, fixed: &Fixed) -> Result<(), &'static str> {
        let Flight { epoch, stage } = self.flights[number];
        self.flights[number].stage = match stage {
            Stage::Boarded => match self.cached {
                Some(told) if self.mutant != Mutant::NoSecondLook => Stage::Kept(told),
                _ => {
                    self.loads += 1;
                    let flies = |other: &Flight| other.epoch == epoch && other.stage == Stage::Loading;
                    if self.flights.iter().any(flies) {
                        return Err("two loads of one key at a time");
                    }
                    Stage::Loading
                }
            },
            Stage::Judged(outcome, wanted) => Stage::Kept(self.keep(epoch, outcome, Some(wanted), fixed)),
            // First the seat, then the news, and then everybody has heard it.
            Stage::Kept(told) => {
                let late = self.mutant == Mutant::NewsBeforeSeat;
                let never = self.mutant == Mutant::SeatKeptOnPanic && told == Told::Refused;
                if !late && !never {
                    self.desk.land(&epoch);
                }
                self.announce(number, told)?;
                Stage::Announced(told)
            }
            Stage::Announced(_) => {
                self.desk.land(&epoch);
                Stage::Cancelled
            }
            Stage::Loading | Stage::Cancelled => stage,
        };
        Ok(())
    }

    fn announce(&mut self, number: Number, told: Told) -> Result<(), &'static str> {
        for at in 0..CALLERS {
            if self.callers[at] == (Caller::Waits { flight: number }) {
                self.callers[at] = Caller::Idle;
                self.answer(at, told)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, epoch: u64, outcome: Outcome, judged: Option<bool>, fixed: &Fixed) -> Told {
        let now = self.epoch;
        let is_wanted = || match (judged, self.mutant) {
            (Some(wanted), _) => wanted,
            (None, Mutant::KeyWithoutEpoch) => now == 0,
            (None, _) => now == epoch,
        };
        fixed.restore(self.cached);
        let (is_kept, told) = match outcome {
            Outcome::Token => (fixed.store(epoch, &is_wanted), Told::Token(epoch)),
            Outcome::Refused if self.mutant == Mutant::FailureForgotten => (is_wanted(), Told::Refused),
            Outcome::Refused => (fixed.fail(&is_wanted), Told::Refused),
        };
        self.cached = fixed.look();
        if is_kept { told } else { Told::SignedOut }
    }

    /// What a caller gets must be from after the sign-outs that were complete when it called.
    fn answer(&self, at: usize, told: Told) -> Result<(), &'static str> {
        match told {
            Told::Token(epoch) if epoch < self.since[at].1 => Err("a token from before the sign-out"),
            Told::SignedOut if self.epoch == self.since[at].0 => {
                Err("told of a sign-out that was over when the call began")
            }
            _ => Ok(()),
        }
    }

    /// What holds after every step.
    fn judge(&self) -> Result<(), &'static str> {
        match self.cached {
            Some(Told::Token(old)) if old < self.complete => {
                return Err("a token of somebody who has signed out is in the cache");
            }
            _ => {}
        }
        if self.sign_outs == 0 && self.loads > 1 {
            return Err("a second load although the result of the first is known");
        }
        Ok(())
    }

    /// What holds when nothing can happen any more.
    fn judge_end(&self) -> Result<(), &'static str> {
        if self.callers.iter().any(|caller| *caller != Caller::Idle) {
            return Err("somebody waits for ever");
        }
        if self.desk.flights().next().is_some() {
            return Err("a seat is taken for ever");
        }
        if !self.flights.is_empty() {
            return Err("a flight never landed");
        }
        Ok(())
    }

    /// Forgets flights that concern nobody any more, so that the same situation is seen to be the same.
    fn tidy(&mut self) {
        let mut number = 0;
        while number < self.flights.len() {
            let is_over = matches!(self.flights[number].stage, Stage::Announced(_) | Stage::Cancelled);
            let waits = |caller: &Caller| *caller == Caller::Waits { flight: number };
            let is_listed = self.desk.flights().any(|(_, flight)| *flight == number);
            if !is_over || is_listed || self.callers.iter().any(waits) {
                number += 1;
                continue;
            }
            self.flights.remove(number);
            for caller in &mut self.callers {
                if let Caller::Waits { flight } = caller {
                    *flight -= usize::from(*flight > number);
                }
            }
            let flights: Vec<_> = self.desk.flights().map(|(epoch, flight)| (*epoch, *flight)).collect();
            for (epoch, flight) in flights {
                self.desk.land(&epoch);
                self.desk.board(&epoch, || flight - usize::from(flight > number));
            }
        }
    }

    /// Two worlds with the same digest have the same future. Callers are alike: their order does not matter.
    fn digest(&self) -> u64 {
        let since = |at: usize| match self.callers[at] {
            Caller::Counted { .. } | Caller::Waits { .. } => self.since[at],
            Caller::Idle | Caller::Departed { .. } | Caller::Forgot { .. } => (0, 0),
        };
        let mut callers: [_; CALLERS] = std::array::from_fn(|at| (self.callers[at], self.left[at], since(at)));
        callers.sort_unstable();
        let mut desk: Vec<_> = self.desk.flights().map(|(epoch, flight)| (*epoch, *flight)).collect();
        desk.sort_unstable();
        let whole = (
            callers,
            desk,
            &self.flights,
            self.cached,
            (self.epoch, self.complete),
            (self.sign_outs, self.loads.min(2)),
        );
        let mut hasher = std::hash::DefaultHasher::new();
        whole.hash(&mut hasher);
        hasher.finish()
    }
}

/// All worlds that can be reached. The number of them, or what broke and on which way.
fn explore(mutant: Mutant) -> Result<usize, (&'static str, Vec<Step>)> {
    // Remembered for longer than the test runs.
    let refusal = Error::new(ErrorKind::Throttled, "no").with_retry_after(Some(std::time::Duration::from_secs(3600)));
    let fixed = Fixed { user: user(), key: key(), refusal, cache: TokenCache::new(1 << 20) };
    let mut seen = HashSet::new();
    // The way to a world is a chain of steps, each with the number of the one before.
    let mut ways: Vec<(Step, usize)> = Vec::new();
    let way = |ways: &[(Step, usize)], mut at: usize| {
        let mut steps = Vec::new();
        while let Some((step, before)) = ways.get(at) {
            steps.push(*step);
            at = *before;
        }
        steps.reverse();
        steps
    };
    let mut open = VecDeque::from([(World::new(mutant), usize::MAX)]);
    while let Some((world, before)) = open.pop_front() {
        let steps = world.steps();
        if steps.is_empty() {
            world.judge_end().map_err(|broken| (broken, way(&ways, before)))?;
        }
        for step in steps {
            let mut next = world.clone();
            ways.push((step, before));
            if let Err(broken) = next.take(step, &fixed) {
                return Err((broken, way(&ways, ways.len() - 1)));
            }
            match seen.insert(next.digest()) {
                true => open.push_back((next, ways.len() - 1)),
                false => drop(ways.pop()),
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn every_interleaving_keeps_every_promise() {
    let worlds = explore(Mutant::None).unwrap_or_else(|(broken, way)| panic!("{broken}: {way:?}"));
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds}");
}

#[test]
fn every_rule_is_needed() {
    for mutant in [
        Mutant::EpochBeforeStore,
        Mutant::KeyWithoutEpoch,
        Mutant::NoSecondLook,
        Mutant::NewsBeforeSeat,
        Mutant::SeatKeptOnPanic,
        Mutant::FailureForgotten,
        Mutant::LeavingCancels,
        Mutant::ForgetBeforeEpoch,
    ] {
        let (broken, way) = explore(mutant).expect_err(&format!("{mutant:?} went unnoticed"));
        println!("{mutant:?}: {broken} after {} steps", way.len());
    }
}
