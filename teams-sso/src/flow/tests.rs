//! The tables of the protocol, row by row, and properties over any sequence of events.

use proptest::prelude::*;

use super::{step::Step, *};
use crate::SignInFailureCode;

const RULES: Rules = Rules { life: 900, attempts: 3 };

fn parked(id: &str) -> Parked {
    Parked { id: id.into(), record: "{}".into() }
}

fn pending() -> Pending {
    Pending { card_shown: true, ..Pending::new(parked("resume:1"), 0, &RULES) }
}

fn waiting() -> Option<Flow> {
    Some(Flow::Pending(pending()))
}

fn completed(exchanges: &[&str], parked: Option<Parked>, resumed: Option<&str>) -> Option<Flow> {
    let exchanges = exchanges.iter().map(|&id| id.into()).collect();
    Some(Flow::Completed(Completed { exchanges, parked, resumed: resumed.map(str::to_owned) }))
}

fn ended(why: End, attempts_left: u8) -> Option<Flow> {
    Some(Flow::Ended { why, attempts_left })
}

fn at(now: i64, flow: Option<Flow>, event: Event) -> (Option<Flow>, Vec<Effect>) {
    let Step { next, effects } = step(flow.clone(), event, now, &RULES);
    match next {
        Next::Keep => (flow, effects),
        Next::Set(flow) => (Some(flow), effects),
    }
}

fn after(flow: Option<Flow>, event: Event) -> (Option<Flow>, Vec<Effect>) {
    at(1, flow, event)
}

fn answer(answer: Answer) -> Effect {
    Effect::Answer(answer)
}

fn exchange() -> Event {
    Event::Exchange { id: "x".into() }
}

fn exchanged(outcome: Exchanged) -> Event {
    Event::Exchanged { id: "x".into(), outcome }
}

fn wanted(id: &str) -> Event {
    Event::Wanted(parked(id))
}

fn found(id: &str) -> Event {
    Event::Found { turn: id.into() }
}

fn failed(code: &SignInFailureCode) -> Event {
    Event::ClientFailed(code.clone())
}

/// Row 1: no token yet.
#[test]
fn a_message_without_a_token_is_parked_behind_a_card() {
    for before in [
        None,
        completed(&["x"], None, Some("resume:0")),
        ended(End::Cancelled, 3),
        ended(End::TimedOut, 3),
        ended(End::TooManyAttempts, 0),
        ended(End::NoCard, 3),
        ended(End::Unknown, 2),
    ] {
        let (flow, effects) = after(before.clone(), wanted("resume:1"));
        let expected = Pending { started: 1, card_shown: false, ..pending() };
        assert_eq!(flow, Some(Flow::Pending(expected)), "{before:?}");
        assert_eq!(effects, [Effect::ShowCard(CardReason::Needed)]);
    }
}

#[test]
fn later_messages_start_no_second_flow_and_replace_nothing() {
    let (flow, effects) = after(waiting(), wanted("resume:2"));
    assert_eq!((flow, effects), (waiting(), vec![Effect::Tell(Tell::InProgress)]));
}

/// A crash between the state and the card: the turn runs again and the card is shown after all.
#[test]
fn a_card_that_was_not_shown_is_shown_when_the_turn_runs_again() {
    let due = Some(Flow::Pending(Pending { card_shown: false, ..pending() }));
    let card = Effect::ShowCard(CardReason::Needed);
    assert_eq!(after(due.clone(), wanted("resume:1")), (due.clone(), vec![card.clone()]));
    assert_eq!(after(due.clone(), wanted("resume:2")), (due.clone(), vec![card, Effect::Tell(Tell::InProgress)]));
    assert_eq!(after(due, Event::CardShown), (waiting(), vec![]));
    assert_eq!(after(waiting(), wanted("resume:1")), (waiting(), vec![]));
}

