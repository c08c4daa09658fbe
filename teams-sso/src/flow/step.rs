use super::{
    Answer, CardReason, CardRefusal, Completed, Effect, End, Event, Exchanged, Flow, Parked, Pending, Redeemed,
    Refusal, Rules, Tell,
};
use crate::SignInFailureCode;

/// What a step comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What becomes of the state.
    pub(crate) next: Next,
    /// What is to be done once that is written.
    pub(crate) effects: Vec<Effect>,
}

/// What becomes of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It stays.
    Keep,
    /// This is written.
    Set(Flow),
}

/// One step. `now` is in Unix seconds. Events that do not fit the state change nothing.
pub(crate) fn step(flow: Option<Flow>, event: Event, now: i64, rules: &Rules) -> Step {
    let machine = Machine { now, rules };
    match flow {
        Some(Flow::Pending(pending)) if comes_from_outside(&event) && pending.is_over(now, rules) => {
            machine.timed_out(pending.attempts_left, event)
        }
        Some(Flow::Pending(pending)) => machine.pending(pending, event),
        Some(Flow::Completed(completed)) => machine.completed(completed, event),
        Some(Flow::Ended { why, attempts_left }) => machine.ended(why, attempts_left, event),
        None => machine.unknown(event),
    }
}

struct Machine<'a> {
    now: i64,
    rules: &'a Rules,
}

