//! Streams: the order of events, the frames, and every way a stream can go wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod foundry_support;

use std::time::{Duration, Instant};

use foundry_support::{Cloud, answer_of, ask, events_of, types, with};
use m365_sandbox::constants;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const AGENT: &str = constants::FOUNDRY_AGENT;

#[tokio::test]
async fn a_message_keeps_every_ordering_rule() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    let events = cloud.events(&with(ask(AGENT, "hello"), "conversation", conversation.clone())).await;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], index);
    }
    let names = types(&events);
    let deltas = names.iter().filter(|name| **name == "response.output_text.delta").count();
    assert!(deltas > 3);
    let mut expected =
        vec!["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"];
    expected.extend(vec!["response.output_text.delta"; deltas]);
    expected.extend([
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]);
    assert_eq!(names, expected);

    let created = &events[0]["response"];
    assert_eq!(
        (&created["status"], &created["output"], &created["usage"]),
        (&json!("in_progress"), &json!([]), &Value::Null)
    );
    assert_eq!(created["conversation"], json!({"id": conversation}));
    assert_eq!(events[2]["item"]["status"], "in_progress");
    assert_eq!(events[2]["item"]["content"], json!([]));
    assert_eq!(events[3]["part"], json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []}));
    let id = &events[2]["item"]["id"];
    let end = events.last().unwrap();
    let text: String = events[4..4 + deltas].iter().map(|event| event["delta"].as_str().unwrap()).collect();
    for event in &events[3..events.len() - 2] {
        assert_eq!((&event["item_id"], &event["output_index"], &event["content_index"]), (id, &json!(0), &json!(0)));
    }
    assert_eq!(events[4 + deltas]["text"], json!(text));
    assert_eq!(events[5 + deltas]["part"]["text"], json!(text));
    assert_eq!(events[6 + deltas]["item"], end["response"]["output"][0]);
    assert_eq!(end["response"]["output"][0]["id"], *id);
    assert_eq!(answer_of(&end["response"]), text);
    assert_eq!(end["response"]["id"], created["id"]);
    // What was streamed is what is stored, and the conversation is free at once.
    let stored = Cloud::ok(cloud.get(&format!("/responses/{}", created["id"].as_str().unwrap())).await);
    assert_eq!(stored.body, end["response"]);
    cloud.turn(&conversation, "hello").await;
}

#[tokio::test]
async fn deltas_are_padded_unless_asked_not_to() {
    let cloud = Cloud::start().await;
    let padded = |events: &[Value]| events.iter().filter(|event| event.get("obfuscation").is_some()).count();
    assert!(padded(&cloud.events(&ask(AGENT, "hello")).await) > 3);
    let plain = with(ask(AGENT, "hello"), "stream_options", json!({"include_obfuscation": false}));
    assert_eq!(padded(&cloud.events(&with(plain, "stream", true)).await), 0);
}

#[tokio::test]
async fn a_slow_stream_arrives_piece_by_piece_with_comments() {
    let cloud = Cloud::start().await;
    let body = with(ask("slow-agent", "hello"), "structured_inputs", json!({"delay_ms": 40}));
    let body = with(body, "stream", true);
    let begin = Instant::now();
    let mut reply = cloud.request(Method::POST, &cloud.openai("/responses")).json(&body).send().await.unwrap();
    let first = reply.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: response.created\ndata: "));
    let mut bytes = first.to_vec();
    while let Some(chunk) = reply.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    let events = events_of(&bytes);
    let deltas = events.iter().filter(|event| event.get("delta").is_some()).count() as u32;
    assert!(begin.elapsed() >= Duration::from_millis(40) * deltas);
    assert_eq!(String::from_utf8(bytes).unwrap().matches(": keep-alive\n\n").count() as u32, deltas);
}