/// Rows 2, 19, 21, 31 to 33, 36: what an exchange is answered, by class of failure.
#[test]
fn exchanges_are_answered_by_class() {
    let told = || Some(Flow::Pending(Pending { told: true, ..pending() }));
    let done = || completed(&["x"], Some(parked("resume:1")), None);
    for (outcome, next, effects) in [
        (Exchanged::Token, done(), vec![Effect::Resume(parked("resume:1")), answer(Answer::Done)]),
        (Exchanged::Consent, waiting(), vec![answer(Answer::Consent)]),
        (Exchanged::Transient, waiting(), vec![answer(Answer::TryAgain)]),
    ] {
        assert_eq!(after(waiting(), exchange()), (waiting(), vec![Effect::Exchange]));
        assert_eq!(after(waiting(), exchanged(outcome)), (next, effects), "{outcome:?}");
    }
    for refusal in [Refusal::InvalidToken, Refusal::BadConnection, Refusal::BotCredential, Refusal::SubjectMismatch] {
        let (flow, effects) = after(waiting(), exchanged(Exchanged::Refused(refusal)));
        assert_eq!(flow, told());
        assert_eq!(effects, [Effect::Tell(Tell::Refused(refusal)), answer(Answer::Refused(refusal))]);
        // The other clients of the user fail alike; the user hears it once.
        let (flow, effects) = after(flow, exchanged(Exchanged::Refused(refusal)));
        assert_eq!((flow, effects), (told(), vec![answer(Answer::Refused(refusal))]));
        // One of them may still get through.
        assert_eq!(after(told(), exchange()).1, [Effect::Exchange]);
        assert_eq!(after(told(), exchanged(Exchanged::Token)).0, done());
    }
}

/// Row 34: each client of the user sends the same exchange.
#[test]
fn a_duplicate_of_a_finished_exchange_is_200() {
    let flow = completed(&["x"], None, Some("resume:1"));
    assert_eq!(after(flow.clone(), exchange()), (flow.clone(), vec![answer(Answer::Seen)]));
    for outcome in
        [Exchanged::Token, Exchanged::Consent, Exchanged::Transient, Exchanged::Refused(Refusal::InvalidToken)]
    {
        assert_eq!(after(flow.clone(), exchanged(outcome)), (flow.clone(), vec![answer(Answer::Seen)]));
    }
    let other = Event::Exchange { id: "y".into() };
    assert_eq!(after(flow.clone(), other), (flow.clone(), vec![Effect::Exchange]));
    let other = Event::Exchanged { id: "y".into(), outcome: Exchanged::Token };
    let both = completed(&["x", "y"], None, Some("resume:1"));
    assert_eq!(after(flow, other), (both, vec![answer(Answer::Seen)]));
}

/// Row 35: a failed exchange claims nothing, so the same id is exchanged again after consent.
#[test]
fn the_same_id_after_412_is_exchanged_again() {
    let (flow, _) = after(waiting(), exchanged(Exchanged::Consent));
    assert_eq!(after(flow.clone(), exchange()).1, [Effect::Exchange]);
    let (flow, effects) = after(flow, exchanged(Exchanged::Token));
    assert!(matches!(flow, Some(Flow::Completed(_))));
    assert_eq!(effects.last(), Some(&answer(Answer::Done)));
}

/// A crash after the state was written and before the queue had the message: the re-sent invoke repairs it.
#[test]
fn a_resent_invoke_hands_the_message_over() {
    let crashed = completed(&["x"], Some(parked("resume:1")), None);
    for event in [exchange(), exchanged(Exchanged::Token), Event::Code, Event::Redeemed(Redeemed::Wrong)] {
        let (flow, effects) = after(crashed.clone(), event.clone());
        assert_eq!(flow, crashed, "{event:?}");
        assert_eq!(effects, [Effect::Resume(parked("resume:1")), answer(Answer::Seen)], "{event:?}");
    }
    let done = completed(&["x"], None, Some("resume:1"));
    assert_eq!(after(crashed.clone(), Event::Resumed { id: "resume:1".into() }), (done.clone(), vec![]));
    assert_eq!(after(crashed.clone(), Event::Resumed { id: "resume:9".into() }), (crashed, vec![]));
    assert_eq!(after(done.clone(), Event::Resumed { id: "resume:1".into() }), (done, vec![]));
}