impl Machine<'_> {
    fn unknown(&self, event: Event) -> Step {
        match event {
            Event::Wanted(parked) => self.begin(parked),
            // State can be lost; the token is the user's all the same.
            Event::Exchange { .. } => keep(vec![Effect::Exchange]),
            Event::Code => keep(vec![Effect::Redeem]),
            Event::Exchanged { id, outcome: Exchanged::Token } => signed_in(vec![id], Answer::Done),
            Event::Redeemed(Redeemed::Token) => signed_in(Vec::new(), Answer::Seen),
            Event::Redeemed(Redeemed::Wrong) => {
                let attempts_left = self.rules.attempts.saturating_sub(1);
                set(Flow::Ended { why: End::Unknown, attempts_left }, vec![Effect::Answer(Answer::BadCode)])
            }
            event => otherwise(&event),
        }
    }

    fn pending(&self, pending: Pending, event: Event) -> Step {
        match event {
            Event::Wanted(turn) => {
                let mut effects = Vec::new();
                if !pending.card_shown {
                    effects.push(Effect::ShowCard(CardReason::Needed));
                }
                if turn.id != pending.parked.id {
                    effects.push(Effect::Tell(Tell::InProgress));
                }
                keep(effects)
            }
            Event::Found { turn } => complete(pending.parked, None, |parked| match parked.id == turn {
                true => vec![Effect::Resume(parked), Effect::Yield],
                false => vec![Effect::Resume(parked)],
            }),
            Event::CardShown => set(Flow::Pending(Pending { card_shown: true, ..pending }), Vec::new()),
            Event::CardRefused(_) if pending.card_shown => keep(Vec::new()),
            Event::CardRefused(refusal) => {
                let tell = match refusal {
                    CardRefusal::TooMany => Some(Tell::TooManyCards),
                    CardRefusal::Rejected => Some(Tell::CardRejected),
                    CardRefusal::NotPrivate => Some(Tell::NotPrivate),
                    CardRefusal::Failed => None,
                };
                let next = match pending.button_only {
                    // The first card is still there, and so is its button.
                    true => Flow::Pending(Pending { card_shown: true, ..pending }),
                    false => Flow::Ended { why: End::NoCard, attempts_left: pending.attempts_left },
                };
                set(next, tell.map(Effect::Tell).into_iter().collect())
            }
            Event::Exchange { .. } => keep(vec![Effect::Exchange]),
            Event::Exchanged { id, outcome: Exchanged::Token } => {
                complete(pending.parked, Some(id), |parked| vec![Effect::Resume(parked), Effect::Answer(Answer::Done)])
            }
            Event::Exchanged { outcome: Exchanged::Refused(refusal), .. }
            | Event::Redeemed(Redeemed::Refused(refusal)) => {
                told(pending, Tell::Refused(refusal), Answer::Refused(refusal))
            }
            Event::Code => keep(vec![Effect::Redeem]),
            Event::Redeemed(Redeemed::Token) => {
                complete(pending.parked, None, |parked| vec![Effect::Resume(parked), Effect::Answer(Answer::Seen)])
            }
            Event::Redeemed(Redeemed::Wrong) => match pending.attempts_left.saturating_sub(1) {
                0 => set(
                    Flow::Ended { why: End::TooManyAttempts, attempts_left: 0 },
                    vec![Effect::Tell(Tell::TooManyAttempts), Effect::Answer(Answer::BadCode)],
                ),
                attempts_left => set(
                    Flow::Pending(Pending { attempts_left, ..pending }),
                    vec![Effect::Tell(Tell::BadCode(attempts_left)), Effect::Answer(Answer::BadCode)],
                ),
            },
            Event::Cancelled => set(
                Flow::Ended { why: End::Cancelled, attempts_left: pending.attempts_left },
                vec![Effect::Tell(Tell::Cancelled), Effect::Answer(Answer::Seen)],
            ),
            Event::ClientFailed(code) => client_failed(pending, code),
            event @ (Event::Exchanged { .. } | Event::Redeemed(_) | Event::Resumed { .. }) => otherwise(&event),
        }
    }

    fn completed(&self, completed: Completed, event: Event) -> Step {
        let resume = completed.parked.clone().map(Effect::Resume);
        let and = |effect: Effect| match resume.clone() {
            Some(resume) => vec![resume, effect],
            None => vec![effect],
        };
        match event {
            // The message was handed over, and this is the same message again after a crash.
            Event::Wanted(turn) if completed.resumed.as_deref() == Some(&turn.id) => keep(vec![Effect::Yield]),
            Event::Wanted(turn) => match completed.parked {
                None => self.begin(turn),
                // Signed in and out again before the queue had the message: the older one keeps its place.
                Some(parked) => {
                    let tell = (parked.id != turn.id).then_some(Effect::Tell(Tell::InProgress));
                    let mut step = self.begin(parked);
                    step.effects.extend(tell);
                    step
                }
            },
            Event::Found { turn } => {
                let own = completed.parked.as_ref().map(|parked| &parked.id).or(completed.resumed.as_ref());
                match own == Some(&turn) {
                    true => keep(and(Effect::Yield)),
                    false => keep(resume.into_iter().collect()),
                }
            }
            Event::Exchange { id } if completed.has(&id) => keep(and(Effect::Answer(Answer::Seen))),
            Event::Exchange { .. } => keep(vec![Effect::Exchange]),
            Event::Exchanged { id, outcome: Exchanged::Token } => {
                let effects = and(Effect::Answer(Answer::Seen));
                match completed.has(&id) {
                    true => keep(effects),
                    false => set(Flow::Completed(completed.and(id)), effects),
                }
            }
            // Another client of the user got through with this very exchange.
            Event::Exchanged { id, .. } if completed.has(&id) => keep(and(Effect::Answer(Answer::Seen))),
            Event::Code | Event::Redeemed(_) | Event::Cancelled | Event::ClientFailed(_) => {
                keep(and(Effect::Answer(Answer::Seen)))
            }
            Event::Resumed { id } => match completed.parked {
                Some(parked) if parked.id == id => {
                    set(Flow::Completed(Completed { parked: None, resumed: Some(id), ..completed }), Vec::new())
                }
                _ => keep(Vec::new()),
            },
            event @ (Event::CardShown | Event::CardRefused(_) | Event::Exchanged { .. }) => otherwise(&event),
        }
    }

    fn ended(&self, why: End, attempts_left: u8, event: Event) -> Step {
        match (why, event) {
            (_, Event::Wanted(parked)) => self.begin(parked),
            (End::Unknown, Event::Exchange { .. }) => keep(vec![Effect::Exchange]),
            (End::Unknown, Event::Exchanged { id, outcome: Exchanged::Token }) => signed_in(vec![id], Answer::Done),
            (End::Unknown, Event::Redeemed(Redeemed::Token)) => signed_in(Vec::new(), Answer::Seen),
            (End::TimedOut, Event::Exchange { .. }) => keep(vec![Effect::Answer(Answer::Refused(Refusal::TimedOut))]),
            (_, Event::Exchange { .. }) => keep(vec![Effect::Answer(Answer::Refused(Refusal::NoFlow))]),
            (End::TimedOut, Event::Code) => keep(vec![Effect::Answer(Answer::Seen)]),
            (_, Event::Code) if attempts_left == 0 => keep(vec![Effect::Answer(Answer::BadCode)]),
            // The button of the card still works; only the message is gone.
            (_, Event::Code) => keep(vec![Effect::Redeem]),
            (_, Event::Redeemed(Redeemed::Token)) => {
                keep(vec![Effect::Tell(Tell::SignedIn), Effect::Answer(Answer::Seen)])
            }
            (_, Event::Redeemed(Redeemed::Wrong)) => {
                let attempts_left = attempts_left.saturating_sub(1);
                set(Flow::Ended { why, attempts_left }, vec![Effect::Answer(Answer::BadCode)])
            }
            (_, Event::Exchanged { outcome: Exchanged::Token, .. }) => keep(vec![Effect::Answer(Answer::Done)]),
            (_, event) => otherwise(&event),
        }
    }

    /// A sign-in that waited too long ends with the first event that comes after.
    fn timed_out(&self, attempts_left: u8, event: Event) -> Step {
        // A message starts anew or is answered.
        let silent = matches!(event, Event::Wanted(_) | Event::Found { .. });
        let mut step = self.ended(End::TimedOut, attempts_left, event);
        if !silent {
            step.effects.insert(0, Effect::Tell(Tell::TimedOut));
        }
        if step.next == Next::Keep {
            step.next = Next::Set(Flow::Ended { why: End::TimedOut, attempts_left });
        }
        step
    }

    fn begin(&self, parked: Parked) -> Step {
        set(Flow::Pending(Pending::new(parked, self.now, self.rules)), vec![Effect::ShowCard(CardReason::Needed)])
    }
}