#[tokio::test]
async fn a_hanging_stream_sends_two_events_and_no_more() {
    let cloud = Cloud::start().await;
    let body = with(ask("hang-agent", "x"), "stream", true);
    let mut reply = cloud.request(Method::POST, &cloud.openai("/responses")).json(&body).send().await.unwrap();
    let mut bytes = Vec::new();
    while bytes.windows(2).filter(|pair| pair == b"\n\n").count() < 2 {
        bytes.extend_from_slice(&reply.chunk().await.unwrap().expect("it does not end"));
    }
    let more = tokio::time::timeout(Duration::from_millis(300), reply.chunk()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(types(&events_of(&bytes)), ["response.created", "response.in_progress"]);
}

#[tokio::test]
async fn errors_come_in_three_shapes() {
    let cloud = Cloud::start().await;
    let flat = cloud.events(&ask("error-flat-agent", "x")).await;
    let last = flat.last().unwrap();
    assert_eq!(last["sequence_number"], flat.len() - 1);
    assert_eq!((&last["type"], &last["code"], &last["param"]), (&json!("error"), &json!("server_error"), &Value::Null));
    assert!(last["message"].is_string() && last.get("error").is_none());

    let nested = cloud.events(&ask("error-nested-agent", "x")).await;
    let last = nested.last().unwrap();
    assert_eq!((&last["type"], &last["error"]["code"]), (&json!("error"), &json!("server_error")));
    assert!(last.get("message").is_none());

    let (bytes, ended) = cloud.stream_bytes(&ask("error-bare-agent", "x")).await;
    assert!(ended);
    let text = String::from_utf8(bytes).unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let bare: Value = serde_json::from_str(last.strip_prefix("data: ").expect("no event line")).unwrap();
    assert_eq!(bare["error"]["code"], "server_error");
    assert!(bare.get("type").is_none());

    let failed = cloud.events(&ask("failed-agent", "x")).await;
    let last = failed.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["error"], json!({"code": "server_error", "message": "The agent failed."}));
    for events in [&flat, &nested, &failed] {
        assert!(types(events).contains(&"response.output_text.delta"));
        assert!(!types(events).contains(&"response.completed"));
    }
}

#[tokio::test]
async fn a_failed_turn_leaves_no_answer_and_no_lock() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    for agent in ["error-nested-agent", "failed-agent"] {
        cloud.events(&with(ask(agent, "x"), "conversation", conversation.clone())).await;
    }
    assert!(cloud.turn(&conversation, "hello").await.contains("3 user messages"));
    let items = Cloud::ok(cloud.get(&format!("/conversations/{conversation}/items")).await);
    let assistants = items.body["data"].as_array().unwrap().iter().filter(|item| item["role"] == "assistant").count();
    assert_eq!(assistants, 1);
}

#[tokio::test]
async fn truncated_streams_have_no_end_but_the_answer_is_stored() {
    let cloud = Cloud::start().await;
    for (agent, proper) in [("truncated-agent", false), ("ends-early-agent", true)] {
        let (bytes, ended) = cloud.stream_bytes(&ask(agent, "my name is Ada")).await;
        assert_eq!(ended, proper, "{agent}");
        let events = events_of(&bytes);
        assert_eq!(types(&events).last(), Some(&"response.output_text.delta"));
        let stored =
            Cloud::ok(cloud.get(&format!("/responses/{}", events[0]["response"]["id"].as_str().unwrap())).await);
        assert_eq!(stored.body["status"], "completed");
        assert!(stored.answer().contains("Ada"));
    }
    let (bytes, ended) = cloud.stream_bytes(&ask("unclosed-agent", "x")).await;
    assert!(ended && bytes.ends_with(b"}\n") && !bytes.ends_with(b"\n\n"));
    assert!(String::from_utf8(bytes).unwrap().contains("event: response.completed\n"));
}

#[tokio::test]
async fn a_dropped_stream_goes_on_for_whoever_comes_back() {
    let cloud = Cloud::start().await;
    let (bytes, ended) = cloud.stream_bytes(&with(ask("dropped-agent", "my name is Ada"), "background", true)).await;
    assert!(!ended, "the connection broke");
    let first = events_of(&bytes);
    let (id, last) = (first[0]["response"]["id"].as_str().unwrap(), first.last().unwrap()["sequence_number"].clone());
    assert!(!types(&first).contains(&"response.completed"));
    let rest = Cloud::ok(cloud.get(&format!("/responses/{id}?stream=true&starting_after={last}")).await);
    let rest = events_of(rest.text.as_bytes());
    assert_eq!(rest[0]["sequence_number"].as_u64().unwrap(), last.as_u64().unwrap() + 1);
    let end = rest.last().unwrap();
    assert_eq!(end["type"], "response.completed");
    assert!(answer_of(&end["response"]).contains("my name is Ada"));
}