/// The token can come another way: signed in in another conversation, or the invoke never reached us.
#[test]
fn a_token_that_is_there_all_the_same_wakes_the_parked_message() {
    let done = completed(&[], Some(parked("resume:1")), None);
    let resume = Effect::Resume(parked("resume:1"));
    assert_eq!(after(waiting(), found("resume:2")), (done.clone(), vec![resume.clone()]));
    // The parked message itself, run again after a crash: it is answered under its other id and not twice.
    assert_eq!(after(waiting(), found("resume:1")), (done.clone(), vec![resume.clone(), Effect::Yield]));
    assert_eq!(after(done.clone(), found("resume:1")).1, [resume.clone(), Effect::Yield]);
    assert_eq!(after(done, found("resume:2")).1, [resume]);
    let resumed = completed(&[], None, Some("resume:1"));
    assert_eq!(after(resumed.clone(), found("resume:1")).1, [Effect::Yield]);
    assert_eq!(after(resumed.clone(), wanted("resume:1")), (resumed.clone(), vec![Effect::Yield]));
    assert_eq!(after(resumed, found("resume:resume:1")).1, []);
    for flow in [None, ended(End::Cancelled, 3), ended(End::TimedOut, 3)] {
        assert_eq!(after(flow.clone(), found("resume:1")), (flow, vec![]));
    }
}

#[test]
fn signed_in_and_out_before_the_queue_had_the_message_keeps_the_older_one() {
    let crashed = completed(&["x"], Some(parked("resume:1")), None);
    let (flow, effects) = after(crashed, wanted("resume:2"));
    assert_eq!(flow, Some(Flow::Pending(Pending { started: 1, card_shown: false, ..pending() })));
    assert_eq!(effects, [Effect::ShowCard(CardReason::Needed), Effect::Tell(Tell::InProgress)]);
}

/// Row 41 and the missing flow of an exchange: the token is the user's all the same.
#[test]
fn without_state_the_token_is_fetched_and_the_user_asked_to_repeat() {
    for flow in [None, ended(End::Unknown, 2)] {
        assert_eq!(after(flow.clone(), exchange()), (flow.clone(), vec![Effect::Exchange]));
        assert_eq!(after(flow.clone(), Event::Code), (flow.clone(), vec![Effect::Redeem]));
        let (next, effects) = after(flow.clone(), exchanged(Exchanged::Token));
        assert_eq!(next, completed(&["x"], None, None));
        assert_eq!(effects, [Effect::Tell(Tell::SignedIn), answer(Answer::Done)]);
        let (next, effects) = after(flow.clone(), Event::Redeemed(Redeemed::Token));
        assert_eq!(next, completed(&[], None, None));
        assert_eq!(effects, [Effect::Tell(Tell::SignedIn), answer(Answer::Seen)]);
        assert_eq!(after(flow.clone(), exchanged(Exchanged::Consent)), (flow, vec![answer(Answer::Consent)]));
    }
}

/// Rows 38 and 39: wrong codes, with or without a flow.
#[test]
fn three_codes_and_no_more() {
    let wrong = || Event::Redeemed(Redeemed::Wrong);
    let mut flow = waiting();
    for left in [2, 1] {
        assert_eq!(after(flow.clone(), Event::Code).1, [Effect::Redeem]);
        let (next, effects) = after(flow, wrong());
        assert_eq!(effects, [Effect::Tell(Tell::BadCode(left)), answer(Answer::BadCode)]);
        flow = next;
    }
    let (flow, effects) = after(flow, wrong());
    assert_eq!(flow, ended(End::TooManyAttempts, 0));
    assert_eq!(effects, [Effect::Tell(Tell::TooManyAttempts), answer(Answer::BadCode)]);
    assert_eq!(after(flow.clone(), Event::Code), (flow, vec![answer(Answer::BadCode)]));

    let mut flow = None;
    for _ in 0..3 {
        assert_eq!(after(flow.clone(), Event::Code).1, [Effect::Redeem]);
        let (next, effects) = after(flow, wrong());
        assert_eq!(effects, [answer(Answer::BadCode)]);
        flow = next;
    }
    assert_eq!(flow, ended(End::Unknown, 0));
    assert_eq!(after(flow, Event::Code).1, [answer(Answer::BadCode)]);
}

