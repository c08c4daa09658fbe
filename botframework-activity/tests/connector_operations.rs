//! Every operation of the connector on the wire: method, path, query, body, and what is made of the answer.
#![cfg(feature = "connector")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{future::Future, sync::Arc, time::Duration};

use botframework_activity::{
    Activity, AgentIdentity, Attachment, AttachmentData, BatchState, BatchTarget, ChannelAccount, ChannelCloud,
    ConnectorClient, ConnectorClientBuilder, ContentType, ConversationAccount, ConversationParameters, Delivery,
    MeetingNotification, ReactionType, SendError, SendErrorKind, ServiceUrl, Transcript,
};
use entra_auth::{ReqwestTransport, StaticCredential};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, method, path, query_param, query_param_is_missing},
};

const BASE: &str = "/emea/tenant-1";
const THREAD: &str = "19:c@thread.tacv2;messageid=17";

fn builder() -> ConnectorClientBuilder {
    ConnectorClient::builder(
        Arc::new(ReqwestTransport::new().unwrap()),
        Arc::new(StaticCredential::new("marker-token").unwrap()),
    )
    .attempt_timeout(Duration::from_secs(2))
    .deadline(Duration::from_secs(5))
}

fn connector() -> ConnectorClient {
    builder().build().unwrap()
}

fn place(server: &MockServer) -> ServiceUrl {
    ServiceUrl::loopback_dev(&format!("{}{BASE}/", server.uri())).unwrap()
}