#[tokio::test]
async fn unknown_events_and_items_come_in_the_middle() {
    let cloud = Cloud::start().await;
    let events = cloud.events(&ask("unknown-event-agent", "x")).await;
    assert!(types(&events).contains(&"response.steer.applied") && types(&events).contains(&"session.heartbeat"));
    assert_eq!(types(&events).last(), Some(&"response.completed"));
    for (agent, kind) in [
        ("unknown-item-agent", "quantum_search_call"),
        ("workflow-agent", "workflow_action"),
        ("reasoning-agent", "reasoning"),
    ] {
        let events = cloud.events(&ask(agent, "x")).await;
        let output = &events.last().unwrap()["response"]["output"];
        assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!(kind), &json!("message")), "{agent}");
        let done: Vec<_> = events.iter().filter(|event| event["type"] == "response.output_item.done").collect();
        assert_eq!((&done[0]["output_index"], &done[1]["output_index"]), (&json!(0), &json!(1)));
        assert_eq!(&done[0]["item"], &output[0]);
    }
}

#[tokio::test]
async fn the_other_endings() {
    let cloud = Cloud::start().await;
    let refusal = cloud.events(&ask("refusal-agent", "x")).await;
    let names = types(&refusal);
    assert!(names.contains(&"response.refusal.delta") && names.contains(&"response.refusal.done"));
    let end = &refusal.last().unwrap()["response"];
    assert_eq!(end["output"][0]["content"], json!([{"type": "refusal", "refusal": "I cannot help with that."}]));

    let incomplete = cloud.events(&ask("incomplete-agent", "x")).await;
    let end = incomplete.last().unwrap();
    assert_eq!(end["type"], "response.incomplete");
    assert_eq!(end["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(end["response"]["output"][0]["status"], "incomplete");

    let citation = cloud.events(&ask("citation-agent", "x")).await;
    let added: Vec<_> =
        citation.iter().filter(|event| event["type"] == "response.output_text.annotation.added").collect();
    assert_eq!((&added[0]["annotation_index"], &added[1]["annotation_index"]), (&json!(0), &json!(1)));
    let part = &citation.last().unwrap()["response"]["output"][0]["content"][0];
    assert_eq!(part["annotations"][0], added[0]["annotation"]);
    let letters: Vec<char> = part["text"].as_str().unwrap().chars().collect();
    let span = &part["annotations"][0];
    let (start, stop) = (span["start_index"].as_u64().unwrap() as usize, span["end_index"].as_u64().unwrap() as usize);
    assert_eq!(letters[start..stop].iter().collect::<String>(), "【1】");

    let consent = cloud.events(&ask("consent-completed-agent", "x")).await;
    assert_eq!(types(&consent)[2..], ["response.output_item.added", "response.completed"]);
    let consent = cloud.events(&ask("consent-agent", "x")).await;
    assert_eq!(
        types(&consent)[2..],
        ["response.output_item.added", "response.output_item.done", "response.incomplete"]
    );
}

#[tokio::test]
async fn a_function_call_streams_its_arguments() {
    let cloud = Cloud::start().await;
    let events = cloud.events(&ask("function-agent", "weather?")).await;
    assert_eq!(
        types(&events)[2..],
        [
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let text: String = events[3..5].iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(events[5]["arguments"], json!(text));
    assert_eq!(events[6]["item"]["arguments"], json!(text));
    serde_json::from_str::<Value>(&text).unwrap();
}

#[tokio::test]
async fn a_big_event_arrives_whole() {
    let cloud = Cloud::start().await;
    let events = cloud.events(&ask("big-agent", "x")).await;
    let delta = events.iter().find_map(|event| event["delta"].as_str()).unwrap();
    assert_eq!(delta.len(), 4 * 1024 * 1024);
    assert_eq!(types(&events).last(), Some(&"response.completed"));
    let smaller = with(ask("big-agent", "x"), "structured_inputs", json!({"bytes": 65536}));
    let events = cloud.events(&smaller).await;
    assert_eq!(events.iter().find_map(|event| event["delta"].as_str()).unwrap().len(), 65536);
}

#[tokio::test]
async fn sequence_numbers_may_jump_and_repeat() {
    let cloud = Cloud::start().await;
    let events = cloud.events(&ask("gap-agent", "x")).await;
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).any(|pair| pair[1] == pair[0]), "{numbers:?}");
    assert_eq!(numbers.windows(2).filter(|pair| pair[1] > pair[0] + 1).count(), 2, "{numbers:?}");
}

#[tokio::test]
async fn odd_framings_carry_the_same_events() {
    let cloud = Cloud::start().await;
    let plain = types(&cloud.events(&ask(AGENT, "Grüße an Łukasz")).await).join(" ");
    for (agent, newline, bom) in [("crlf-agent", "\r\n", true), ("cr-agent", "\r", true), ("split-agent", "\n", false)]
    {
        let (bytes, ended) = cloud.stream_bytes(&ask(agent, "Grüße an Łukasz")).await;
        assert!(ended);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.starts_with('\u{feff}'), bom, "{agent}");
        if newline == "\r" {
            assert!(!text.contains('\n'));
        } else if newline == "\r\n" {
            assert_eq!(text.matches('\r').count(), text.matches('\n').count());
        }
        let unified = text.trim_start_matches('\u{feff}').replace(newline, "\n");
        let events = events_of(unified.as_bytes());
        assert_eq!(types(&events).join(" "), plain, "{agent}");
        assert!(answer_of(&events.last().unwrap()["response"]).contains("Grüße an Łukasz"));
    }
    let (bytes, _) = cloud.stream_bytes(&ask("multiline-agent", "x")).await;
    let text = String::from_utf8(bytes).unwrap();
    let frame = text.split("\n\n").next().unwrap();
    let data: Vec<&str> = frame.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert!(data.len() > 3);
    assert_eq!(serde_json::from_str::<Value>(&data.join("\n")).unwrap()["type"], "response.created");
    let (bytes, _) = cloud.stream_bytes(&ask("done-agent", "x")).await;
    assert!(bytes.ends_with(b"\n\ndata: [DONE]\n\n"));
    let reply = Cloud::ok(cloud.post("/responses", &with(ask("json-agent", "x"), "stream", true)).await);
    assert_eq!(
        (reply.headers["content-type"].to_str().unwrap(), &reply.body["status"]),
        ("application/json", &json!("completed"))
    );
}

#[tokio::test]
async fn the_default_agent_can_be_told_to_misbehave_for_one_turn() {
    let cloud = Cloud::start().await;
    let conversation = cloud.conversation().await;
    let turn = |text: &str| with(ask(AGENT, text), "conversation", conversation.clone());
    cloud.events(&turn("my name is Ada")).await;
    let failed = cloud.events(&turn("sandbox:error-nested-agent please")).await;
    assert_eq!(types(&failed).last(), Some(&"error"));
    let good = cloud.events(&turn("what is my name?")).await;
    assert!(answer_of(&good.last().unwrap()["response"]).contains("Ada"));
    // Also by an item that was created before, and also before any work is done.
    let item = json!({"items": [{"role": "user", "content": "sandbox:throttled-once-agent what is my name?"}]});
    Cloud::ok(cloud.post(&format!("/conversations/{conversation}/items"), &item).await);
    let no_input = json!({"conversation": conversation, "agent_reference": foundry_support::agent(AGENT)});
    assert_eq!(cloud.post("/responses", &no_input).await.status, 429);
    assert!(Cloud::ok(cloud.post("/responses", &no_input).await).answer().contains("Ada"));
    let odd = cloud.events(&turn("sandbox:unknown-item-agent hello")).await;
    assert!(answer_of(&odd.last().unwrap()["response"]).contains("Hello Ada!"));
}

#[tokio::test]
async fn the_bytes_on_the_wire_are_chunked_event_stream() {
    let cloud = Cloud::start().await;
    let url = url::Url::parse(&cloud.openai("/responses")).unwrap();
    let body = with(ask(AGENT, "hello"), "stream", true).to_string();
    let mut socket = TcpStream::connect(("127.0.0.1", url.port().unwrap())).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        url.path(),
        cloud.token,
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    for header in [
        "content-type: text/event-stream; charset=utf-8",
        "transfer-encoding: chunked",
        "cache-control: no-cache",
        "x-request-id: ",
    ] {
        assert!(head.contains(header), "{header} not in {head}");
    }
    assert!(rest.contains("event: response.created\ndata: {"));
    assert!(!rest.contains("[DONE]"));
    assert!(rest.ends_with("0\r\n\r\n"));
}