/// Whether an event is news, and not the outcome of an effect: only news ends a sign-in that took too long.
const fn comes_from_outside(event: &Event) -> bool {
    matches!(
        event,
        Event::Wanted(_)
            | Event::Found { .. }
            | Event::Exchange { .. }
            | Event::Code
            | Event::Cancelled
            | Event::ClientFailed(_)
    )
}

/// What every state does with what concerns it no more.
fn otherwise(event: &Event) -> Step {
    let answer = match event {
        Event::Exchanged { outcome: Exchanged::Token, .. } => Answer::Done,
        Event::Exchanged { outcome: Exchanged::Consent, .. } => Answer::Consent,
        Event::Exchanged { outcome: Exchanged::Transient, .. } | Event::Redeemed(Redeemed::Transient) => {
            Answer::TryAgain
        }
        Event::Exchanged { outcome: Exchanged::Refused(refusal), .. } | Event::Redeemed(Redeemed::Refused(refusal)) => {
            Answer::Refused(*refusal)
        }
        Event::Redeemed(Redeemed::Wrong) => Answer::BadCode,
        Event::Exchange { .. } => Answer::Refused(Refusal::NoFlow),
        Event::Redeemed(Redeemed::Token) | Event::Code | Event::Cancelled | Event::ClientFailed(_) => Answer::Seen,
        Event::Wanted(_) | Event::Found { .. } | Event::CardShown | Event::CardRefused(_) | Event::Resumed { .. } => {
            return keep(Vec::new());
        }
    };
    keep(vec![Effect::Answer(answer)])
}

fn client_failed(pending: Pending, code: SignInFailureCode) -> Step {
    let seen = Effect::Answer(Answer::Seen);
    // Teams shows the user what to do.
    if code == SignInFailureCode::USER_CONSENT_REQUIRED || code == SignInFailureCode::INTERACTION_REQUIRED {
        return keep(vec![seen]);
    }
    if code == SignInFailureCode::INSTALL_APP_FAILED {
        return told(pending, Tell::InstallApp, Answer::Seen);
    }
    // Once: a card with a button only cannot fail this way, so this is the next client with the first card.
    if pending.button_only && pending.card_shown {
        return keep(vec![seen]);
    }
    set(
        Flow::Pending(Pending { button_only: true, card_shown: false, ..pending }),
        vec![Effect::ShowCard(CardReason::ClientFailed(code)), seen],
    )
}

/// Tells the user once in a sign-in that something is wrong.
fn told(pending: Pending, tell: Tell, answer: Answer) -> Step {
    if pending.told {
        return keep(vec![Effect::Answer(answer)]);
    }
    set(Flow::Pending(Pending { told: true, ..pending }), vec![Effect::Tell(tell), Effect::Answer(answer)])
}

fn complete(parked: Parked, exchange: Option<String>, effects: impl FnOnce(Parked) -> Vec<Effect>) -> Step {
    let exchanges = exchange.into_iter().collect();
    set(Flow::Completed(Completed { exchanges, parked: Some(parked.clone()), resumed: None }), effects(parked))
}

/// Signed in although no message waits.
fn signed_in(exchanges: Vec<String>, answer: Answer) -> Step {
    set(
        Flow::Completed(Completed { exchanges, ..Completed::default() }),
        vec![Effect::Tell(Tell::SignedIn), Effect::Answer(answer)],
    )
}

fn keep(effects: Vec<Effect>) -> Step {
    Step { next: Next::Keep, effects }
}

fn set(flow: Flow, effects: Vec<Effect>) -> Step {
    Step { next: Next::Set(flow), effects }
}
