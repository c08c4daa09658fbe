//! The tool loop: results for every call, limits, questions to the user, and an end that leaves nothing behind.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Chunk, Script, Step, answer, events};
use foundry_client::tools::{ToolError, ToolFunction, ToolLoop, ToolLoopError, ToolResult, ToolSet};
use foundry_client::{CreateResponse, Decision, Response};
use serde_json::{Value, json};

/// A streamed response with this output.
fn response(id: &str, output: &Value) -> Step {
    let of = |status: &str, output: &Value| json!({"id": id, "status": status, "output": output});
    let created = json!({"type": "response.created", "sequence_number": 0, "response": of("in_progress", &json!([]))});
    let done = json!({"type": "response.completed", "sequence_number": 1, "response": of("completed", output)});
    events([created, done].iter().map(|data| Chunk::Data(Bytes::from(format!("data: {data}\n\n")))).collect())
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": name, "arguments": arguments})
}

fn message(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Where {
    /// A city.
    city: String,
    #[serde(default)]
    days: Option<u8>,
}

fn weather() -> ToolFunction {
    ToolFunction::typed("get_weather", "The weather", async |place: Where| match place.city.as_str() {
        "Atlantis" => Err(ToolError::new("there is no such city")),
        "Slow" => {
            tokio::time::sleep(Duration::from_secs(100)).await;
            Ok(json!("late"))
        }
        city => Ok(json!({"city": city, "days": place.days})),
    })
    .unwrap()
}

fn turn() -> CreateResponse {
    CreateResponse::new().agent("a").conversation("conv_1").text("weather?")
}

fn output(item: &Value) -> (&str, Value) {
    assert_eq!(item["type"], "function_call_output");
    let text = item["output"].as_str().unwrap();
    (item["call_id"].as_str().unwrap(), serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
}

#[tokio::test(start_paused = true)]
async fn every_call_gets_a_result_and_the_agent_goes_on() {
    let calls = json!([
        call("1", "get_weather", r#"{"city":"Ghent","days":3}"#),
        call("2", "get_weather", r#"{"city":"Atlantis"}"#),
        call("3", "get_weather", r#"{"city":5}"#),
        call("4", "get_weather", "not json"),
        call("5", "format_disk", "{}"),
        call("6", "get_weather", r#"{"city":"Slow"}"#),
        call("7", "get_weather", r#"{"city":"x","days":-1}"#),
    ]);
    let script = Script::new([response("resp_1", &calls), response("resp_2", &json!([message("rain")]))]);
    let (client, functions) = (script.client(), ToolSet::new().with(weather()));
    let outcome = ToolLoop::new(&client, &functions).run(turn()).await.unwrap();
    assert_eq!((outcome.response.answer_text().as_str(), outcome.rounds), ("rain", 2));
    let results: Vec<_> = outcome.runs.iter().map(|run| run.result).collect();
    use ToolResult::{BadArguments, Done, Failed, TimedOut, Unknown};
    assert_eq!(results, [Done, Failed, BadArguments, BadArguments, Unknown, TimedOut, BadArguments]);
    let sent = script.seen()[1].json();
    assert_eq!((&sent["conversation"], &sent["agent_reference"]["name"]), (&json!("conv_1"), &json!("a")));
    let outputs: Vec<_> = sent["input"].as_array().unwrap().iter().map(output).collect();
    assert_eq!(outputs[0], ("1", json!({"city": "Ghent", "days": 3})));
    assert_eq!(outputs[1], ("2", json!({"error": "there is no such city"})));
    assert_eq!(outputs[2].1["error"], "the arguments do not fit the schema: at \"/city\": it must be of type string");
    assert_eq!(outputs[4].1["error"], "there is no such function");
    assert_eq!(outputs[5].1["error"], "no result within 30 s");
    assert!(sent.get("tools").is_none(), "an agent knows its own functions");
}

#[tokio::test(start_paused = true)]
async fn without_a_conversation_responses_are_chained_and_functions_declared() {
    let script = Script::new([
        response("resp_1", &json!([call("1", "get_weather", r#"{"city":"Ghent"}"#)])),
        response("resp_2", &json!([message("ok")])),
    ]);
    let (client, functions) = (script.client(), ToolSet::new().with(weather()));
    let request = CreateResponse::new().model("m").text("weather?").tool_choice("required");
    ToolLoop::new(&client, &functions).run(request).await.unwrap();
    let seen = script.seen();
    let (first, second) = (seen[0].json(), seen[1].json());
    let declared = &first["tools"][0];
    assert_eq!((&declared["name"], &declared["description"]), (&json!("get_weather"), &json!("The weather")));
    assert_eq!(declared["parameters"]["required"], json!(["city"]));
    assert_eq!(declared["parameters"]["properties"]["city"], json!({"type": "string", "description": "A city."}));
    assert_eq!((&second["previous_response_id"], &second["model"]), (&json!("resp_1"), &json!("m")));
    assert!(second.get("tool_choice").is_none(), "a forced call would be forced for ever");
    assert_eq!(second["tools"], first["tools"]);
}

#[tokio::test(start_paused = true)]
async fn functions_run_together_unless_one_is_alone() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let make = |name: &str| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        ToolFunction::new(name, "", json!({"type": "object"}), move |_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(json!(1))
            }
        })
        .unwrap()
    };
    let functions = ToolSet::new().with(make("read")).with(make("write").alone());
    for (names, parallel, together, seconds) in [
        (vec!["read"; 6], 8, 6, 1),
        (vec!["read"; 6], 2, 2, 3),
        (vec!["read", "read", "write", "read"], 8, 2, 3),
        (vec!["write", "write"], 8, 1, 2),
    ] {
        let calls: Vec<_> = names.iter().enumerate().map(|(n, name)| call(&n.to_string(), name, "")).collect();
        let script = Script::new([response("r1", &json!(calls)), response("r2", &json!([message("ok")]))]);
        most.store(0, Ordering::SeqCst);
        let start = tokio::time::Instant::now();
        let client = script.client();
        ToolLoop::new(&client, &functions).parallel(parallel).run(turn()).await.unwrap();
        assert_eq!(most.load(Ordering::SeqCst), together, "{names:?}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_end_and_leave_no_open_call() {
    let asks = || response("r", &json!([call("1", "get_weather", r#"{"city":"Ghent"}"#)]));
    let script = Script::new([asks(), asks(), answer(200, r#"{"data":[]}"#)]);
    let (client, functions) = (script.client(), ToolSet::new().with(weather()));
    let error = ToolLoop::new(&client, &functions).max_rounds(2).run(turn()).await.unwrap_err();
    assert!(matches!(error, ToolLoopError::TooManyRounds(2)), "{error}");
    let seen = script.seen();
    assert!(seen[2].uri.ends_with("/conversations/conv_1/items"));
    assert_eq!(output(&seen[2].json()["items"][0]), ("1", json!({"error": "not run: too many rounds"})));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_closes_the_stream_and_settles_the_conversation() {
    // While functions run.
    let script = Script::new([
        response("r", &json!([call("1", "get_weather", r#"{"city":"Slow"}"#)])),
        answer(200, r#"{"data":[]}"#),
    ]);
    let (client, functions) = (script.client(), ToolSet::new().with(weather()));
    let turns = ToolLoop::new(&client, &functions);
    let after = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    let error = turns.run_until(turn(), |_| {}, after(5)).await.unwrap_err();
    assert!(matches!(error, ToolLoopError::Cancelled));
    assert_eq!(output(&script.seen()[1].json()["items"][0]).1["error"], "not run: the turn was cancelled");

    // While a background response streams: it is cancelled at the service, too.
    let created = r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_7","status":"queued","output":[]}}"#;
    let chunks = vec![Chunk::Data(Bytes::from(format!("{created}\n\n"))), Chunk::Hang];
    let script = Script::new([events(chunks), answer(200, r#"{"id":"resp_7","status":"cancelled","output":[]}"#)]);
    let client = script.client();
    let turns = ToolLoop::new(&client, &functions);
    let mut seen_events = 0;
    let error = turns.run_until(turn().background(true), |_| seen_events += 1, after(5)).await.unwrap_err();
    assert!(matches!(error, ToolLoopError::Cancelled) && seen_events == 1);
    assert!(script.seen()[1].uri.ends_with("/responses/resp_7/cancel"));
    assert_eq!(*script.dropped.lock().unwrap(), 2, "both bodies are closed");
}

#[tokio::test(start_paused = true)]
async fn questions_to_the_user_end_the_loop_and_its_results_wait() {
    let asks = json!([
        call("1", "get_weather", r#"{"city":"Ghent"}"#),
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "jira", "name": "create", "arguments": "{}"},
        {"type": "oauth_consent_request", "id": "oauth_1", "consent_link": "https://login.example/x", "server_label": "s"}
    ]);
    let script = Script::new([response("resp_1", &asks)]);
    let (client, functions) = (script.client(), ToolSet::new().with(weather()));
    let outcome = ToolLoop::new(&client, &functions).run(turn()).await.unwrap();
    assert!(outcome.is_waiting());
    let (approvals, consents) = (outcome.approvals(), outcome.consents());
    assert_eq!((approvals[0].tool.as_str(), consents[0].link.as_str()), ("create", "https://login.example/x"));
    let next = outcome.follow_up([approvals[0].decide(Decision::Approve)]);
    let next = serde_json::to_value(next).unwrap();
    assert_eq!(output(&next["input"][0]).0, "1");
    assert_eq!(next["input"][1]["approval_request_id"], "mcpr_1");
    assert_eq!(next["conversation"], "conv_1");
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_hosted_agent_answered_itself_are_not_run() {
    let done = json!([
        call("1", "get_weather", r#"{"city":"Ghent"}"#),
        {"type": "function_call_output", "call_id": "1", "output": "x"},
        message("ok")
    ]);
    let script = Script::new([response("resp_1", &done)]);
    let (client, functions) = (script.client(), ToolSet::new().with(weather()));
    let outcome = ToolLoop::new(&client, &functions).run(turn()).await.unwrap();
    assert!(outcome.runs.is_empty() && outcome.rounds == 1);
}

#[test]
fn functions_are_checked_when_they_are_made() {
    let made = |name: &str, schema: Value| ToolFunction::new(name, "", schema, async |_| Ok(json!(1)));
    assert!(made("good_name-1", json!({"type": "object"})).is_ok());
    for bad in ["", "a b", "ä", &"x".repeat(65)] {
        assert!(made(bad, json!({"type": "object"})).is_err(), "{bad}");
    }
    assert!(made("f", json!({"properties": {"a": {"pattern": "x"}}})).is_err());
}

#[test]
fn a_type_becomes_a_strict_schema() {
    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    struct Report {
        /// A title.
        title: String,
        rows: Vec<Row>,
        note: Option<String>,
    }
    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    struct Row {
        count: u32,
    }
    let request = serde_json::to_value(CreateResponse::new().text("x").output_type::<Report>()).unwrap();
    let format = &request["text"]["format"];
    assert_eq!(
        (&format["type"], &format["name"], &format["strict"]),
        (&json!("json_schema"), &json!("Report"), &json!(true))
    );
    let schema = &format["schema"];
    assert_eq!(schema["required"], json!(["note", "rows", "title"]));
    assert_eq!(
        (&schema["additionalProperties"], &schema["properties"]["rows"]["items"]["additionalProperties"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(schema["properties"]["rows"]["items"]["properties"]["count"], json!({"type": "integer", "minimum": 0}));
    let answer = r#"{"id":"r","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"{\"title\":\"t\",\"rows\":[{\"count\":1}],\"note\":null}"}]}]}"#;
    let response: Response = serde_json::from_str(answer).unwrap();
    let expected = Report { title: "t".to_owned(), rows: vec![Row { count: 1 }], note: None };
    assert_eq!(response.output_json::<Report>().unwrap(), expected);
}