/// The code's other outcomes: 200, 500 so that Teams sends again, 400.
#[test]
fn codes_are_answered_by_class() {
    let done = completed(&[], Some(parked("resume:1")), None);
    let (flow, effects) = after(waiting(), Event::Redeemed(Redeemed::Token));
    assert_eq!((flow, effects), (done, vec![Effect::Resume(parked("resume:1")), answer(Answer::Seen)]));
    let (flow, effects) = after(waiting(), Event::Redeemed(Redeemed::Transient));
    assert_eq!((flow, effects), (waiting(), vec![answer(Answer::TryAgain)]));
    let (_, effects) = after(waiting(), Event::Redeemed(Redeemed::Refused(Refusal::BotCredential)));
    assert_eq!(
        effects,
        [Effect::Tell(Tell::Refused(Refusal::BotCredential)), answer(Answer::Refused(Refusal::BotCredential))]
    );
}

/// Row 4.
#[test]
fn cancelling_drops_the_message() {
    let (flow, effects) = after(waiting(), Event::Cancelled);
    assert_eq!(flow, ended(End::Cancelled, 3));
    assert_eq!(effects, [Effect::Tell(Tell::Cancelled), answer(Answer::Seen)]);
    // The other clients' windows close too.
    assert_eq!(after(flow.clone(), Event::Cancelled), (flow.clone(), vec![answer(Answer::Seen)]));
    assert_eq!(after(flow.clone(), exchange()), (flow.clone(), vec![answer(Answer::Refused(Refusal::NoFlow))]));
    // The card's button still works.
    assert_eq!(after(flow.clone(), Event::Code).1, [Effect::Redeem]);
    let (next, effects) = after(flow.clone(), Event::Redeemed(Redeemed::Token));
    assert_eq!((next, effects), (flow, vec![Effect::Tell(Tell::SignedIn), answer(Answer::Seen)]));
}

/// Rows 27 to 29 and the silent codes: one card with a button, then no more.
#[test]
fn a_client_that_failed_gets_a_button_once() {
    use SignInFailureCode as Code;
    for code in [
        Code::INSTALLED_APP_NOT_FOUND,
        Code::AUTH_REQUEST_FAILED,
        Code::INVOKE_ERROR,
        Code::RESOURCE_MATCH_FAILED,
        Code::OAUTH_CARD_NOT_VALID,
        Code::TOKEN_MISSING,
        Code::from("something new"),
    ] {
        let (flow, effects) = after(waiting(), failed(&code));
        assert_eq!(flow, Some(Flow::Pending(Pending { button_only: true, card_shown: false, ..pending() })));
        assert_eq!(effects, [Effect::ShowCard(CardReason::ClientFailed(code.clone())), answer(Answer::Seen)]);
        let (flow, effects) = after(flow, Event::CardShown);
        assert_eq!(effects, []);
        assert_eq!(after(flow.clone(), failed(&code)), (flow, vec![answer(Answer::Seen)]));
    }
    for code in [Code::USER_CONSENT_REQUIRED, Code::INTERACTION_REQUIRED] {
        assert_eq!(after(waiting(), failed(&code)), (waiting(), vec![answer(Answer::Seen)]));
    }
    let (flow, effects) = after(waiting(), failed(&Code::INSTALL_APP_FAILED));
    assert_eq!(effects, [Effect::Tell(Tell::InstallApp), answer(Answer::Seen)]);
    assert_eq!(after(flow, failed(&Code::INSTALL_APP_FAILED)).1, [answer(Answer::Seen)]);
    for flow in [None, completed(&[], None, None), ended(End::Cancelled, 3)] {
        assert_eq!(after(flow.clone(), failed(&Code::INVOKE_ERROR)), (flow, vec![answer(Answer::Seen)]));
    }
}

