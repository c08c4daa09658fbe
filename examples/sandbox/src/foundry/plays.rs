//! What each behaviour does: a script from the turn.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::agents::Behaviour;
use super::items;
use super::run::Step;
use super::script::Script;
use super::sse::Frame;
use super::turn::Turn;

/// Length of the text of `big-agent`, bytes.
pub(crate) const BIG: usize = 4 * 1024 * 1024;
/// Pause before each delta of `slow-agent`, unless `structured_inputs.delay_ms` says otherwise.
const PAUSE_MS: u64 = 300;
/// The link of a consent request.
const CONSENT_LINK: &str = "https://logic-apis.consent.azure-apim.net/login?data=sandbox";

/// The steps of a turn.
pub(crate) fn write(behaviour: Behaviour, turn: &Turn) -> Vec<Step> {
    let mut script = Script::open(turn);
    match behaviour {
        Behaviour::Hang | Behaviour::Silent => script.steps.push(Step::Hang),
        Behaviour::Slow => {
            script.pause = Some(pause(turn));
            remember(&mut script, turn);
        }
        Behaviour::ErrorFlat | Behaviour::ErrorNested | Behaviour::ErrorBare => error(&mut script, turn, behaviour),
        Behaviour::Failed => {
            script.half_message(&turn.answer());
            script.close("failed", |response| fail(response, "The agent failed."));
        }
        Behaviour::Truncated | Behaviour::EndsEarly | Behaviour::Unclosed => {
            without_end(&mut script, turn, behaviour);
        }
        Behaviour::Dropped => dropped(&mut script, turn),
        Behaviour::UnknownEvent => unknown_event(&mut script, turn),
        Behaviour::UnknownItem => unknown_item(&mut script, turn),
        Behaviour::Refusal => {
            script.refusal("I cannot help with that.");
            script.close("completed", |_| {});
        }
        Behaviour::Incomplete => {
            script.incomplete_message("This answer stops because it has");
            script.close("incomplete", |response| incomplete(response, "max_output_tokens"));
        }
        Behaviour::ContentFilter => {
            script.incomplete_message("This answer was");
            script.close("incomplete", |response| {
                incomplete(response, "content_filter");
                response.insert("content_filters".to_owned(), turn.content_filters(true));
            });
        }
        Behaviour::Function => function(&mut script, turn),
        Behaviour::Approval => approval(&mut script, turn),
        Behaviour::Consent => consent(&mut script, turn, "incomplete"),
        Behaviour::ConsentCompleted => consent(&mut script, turn, "completed"),
        Behaviour::Big => {
            let size = input(turn, "bytes").and_then(|size| usize::try_from(size).ok()).unwrap_or(BIG);
            script.one_delta(&"0123456789abcdef".repeat(size.min(4 * BIG) / 16));
            script.close("completed", |_| {});
        }
        Behaviour::DoneMarker => {
            remember(&mut script, turn);
            script.plain(Frame::Data("[DONE]"));
        }
        Behaviour::Citation => citation(&mut script),
        Behaviour::Reasoning => {
            script.reasoning("The user wants an answer.");
            remember(&mut script, turn);
        }
        Behaviour::Workflow => {
            script.item(
                "wfa",
                json!({
                    "type": "workflow_action", "kind": "InvokeAgent", "action_id": "action-1",
                    "parent_action_id": null, "previous_action_id": null, "status": "completed",
                }),
            );
            remember(&mut script, turn);
        }
        Behaviour::Gap => gap(&mut script, turn),
        _ => remember(&mut script, turn),
    }
    script.steps
}

/// The answer from the conversation, cut to `max_output_tokens` words.
fn remember(script: &mut Script<'_>, turn: &Turn) {
    let answer = turn.answer();
    let words: Vec<&str> = answer.split_inclusive(' ').collect();
    let limit =
        turn.request.max_output_tokens.map_or(usize::MAX, |tokens| usize::try_from(tokens).unwrap_or(usize::MAX));
    if words.len() > limit {
        let cut: String = words.iter().take(limit).copied().collect();
        script.incomplete_message(cut.trim_end());
        script.close("incomplete", |response| incomplete(response, "max_output_tokens"));
    } else {
        script.message(&answer, &[]);
        script.close("completed", |_| {});
    }
}

fn error(script: &mut Script<'_>, turn: &Turn, behaviour: Behaviour) {
    const MESSAGE: &str = "An error occurred while processing your request.";
    script.half_message(&turn.answer());
    script.settle("failed", |response| fail(response, MESSAGE));
    match behaviour {
        Behaviour::ErrorFlat => {
            script.event(json!({"type": "error", "code": "server_error", "message": MESSAGE, "param": null}));
        }
        Behaviour::ErrorNested => script.event(json!({
            "type": "error",
            "error": {"type": "server_error", "code": "server_error", "message": MESSAGE, "param": null},
        })),
        _ => script.plain(Frame::Event(Arc::new(json!({
            "error": {"type": "server_error", "code": "server_error", "message": MESSAGE, "param": null},
        })))),
    }
}

/// The service finishes and stores the answer, but the reader never sees the end.
fn without_end(script: &mut Script<'_>, turn: &Turn, behaviour: Behaviour) {
    if behaviour == Behaviour::Unclosed {
        script.message(&turn.answer(), &[]);
        let end = script.settle("completed", |_| {});
        script.steps.push(Step::Unclosed(end));
        return;
    }
    // The whole message is written to know its output, then only the first half of its events is kept.
    let opening = script.steps.len();
    script.message(&turn.answer(), &[]);
    let length = script.steps.len();
    script.steps.truncate(opening + (length - opening) / 2);
    script.settle("completed", |_| {});
    if behaviour == Behaviour::Truncated {
        script.steps.push(Step::Cut);
    }
}