async fn answering(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

async fn only_request(server: &MockServer) -> Request {
    let mut requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

fn body(request: &Request) -> Value {
    if request.body.is_empty() { Value::Null } else { serde_json::from_slice(&request.body).unwrap() }
}

fn message() -> Activity {
    let mut activity = Activity::message("x");
    activity.conversation = Some(ConversationAccount::new("a:1"));
    activity.recipient = Some(ChannelAccount::new("29:u"));
    activity
}

/// Runs one call against a service that answers with `answer`; compares what went out; returns what came of it.
async fn exchange<T, F>(
    expected: (&str, &str, Value),
    answer: ResponseTemplate,
    call: impl FnOnce(ConnectorClient, ServiceUrl) -> F,
) -> Result<T, SendError>
where
    F: Future<Output = Result<T, SendError>>,
{
    let server = answering(answer).await;
    let result = call(connector(), place(&server)).await;
    let request = only_request(&server).await;
    let (verb, target, sent) = expected;
    let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(request.method.as_str(), verb, "{target}");
    assert_eq!(format!("{}{query}", request.url.path()), format!("{BASE}{target}"));
    assert_eq!(body(&request), sent, "{target}");
    assert_eq!(request.headers["authorization"], "Bearer marker-token");
    assert_eq!(request.headers.contains_key("content-type"), !sent.is_null(), "{target}");
    result
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn empty(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

#[tokio::test]
async fn conversations_are_made_in_their_three_forms() {
    let tenant = "11111111-2222-4333-8444-555555555555";
    let personal = ConversationParameters::personal(ChannelAccount::new("28:b"), ChannelAccount::new("29:u"), tenant);
    let sent = json!({
        "isGroup": false, "bot": {"id": "28:b"}, "members": [{"id": "29:u"}],
        "channelData": {"tenant": {"id": tenant}}, "tenantId": tenant
    });
    let made = exchange(
        ("POST", "/v3/conversations", sent),
        ResponseTemplate::new(201).set_body_json(json!({"id": "a:9"})),
        |connector, at| async move { connector.create_conversation(&at, &personal).await },
    )
    .await
    .unwrap();
    assert_eq!((made.id.as_deref(), made.activity_id), (Some("a:9"), None));

    let thread = ConversationParameters::thread("19:c@thread.tacv2", Activity::message("First"));
    let sent = json!({
        "isGroup": true, "channelData": {"channel": {"id": "19:c@thread.tacv2"}},
        "activity": {"type": "message", "text": "First"}
    });
    let made = exchange(
        ("POST", "/v3/conversations", sent),
        ok(json!({"id": THREAD, "activityId": "17"})),
        |connector, at| async move { connector.create_conversation(&at, &thread).await },
    )
    .await
    .unwrap();
    assert_eq!((made.id.as_deref(), made.activity_id.as_deref()), (Some(THREAD), Some("17")));

    let group = ConversationParameters::group(ChannelAccount::new("28:b"), ["29:u", "29:v"].map(ChannelAccount::new));
    let sent = json!({"isGroup": true, "bot": {"id": "28:b"}, "members": [{"id": "29:u"}, {"id": "29:v"}]});
    let refusal = json!({"error": {"code": "BadArgument", "message": "Conversations must be to a single member"}});
    let error = exchange(
        ("POST", "/v3/conversations", sent),
        ResponseTemplate::new(400).set_body_json(refusal),
        |connector, at| async move { connector.create_conversation(&at, &group).await },
    )
    .await
    .unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Refused, Delivery::NotSent));
}

#[tokio::test]
async fn a_creation_is_not_repeated_when_it_may_have_happened() {
    for (status, body) in [(502, ""), (504, ""), (201, "<html>"), (200, "")] {
        let server = answering(ResponseTemplate::new(status).set_body_string(body)).await;
        let thread = ConversationParameters::thread("19:c@thread.tacv2", Activity::message("First"));
        let error = connector().create_conversation(&place(&server), &thread).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Ambiguous, "{status}");
        only_request(&server).await;
    }
}

#[tokio::test]
async fn one_exchange_each() {
    let member = || json!({"id": "29:u", "name": "U", "objectId": "o-1", "tenantId": "t"});
    let found = exchange(
        ("GET", "/v3/conversations/19%3Ac%40thread.tacv2/members/29%3Au", Value::Null),
        ok(member()),
        |connector, at| async move { connector.member(&at, THREAD, "29:u").await },
    )
    .await
    .unwrap();
    assert_eq!(found.aad_object_id.as_deref(), Some("o-1"));

    exchange(
        ("DELETE", "/v3/conversations/19%3Ac%40thread.tacv2/members/29%3Au", Value::Null),
        empty(204),
        |connector, at| async move { connector.remove_member(&at, THREAD, "29:u").await },
    )
    .await
    .unwrap();

    let members = exchange(
        ("GET", "/v3/conversations/19%3Ac%40thread.tacv2%3Bmessageid%3D17/activities/m-1/members", Value::Null),
        ok(json!([member()])),
        |connector, at| async move { connector.activity_members(&at, THREAD, "m-1").await },
    )
    .await
    .unwrap();
    assert_eq!(members.len(), 1);

    let file = serde_json::from_value::<AttachmentData>(json!({"name": "a.txt", "originalBase64": "YQ=="})).unwrap();
    let made = exchange(
        ("POST", "/v3/conversations/a%3A1/attachments", json!({"name": "a.txt", "originalBase64": "YQ=="})),
        ResponseTemplate::new(201).set_body_json(json!({"id": "f-1"})),
        |connector, at| async move { connector.upload(&at, "a:1", &file).await },
    )
    .await
    .unwrap();
    assert_eq!(made.id.as_deref(), Some("f-1"));

    let info = exchange(
        ("GET", "/v3/attachments/f-1", Value::Null),
        ok(json!({"name": "a.txt", "type": "text/plain", "views": [{"viewId": "original", "size": 1}]})),
        |connector, at| async move { connector.attachment_info(&at, "f-1").await },
    )
    .await
    .unwrap();
    assert_eq!(info.views[0].size, Some(1));

    let view = exchange(
        ("GET", "/v3/attachments/f-1/views/original", Value::Null),
        ResponseTemplate::new(200).set_body_raw(b"\x00\xffraw".to_vec(), "application/octet-stream"),
        |connector, at| async move { connector.attachment_view(&at, "f-1", "original").await },
    )
    .await
    .unwrap();
    assert_eq!((&*view.bytes, view.content_type.as_deref()), (&b"\x00\xffraw"[..], Some("application/octet-stream")));

    let reaction = "/v3/conversations/a%3A1/activities/m-1/reactions/plusOne";
    exchange(("PUT", reaction, Value::Null), empty(200), |connector, at| async move {
        connector.add_reaction(&at, "a:1", "m-1", &ReactionType::PLUS_ONE).await
    })
    .await
    .unwrap();
    exchange(("DELETE", reaction, Value::Null), empty(200), |connector, at| async move {
        connector.remove_reaction(&at, "a:1", "m-1", &ReactionType::PLUS_ONE).await
    })
    .await
    .unwrap();

    let history: Transcript =
        serde_json::from_value(json!({"activities": [{"type": "message", "text": "before"}]})).unwrap();
    exchange(
        (
            "POST",
            "/v3/conversations/a%3A1/activities/history",
            json!({"activities": [{"type": "message", "text": "before"}]}),
        ),
        empty(200),
        |connector, at| async move { connector.send_history(&at, "a:1", &history).await },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn targeted_messages_name_a_recipient_when_sent_and_none_when_updated() {
    let sent = json!({"type": "message", "text": "x", "conversation": {"id": "a:1"}, "recipient": {"id": "29:u"}});
    exchange(
        ("POST", "/v3/conversations/a%3A1/activities?isTargetedActivity=true", sent.clone()),
        ok(json!({"id": "m-1"})),
        |connector, at| async move { connector.send_targeted(&at, &message()).await },
    )
    .await
    .unwrap();

    let mut reply = message();
    reply.reply_to_id = Some("in-1".into());
    let mut replied = sent.clone();
    replied["replyToId"] = "in-1".into();
    exchange(
        ("POST", "/v3/conversations/a%3A1/activities/in-1?isTargetedActivity=true", replied),
        ok(json!({"id": "m-1"})),
        |connector, at| async move { connector.send_targeted(&at, &reply).await },
    )
    .await
    .unwrap();

    let mut updated = sent.clone();
    updated["id"] = "m-1".into();
    updated.as_object_mut().unwrap().remove("recipient");
    exchange(
        ("PUT", "/v3/conversations/a%3A1/activities/m-1?isTargetedActivity=true", updated),
        empty(200),
        |connector, at| async move { connector.update_targeted(&at, &message().with_id("m-1")).await },
    )
    .await
    .unwrap();

    exchange(
        ("DELETE", "/v3/conversations/a%3A1/activities/m-1?isTargetedActivity=true", Value::Null),
        empty(200),
        |connector, at| async move { connector.delete_targeted(&at, "a:1", "m-1").await },
    )
    .await
    .unwrap();

    let mut nobody = message();
    nobody.recipient = None;
    let server = answering(empty(200)).await;
    let error = connector().send_targeted(&place(&server), &nobody).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Invalid);
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn teams_and_meetings() {
    let team = exchange(
        ("GET", "/v3/teams/19%3At", Value::Null),
        ok(json!({"id": "19:t", "name": "Sales", "aadGroupId": "g-1", "memberCount": 4})),
        |connector, at| async move { connector.team(&at, "19:t").await },
    )
    .await
    .unwrap();
    assert_eq!((team.aad_group_id.as_deref(), team.member_count), (Some("g-1"), Some(4)));

    let channels = exchange(
        ("GET", "/v3/teams/19%3At/conversations", Value::Null),
        ok(json!({"conversations": [{"id": "19:t"}, {"id": "19:u", "name": "Offers"}]})),
        |connector, at| async move { connector.channels(&at, "19:t").await },
    )
    .await
    .unwrap();
    assert_eq!(channels[1].name.as_deref(), Some("Offers"));

    let meeting = exchange(
        ("GET", "/v1/meetings/bWVldA%3D%3D", Value::Null),
        ok(json!({
            "details": {"id": "bWVldA==", "title": "Review", "scheduledStartTime": "2026-01-02T10:00:00Z", "type": "Scheduled"},
            "conversation": {"id": "19:meeting"}, "organizer": {"id": "29:o"}
        })),
        |connector, at| async move { connector.meeting(&at, "bWVldA==").await },
    )
    .await
    .unwrap();
    assert_eq!(meeting.details.unwrap().title.as_deref(), Some("Review"));

    let participant = exchange(
        ("GET", "/v1/meetings/m/participants/o-1?tenantId=t-1", Value::Null),
        ok(json!({"user": {"id": "29:u"}, "meeting": {"role": "Presenter", "inMeeting": true}})),
        |connector, at| async move { connector.meeting_participant(&at, "m", "o-1", "t-1").await },
    )
    .await
    .unwrap();
    assert_eq!(participant.meeting.unwrap().in_meeting, Some(true));

    let sent = json!({
        "type": "targetedMeetingNotification",
        "value": {"recipients": ["29:u"], "surfaces": [{"surface": "meetingTabIcon", "tabEntityId": "tab"}]}
    });
    let notification: MeetingNotification = serde_json::from_value(sent.clone()).unwrap();
    for (answer, failures) in [
        (empty(202), 0),
        (
            ResponseTemplate::new(207).set_body_json(json!({"recipientsFailureInfo": [
                {"recipientMri": "29:u", "errorCode": "MemberNotFoundInConversation", "failureReason": "gone"}
            ]})),
            1,
        ),
    ] {
        let notification = notification.clone();
        let answer =
            exchange(("POST", "/v1/meetings/m/notification", sent.clone()), answer, |connector, at| async move {
                connector.notify_meeting(&at, "m", &notification).await
            })
            .await
            .unwrap();
        assert_eq!(answer.recipients_failure_info.len(), failures);
    }
}

#[tokio::test]
async fn batches() {
    let activity = json!({"type": "message", "text": "all"});
    for (target, segment, extra) in [
        (BatchTarget::Users(&["29:u", "29:v"]), "users", json!({"members": [{"id": "29:u"}, {"id": "29:v"}]})),
        (BatchTarget::Tenant, "tenant", json!({})),
        (BatchTarget::Team("19:t"), "team", json!({"teamId": "19:t"})),
        (BatchTarget::Channels(&["19:c"]), "channels", json!({"members": [{"id": "19:c"}]})),
    ] {
        let mut sent = json!({"activity": activity, "tenantId": "t-1"});
        sent.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let id = exchange(
            ("POST", &format!("/v3/batch/conversation/{segment}/"), sent),
            ResponseTemplate::new(202).set_body_json(json!("op-1")),
            |connector, at| async move { connector.send_batch(&at, "t-1", target, &Activity::message("all")).await },
        )
        .await
        .unwrap();
        assert_eq!(id, "op-1");
    }

    let status = exchange(
        ("GET", "/v3/batch/conversation/op-1", Value::Null),
        ok(json!({"state": "Completed", "statusMap": {"201": 3}, "totalEntriesCount": 3})),
        |connector, at| async move { connector.batch_status(&at, "op-1").await },
    )
    .await
    .unwrap();
    assert_eq!((status.state, status.total_entries_count), (Some(BatchState::COMPLETED), Some(3)));

    exchange(("DELETE", "/v3/batch/conversation/op-1", Value::Null), empty(200), |connector, at| async move {
        connector.cancel_batch(&at, "op-1").await
    })
    .await
    .unwrap();

    let server = answering(empty(200)).await;
    for target in [BatchTarget::Users(&[]), BatchTarget::Channels(&[]), BatchTarget::Team("")] {
        let error = connector().send_batch(&place(&server), "t-1", target, &Activity::message("x")).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::Invalid, "{target:?}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

async fn page(server: &MockServer, at: &str, token: Option<&str>, answer: Value) {
    let mock = Mock::given(method("GET")).and(path(format!("{BASE}{at}")));
    let mock = match token {
        Some(token) => mock.and(query_param("continuationToken", token)),
        None => mock.and(query_param_is_missing("continuationToken")),
    };
    mock.respond_with(ok(answer)).expect(1).mount(server).await;
}

#[tokio::test]
async fn rosters_come_page_by_page_and_only_as_far_as_they_are_read() {
    let members = "/v3/conversations/19%3Ac%40thread.tacv2/pagedmembers";
    let server = MockServer::start().await;
    page(&server, members, None, json!({"members": [{"id": "29:1"}, {"id": "29:2"}], "continuationToken": "a&b"}))
        .await;
    page(&server, members, Some("a&b"), json!({"members": [], "continuationToken": "c"})).await;
    page(&server, members, Some("c"), json!({"members": [{"id": "29:3"}]})).await;
    let connector = connector();
    let at = place(&server);
    let mut roster = connector.members(&at, THREAD);
    assert_eq!(roster.next().await.unwrap().unwrap().id.as_deref(), Some("29:1"));
    assert_eq!(roster.next().await.unwrap().unwrap().id.as_deref(), Some("29:2"));
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
    let rest = roster.collect().await.unwrap();
    assert_eq!(rest.iter().map(|member| member.id.as_deref()).collect::<Vec<_>>(), [Some("29:3")]);
    for request in server.received_requests().await.unwrap() {
        assert!(request.url.query().unwrap().starts_with("pageSize=200"), "{}", request.url);
    }
}

#[tokio::test]
async fn page_sizes_are_those_that_teams_takes() {
    let server = answering(ok(json!({"members": []}))).await;
    for size in [0, 50, 120, 500, 9000] {
        assert!(connector().members_by(&place(&server), "a:1", size).collect().await.unwrap().is_empty());
    }
    let queries: Vec<_> =
        server.received_requests().await.unwrap().iter().map(|r| r.url.query().unwrap().to_owned()).collect();
    assert_eq!(queries, ["pageSize=50", "pageSize=50", "pageSize=120", "pageSize=500", "pageSize=500"]);
}

#[tokio::test]
async fn a_list_that_turns_in_circles_is_an_error_and_an_error_ends_the_list() {
    let server = answering(ok(json!({"conversations": [{"id": "a:1"}], "continuationToken": "same"}))).await;
    let connector = connector();
    let at = place(&server);
    let mut list = connector.conversations(&at);
    assert!(list.next().await.unwrap().is_ok());
    assert!(list.next().await.unwrap().is_ok());
    assert_eq!(list.next().await.unwrap().unwrap_err().kind(), SendErrorKind::Protocol);
    assert!(list.next().await.is_none());

    let server = answering(ResponseTemplate::new(403)).await;
    let at = place(&server);
    let mut failures = connector.batch_failures(&at, "op-1");
    assert_eq!(failures.next().await.unwrap().unwrap_err().kind(), SendErrorKind::Forbidden);
    assert!(failures.next().await.is_none());
    let request = only_request(&server).await;
    assert_eq!(request.url.path(), format!("{BASE}/v3/batch/conversation/failedentries/op-1"));
}

#[tokio::test]
async fn ids_cannot_leave_their_place() {
    let server = answering(ok(json!({}))).await;
    let at = place(&server);
    let connector = connector();
    for id in ["", ".", "..", &"x".repeat(2000)] {
        let kinds = [
            connector.team(&at, id).await.map(drop).unwrap_err().kind(),
            connector.meeting(&at, id).await.map(drop).unwrap_err().kind(),
            connector.batch_status(&at, id).await.map(drop).unwrap_err().kind(),
            connector.attachment_view(&at, id, "original").await.map(drop).unwrap_err().kind(),
            connector.member(&at, id, "29:u").await.map(drop).unwrap_err().kind(),
            connector.add_reaction(&at, "a:1", id, &ReactionType::LIKE).await.unwrap_err().kind(),
            connector.members(&at, id).collect().await.map(drop).unwrap_err().kind(),
        ];
        assert_eq!(kinds, [SendErrorKind::Invalid; 7], "{id}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn files_are_fetched_with_the_token_from_the_connector_only() {
    let files = answering(ResponseTemplate::new(200).set_body_raw(b"file".to_vec(), "image/png")).await;
    let server = answering(ResponseTemplate::new(200).set_body_raw(b"picture".to_vec(), "image/png")).await;
    let at = place(&server);
    let connector = builder().allow_downloads_from(files.address().to_string()).build().unwrap();

    let picture = Attachment::linked(
        ContentType::from("image/*"),
        format!("{}{BASE}/v3/attachments/0-eus/views/original", server.uri()),
    );
    assert_eq!(&*connector.download(&at, &picture).await.unwrap().bytes, b"picture");
    assert_eq!(only_request(&server).await.headers["authorization"], "Bearer marker-token");

    let offered = json!({"downloadUrl": format!("{}/doc?tempauth=1", files.uri()), "fileType": "txt"});
    let offered = Attachment::new(ContentType::FILE_DOWNLOAD_INFO, &offered).unwrap();
    let file = connector.download(&at, &offered).await.unwrap();
    assert_eq!((&*file.bytes, file.content_type.as_deref()), (&b"file"[..], Some("image/png")));
    let request = only_request(&files).await;
    assert!(!request.headers.contains_key("authorization") && request.url.query() == Some("tempauth=1"));

    for bad in [
        format!("{}{BASE}/v3/conversations/a/members", server.uri()),
        format!("{}/v3/attachments/x/views/original", server.uri()),
        "https://account.blob.core.windows.net/a".into(),
        "http://169.254.169.254/metadata/identity/oauth2/token".into(),
        "file:///etc/passwd".into(),
        "no address".into(),
    ] {
        let attachment = Attachment::linked(ContentType::from("image/png"), bad.clone());
        assert_eq!(connector.download(&at, &attachment).await.unwrap_err().kind(), SendErrorKind::Invalid, "{bad}");
    }
    assert_eq!(connector.download(&at, &Attachment::default()).await.unwrap_err().kind(), SendErrorKind::Invalid);
}

#[tokio::test]
async fn downloads_are_bounded_and_follow_nothing() {
    let elsewhere = answering(empty(200)).await;
    let files = MockServer::start().await;
    let file = |name: &str| Attachment::linked(ContentType::from("image/png"), format!("{}/{name}", files.uri()));
    let answer =
        |at: &'static str, response: ResponseTemplate| Mock::given(path(at)).respond_with(response).mount(&files);
    answer("/large", ResponseTemplate::new(200).set_body_bytes(vec![0; 2000])).await;
    answer("/moved", ResponseTemplate::new(302).insert_header("location", elsewhere.uri())).await;
    answer("/gone", empty(404)).await;
    answer("/ended", empty(403)).await;
    answer("/busy", ResponseTemplate::new(429).insert_header("retry-after", "7")).await;
    let at = place(&elsewhere);
    let connector = builder().allow_downloads_from(files.address().to_string()).max_download(1000).build().unwrap();
    for (name, kind) in [
        ("large", SendErrorKind::Protocol),
        ("moved", SendErrorKind::Protocol),
        ("gone", SendErrorKind::NotFound),
        ("ended", SendErrorKind::Forbidden),
        ("busy", SendErrorKind::Throttled),
    ] {
        let error = connector.download(&at, &file(name)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}");
        assert_eq!(error.retry_after(), (name == "busy").then_some(Duration::from_secs(7)));
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let server = answering(ok(json!({"id": "m-1"}))).await;
    let at = place(&server);
    let connector = builder().max_message(300).build().unwrap();
    let mut long = message();
    long.text = Some("word ".repeat(100));
    let error = connector.send(&at, &long).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::TooLarge, Delivery::NotSent));
    assert!(server.received_requests().await.unwrap().is_empty());
    for part in long.split(150) {
        connector.send(&at, &part).await.unwrap();
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_agent_says_who_it_is_and_asks_for_the_scope_of_agents() {
    let server = answering(ok(json!({"id": "m-1"}))).await;
    let agent = AgentIdentity::new("agent-1").unwrap().named("Travel desk").unwrap().referred_by("catalog").unwrap();
    let connector = builder().agent(agent).build().unwrap();
    connector.send(&place(&server), &message()).await.unwrap();
    let request = only_request(&server).await;
    for (name, value) in [
        ("AgentRegistrar", "A365"),
        ("AgentID", "agent-1"),
        ("AgentName", "Travel desk"),
        ("Agent-Referrer", "catalog"),
    ] {
        assert_eq!(request.headers[name], value, "{name}");
    }
    assert!(format!("{connector:?}").contains("5a807f24-c9de-44ee-a3a7-329e88a00ffc/.default"), "{connector:?}");
    use ChannelCloud::{China, Dod, Gcc, GccHigh, Public};
    for cloud in [Public, Gcc, GccHigh, Dod, China] {
        assert_ne!(cloud.agent_connector_scope(), cloud.connector_scope());
    }
    for bad in ["", " ", "a\r\nb", "ü", &"x".repeat(300)] {
        assert!(AgentIdentity::new(bad).is_err(), "{bad}");
    }
    let plain = self::connector();
    plain.send(&place(&server), &message()).await.unwrap();
    assert!(!server.received_requests().await.unwrap()[1].headers.contains_key("agentid"));
}