/// Row 30 and the loop guard.
#[test]
fn without_a_card_the_flow_ends_unless_an_earlier_card_is_there() {
    let due = Pending { card_shown: false, ..pending() };
    for (refusal, tell) in [
        (CardRefusal::TooMany, Some(Tell::TooManyCards)),
        (CardRefusal::Rejected, Some(Tell::CardRejected)),
        (CardRefusal::NotPrivate, Some(Tell::NotPrivate)),
        (CardRefusal::Failed, None),
    ] {
        let tell: Vec<_> = tell.map(Effect::Tell).into_iter().collect();
        let (flow, effects) = after(Some(Flow::Pending(due.clone())), Event::CardRefused(refusal));
        assert_eq!((flow, effects), (ended(End::NoCard, 3), tell.clone()));
        let second = Pending { button_only: true, ..due.clone() };
        let (flow, effects) = after(Some(Flow::Pending(second)), Event::CardRefused(refusal));
        assert_eq!(flow, Some(Flow::Pending(Pending { button_only: true, ..pending() })));
        assert_eq!(effects, tell);
    }
}

/// Row 40.
#[test]
fn a_flow_ends_after_its_time() {
    let over = ended(End::TimedOut, 3);
    for (event, expected) in [
        (exchange(), answer(Answer::Refused(Refusal::TimedOut))),
        (Event::Code, answer(Answer::Seen)),
        (Event::Cancelled, answer(Answer::Seen)),
        (failed(&SignInFailureCode::INVOKE_ERROR), answer(Answer::Seen)),
    ] {
        assert!(!at(899, waiting(), event.clone()).1.contains(&Effect::Tell(Tell::TimedOut)));
        let (flow, effects) = at(900, waiting(), event.clone());
        assert_eq!((flow.clone(), effects), (over.clone(), vec![Effect::Tell(Tell::TimedOut), expected.clone()]));
        assert_eq!(at(901, flow, event), (over.clone(), vec![expected]));
    }
    let (flow, effects) = at(900, waiting(), wanted("resume:2"));
    assert!(
        matches!(flow, Some(Flow::Pending(Pending { started: 900, parked: Parked { id, .. }, .. })) if id == "resume:2")
    );
    assert_eq!(effects, [Effect::ShowCard(CardReason::Needed)]);
    assert_eq!(at(900, waiting(), found("resume:2")), (over, vec![]));
    // What began in time may end in time.
    assert!(matches!(at(901, waiting(), exchanged(Exchanged::Token)).0, Some(Flow::Completed(_))));
}