/// The reader loses the connection in the middle, the answer does not.
fn dropped(script: &mut Script<'_>, turn: &Turn) {
    let opening = script.steps.len();
    script.message(&turn.answer(), &[]);
    let middle = opening + (script.steps.len() - opening) / 2;
    script.steps.insert(middle, Step::Plain(Frame::Drop));
    script.close("completed", |_| {});
}

fn unknown_event(script: &mut Script<'_>, turn: &Turn) {
    script.event(json!({"type": "response.steer.applied", "steer": {"kind": "tone", "value": [1, 2, 3]}}));
    script.message(&turn.answer(), &[]);
    script.event(json!({"type": "session.heartbeat", "at": 1.5, "nested": {"type": "response.completed"}}));
    script.close("completed", |_| {});
}

fn unknown_item(script: &mut Script<'_>, turn: &Turn) {
    script.item(
        "qx",
        json!({
            "type": "quantum_search_call", "status": "completed", "qubits": 3, "arguments": {"depth": [1, [2]]},
        }),
    );
    script.message(&turn.answer(), &[]);
    script.close("completed", |_| {});
}

fn function(script: &mut Script<'_>, turn: &Turn) {
    match turn.given("function_call_output") {
        Some(result) => {
            let output = result
                .get("output")
                .map_or_else(String::new, |output| output.as_str().map_or_else(|| output.to_string(), str::to_owned));
            script.message(&format!("The tool answered: {output}"), &[]);
        }
        None => {
            let call = format!("call_{}", turn.response_id.split('_').next_back().unwrap_or_default());
            script.function_call(&call, "get_weather", r#"{"location":"Oslo","unit":"celsius"}"#);
        }
    }
    script.close("completed", |_| {});
}

fn approval(script: &mut Script<'_>, turn: &Turn) {
    let arguments = r#"{"query":"sandbox"}"#;
    match turn.given("mcp_approval_response") {
        Some(answer) if answer.get("approve") == Some(&Value::Bool(true)) => {
            script.item(
                "mcp",
                json!({
                    "type": "mcp_call", "server_label": "tickets", "name": "search_tickets", "arguments": arguments,
                    "output": "1 ticket", "error": null, "status": "completed",
                    "approval_request_id": items::field(answer, "approval_request_id"),
                }),
            );
            script.message("The search found 1 ticket.", &[]);
        }
        Some(_) => script.message("I did not run the search, because you did not approve it.", &[]),
        None => {
            script.item(
                "mcpl",
                json!({
                    "type": "mcp_list_tools", "server_label": "tickets", "error": null,
                    "tools": [{
                        "name": "search_tickets", "description": "Searches tickets.",
                        "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}},
                        "annotations": {"read_only": true},
                    }],
                }),
            );
            script.item(
                "mcpr",
                json!({
                    "type": "mcp_approval_request", "server_label": "tickets", "name": "search_tickets",
                    "arguments": arguments,
                }),
            );
        }
    }
    script.close("completed", |_| {});
}

/// Asks once for consent; the turn after it is answered.
fn consent(script: &mut Script<'_>, turn: &Turn, status: &str) {
    if turn.newest("oauth_consent_request").is_some() {
        script.message("Thank you, I can reach your calendar now.", &[]);
        script.close("completed", |_| {});
        return;
    }
    let item = json!({"type": "oauth_consent_request", "consent_link": CONSENT_LINK, "server_label": "calendar"});
    if status == "completed" {
        // The early form: the response ends as completed and the item has no `done`.
        script.added_only("oauth", item);
    } else {
        script.item("oauth", item);
    }
    script.close(status, |_| {});
}

fn citation(script: &mut Script<'_>) {
    let text = "The guide says so【1】 and the file agrees【2】.";
    let position = |mark: &str| {
        let start = text.find(mark).and_then(|at| text.get(..at)).map_or(0, |head| head.chars().count());
        (start, start + mark.chars().count())
    };
    let (start, end) = position("【1】");
    let (_, index) = position("【2】");
    script.message(
        text,
        &[
            json!({
                "type": "url_citation", "url": "https://docs.example/guide", "title": "Guide",
                "start_index": start, "end_index": end,
            }),
            json!({"type": "file_citation", "file_id": "assistant-file1", "filename": "handbook.pdf", "index": index}),
        ],
    );
    script.close("completed", |_| {});
}

/// Sequence numbers jump, and one event comes twice.
fn gap(script: &mut Script<'_>, turn: &Turn) {
    script.steps.push(Step::Skip(5));
    let start = script.steps.len();
    script.message(&turn.answer(), &[]);
    let repeat = script
        .steps
        .iter()
        .skip(start)
        .position(|step| matches!(step, Step::Event(event) if event.get("delta").is_some()));
    if let Some(at) = repeat {
        script.steps.insert(start + at + 1, Step::Repeat);
    }
    script.steps.push(Step::Skip(7));
    script.close("completed", |_| {});
}

fn pause(turn: &Turn) -> Duration {
    Duration::from_millis(input(turn, "delay_ms").unwrap_or(PAUSE_MS))
}

/// A number among the `structured_inputs`.
fn input(turn: &Turn, name: &str) -> Option<u64> {
    turn.request.members.get("structured_inputs")?.get(name)?.as_u64()
}

fn fail(response: &mut Map<String, Value>, message: &str) {
    response.insert("error".to_owned(), json!({"code": "server_error", "message": message}));
    response.insert("output".to_owned(), json!([]));
}

fn incomplete(response: &mut Map<String, Value>, reason: &str) {
    response.insert("incomplete_details".to_owned(), json!({"reason": reason}));
}