/// Records outlive releases: this is what is stored.
#[test]
fn stored_records_have_a_fixed_form() {
    for (flow, json) in [
        (
            waiting().unwrap(),
            r#"{"state":"pending","started":0,"attempts_left":3,"card_shown":true,"button_only":false,"told":false,"parked":{"id":"resume:1","record":"{}"}}"#,
        ),
        (
            completed(&["x"], None, Some("resume:1")).unwrap(),
            r#"{"state":"completed","exchanges":["x"],"parked":null,"resumed":"resume:1"}"#,
        ),
        (ended(End::TooManyAttempts, 0).unwrap(), r#"{"state":"ended","why":"too_many_attempts","attempts_left":0}"#),
    ] {
        assert_eq!(serde_json::to_string(&flow).unwrap(), json);
        assert_eq!(serde_json::from_str::<Flow>(json).unwrap(), flow);
    }
}

#[test]
fn finished_exchanges_are_remembered_within_bounds() {
    let mut done = Completed::default();
    for number in 0..100 {
        done = done.and(number.to_string()).and(number.to_string());
    }
    assert_eq!(done.exchanges.len(), 8);
    assert!(done.has("99") && done.has("92") && !done.has("91"));
}

#[test]
fn debug_shows_no_message() {
    let flow = Flow::Pending(Pending::new(Parked { id: "1".into(), record: "marker".into() }, 0, &RULES));
    assert!(!format!("{flow:?}").contains("marker"));
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = || (0..3_u8).prop_map(|n| n.to_string());
    let refusal =
        || prop_oneof![Just(Refusal::InvalidToken), Just(Refusal::BadConnection), Just(Refusal::SubjectMismatch)];
    let outcome = prop_oneof![
        4 => Just(Exchanged::Token),
        1 => Just(Exchanged::Consent),
        1 => Just(Exchanged::Transient),
        1 => refusal().prop_map(Exchanged::Refused),
    ];
    let redeemed = prop_oneof![
        2 => Just(Redeemed::Token),
        4 => Just(Redeemed::Wrong),
        1 => Just(Redeemed::Transient),
        1 => refusal().prop_map(Redeemed::Refused),
    ];
    let code = prop_oneof![
        Just(SignInFailureCode::INVOKE_ERROR),
        Just(SignInFailureCode::INSTALL_APP_FAILED),
        Just(SignInFailureCode::USER_CONSENT_REQUIRED),
    ];
    prop_oneof![
        3 => id().prop_map(|id| Event::Wanted(parked(&format!("resume:{id}")))),
        1 => id().prop_map(|id| Event::Found { turn: format!("resume:{id}") }),
        2 => Just(Event::CardShown),
        1 => Just(Event::CardRefused(CardRefusal::TooMany)),
        2 => id().prop_map(|id| Event::Exchange { id }),
        3 => (id(), outcome).prop_map(|(id, outcome)| Event::Exchanged { id, outcome }),
        2 => Just(Event::Code),
        3 => redeemed.prop_map(Event::Redeemed),
        1 => Just(Event::Cancelled),
        2 => code.prop_map(Event::ClientFailed),
        2 => id().prop_map(|id| Event::Resumed { id: format!("resume:{id}") }),
    ]
}

fn is_invoke(event: &Event) -> bool {
    matches!(
        event,
        Event::Exchange { .. }
            | Event::Exchanged { .. }
            | Event::Code
            | Event::Redeemed(_)
            | Event::Cancelled
            | Event::ClientFailed(_)
    )
}

/// What an invoke ends in: an answer, or the question whose outcome brings the answer.
fn ends_an_invoke(effect: &Effect) -> bool {
    matches!(effect, Effect::Answer(_) | Effect::Exchange | Effect::Redeem)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens(events in proptest::collection::vec((any_event(), 0..200_i64), 1..60)) {
        let (mut flow, mut now) = (None, 0);
        let (mut wrong, mut handed_over) = (0, std::collections::HashSet::new());
        for (event, wait) in events {
            now += wait;
            let before = flow.clone();
            let (next, effects) = at(now, flow, event.clone());

            // Every invoke ends in exactly one answer, and it comes last; nothing else is answered.
            let ends = effects.iter().filter(|effect| ends_an_invoke(effect)).count();
            prop_assert_eq!(ends, usize::from(is_invoke(&event)), "{:?}", event);
            prop_assert!(ends == 0 || effects.last().is_some_and(ends_an_invoke));
            // An outcome is never asked for again.
            if matches!(event, Event::Exchanged { .. } | Event::Redeemed(_)) {
                prop_assert!(matches!(effects.last(), Some(Effect::Answer(_))));
            }

            // No effect twice in a step.
            for (place, effect) in effects.iter().enumerate() {
                prop_assert!(!effects.iter().skip(place + 1).any(|other| other == effect), "{:?}", effects);
            }

            // What was over stays over until a message needs a token.
            if !matches!(event, Event::Wanted(_)) {
                match (&before, &next) {
                    (Some(Flow::Ended { why: End::Unknown, .. }), _) => {}
                    (Some(Flow::Ended { why, attempts_left }), Some(Flow::Ended { why: then, attempts_left: left })) => {
                        prop_assert_eq!(why, then);
                        prop_assert!(left <= attempts_left);
                    }
                    (Some(Flow::Ended { .. }), other) => prop_assert!(false, "{:?}", other),
                    (Some(Flow::Completed(was)), Some(Flow::Completed(is))) => {
                        prop_assert!(is.parked.is_none() || is.parked == was.parked);
                        prop_assert!(was.exchanges.iter().rev().take(7).all(|id| is.has(id)));
                    }
                    (Some(Flow::Completed(_)), other) => prop_assert!(false, "{:?}", other),
                    _ => {}
                }
            }

            // A message is handed over only while the state holds it, and never once the queue has it.
            for effect in &effects {
                if let Effect::Resume(parked) = effect {
                    prop_assert!(matches!(&next, Some(Flow::Completed(done)) if done.parked.as_ref() == Some(parked)));
                }
            }
            if let (Event::Resumed { id }, Some(Flow::Completed(was))) = (&event, &before)
                && was.parked.as_ref().is_some_and(|parked| parked.id == *id)
            {
                prop_assert!(matches!(&next, Some(Flow::Completed(done)) if done.parked.is_none()));
                handed_over.insert(id.clone());
            }

            // A message without a token leads to a card, to words, or is handled elsewhere; it never vanishes.
            if let Event::Wanted(turn) = &event {
                let kept = matches!(&next, Some(Flow::Pending(pending)) if pending.parked.id == turn.id);
                let heard = effects.iter().any(|effect| matches!(effect, Effect::Tell(_) | Effect::Yield));
                prop_assert!(kept || heard);
            }

            // At most three codes between two messages that begin a flow.
            if matches!(event, Event::Wanted(_)) && matches!(&next, Some(Flow::Pending(p)) if p.started == now) {
                wrong = 0;
            }
            if event == Event::Code && effects.contains(&Effect::Redeem) {
                let (_, outcome) = at(now, next.clone(), Event::Redeemed(Redeemed::Wrong));
                prop_assert!(outcome.contains(&answer(Answer::BadCode)) || outcome.contains(&answer(Answer::Seen)));
            }
            if event == Event::Redeemed(Redeemed::Wrong) && before != next {
                wrong += 1;
                prop_assert!(wrong <= 6, "three of an unknown flow, three of one that began");
            }
            flow = next;
        }
    }

    /// Crashes anywhere: after any prefix of the effects the invoke is sent again, and in the end the queue has the
    /// message exactly once, under one id.
    #[test]
    fn a_crash_anywhere_is_repaired(crashes in proptest::collection::vec(0..4_usize, 0..6)) {
        let mut flow = waiting();
        let mut queue = std::collections::HashSet::new();
        let mut answered = None;
        for crash in crashes.into_iter().map(Some).chain([None]) {
            let mut steps = 0;
            let mut alive = || { steps += 1; crash.is_none_or(|after| steps <= after) };
            let mut todo = vec![exchange()];
            while let Some(event) = todo.pop() {
                let (next, effects) = after(flow.clone(), event);
                if !alive() { break; }
                flow = next;
                for effect in effects {
                    if !alive() { break; }
                    match effect {
                        Effect::Exchange => todo.push(exchanged(Exchanged::Token)),
                        Effect::Resume(parked) => {
                            queue.insert(parked.id.clone());
                            if !alive() { break; }
                            let (next, _) = after(flow.clone(), Event::Resumed { id: parked.id });
                            flow = next;
                        }
                        Effect::Answer(answer) => answered = Some(answer),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
        }
        prop_assert!(matches!(answered, Some(Answer::Done | Answer::Seen)), "{:?}", answered);
        prop_assert_eq!(queue.len(), 1);
        let handed_over = matches!(flow, Some(Flow::Completed(Completed { parked: None, resumed: Some(_), .. })));
        prop_assert!(handed_over);
    }
}
