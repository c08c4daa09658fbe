//! The connector refuses what the service refuses, with its error bodies, and accepts what it accepts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channel_bot;

use channel_bot::{Scene, echo, encode, mirrored, path};
use m365_sandbox::constants::{
    BOT_APP_ID, BOT_APP_SECRET, HOME_TENANT, OTHER_APP_ID, OTHER_APP_SECRET, RESOURCE_TENANT, USER_ONE, USER_TWO,
};
use m365_sandbox::{Scope, Standing};
use serde_json::{Value, json};

const CONNECTOR: &str = "https://api.botframework.com/.default";

/// A scene where user one said hi; the inbound activity and a good answer to it.
async fn ready() -> (Scene, Value, Value) {
    let scene = echo().await;
    let exchange = scene.teams.user(USER_ONE).conversation().say("hi").await;
    assert_eq!(exchange.text(), "echo: hi", "{:?}", exchange.posted);
    let inbound = scene.bot.got("message").remove(0);
    let answer = mirrored(&inbound, json!({ "type": "message", "text": "more" }));
    (scene, inbound, answer)
}

fn refused(answer: &(u16, Value), status: u16, code: &str) {
    assert_eq!((answer.0, answer.1["error"]["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert!(answer.1["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
}

#[tokio::test]
async fn pictures_want_the_bots_token_and_documents_none() {
    let (scene, _, _) = ready().await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let picture = chat.picture("image/png", &b"png"[..]);
    let document = chat.document("a.pdf", &b"pdf"[..]);
    let fetch = |url: &Value, token: Option<String>| {
        let mut request = reqwest::Client::new().get(url.as_str().unwrap());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let token = || async { Some(scene.bot.token().await) };
    let at = &picture["contentUrl"];
    assert_eq!(fetch(at, token().await).await, (200, "png".to_owned()));
    assert_eq!(fetch(at, None).await.0, 401);
    assert_eq!(fetch(at, Some(scene.sandbox.sso_token(&USER_ONE))).await.0, 401);
    let thumbnail = at.as_str().unwrap().replace("/original", "/thumbnail");
    assert_eq!(fetch(&thumbnail.into(), token().await).await.0, 404);

    assert_eq!(document["content"]["fileType"], "pdf");
    let at = &document["content"]["downloadUrl"];
    assert_eq!(fetch(at, None).await, (200, "pdf".to_owned()));
    assert_eq!(fetch(at, token().await).await.0, 401, "a token is judged instead of the address");
    let bare = at.as_str().unwrap().split('?').next().unwrap().to_owned();
    assert_eq!(fetch(&bare.into(), None).await.0, 403);
}

#[tokio::test]
async fn bearers_are_judged_first() {
    let (scene, inbound, answer) = ready().await;
    let (bot, url) = (&scene.bot, inbound["serviceUrl"].as_str().unwrap());
    let reply = path(&inbound["conversation"]["id"], &inbound["id"]);
    let before = scene.teams.counters();
    let foreign = bot.token_of(HOME_TENANT, BOT_APP_ID, BOT_APP_SECRET, CONNECTOR).await;
    let other_audience =
        bot.token_of(RESOURCE_TENANT, BOT_APP_ID, BOT_APP_SECRET, "https://ai.azure.com/.default").await;
    let other_app = bot.token_of(RESOURCE_TENANT, OTHER_APP_ID, OTHER_APP_SECRET, CONNECTOR).await;
    let expired = bot.token().await;
    let user = scene.sandbox.sso_token(&USER_ONE);
    let channel = scene.sandbox.channel_token(BOT_APP_ID, url);
    let mut forged = bot.token().await;
    forged.truncate(forged.len() - 8);
    forged.push_str("AAAAAAAA");
    for (name, token) in [
        ("none", None),
        ("garbage", Some("a.b.c")),
        ("the user's tenant", Some(foreign.as_str())),
        ("another audience", Some(&other_audience)),
        ("a user's token", Some(&user)),
        ("a channel token", Some(&channel)),
        ("a forged signature", Some(&forged)),
    ] {
        let refusal = bot.call_as(token, "POST", url, &reply, Some(&answer)).await;
        assert_eq!(refusal.0, 401, "{name}: {refusal:?}");
    }
    refused(&bot.call_as(Some(&other_app), "POST", url, &reply, Some(&answer)).await, 401, "BotNotRegistered");
    scene.sandbox.advance_clock(2 * 3600);
    refused(&bot.call_as(Some(&expired), "POST", url, &reply, Some(&answer)).await, 401, "Unauthorized");
    let after = scene.teams.counters();
    assert_eq!((after.creates - before.creates, after.unauthorized - before.unauthorized), (0, 9));
    assert_eq!(bot.call("POST", url, &reply, Some(&answer)).await.0, 201, "a fresh token still works");
}

#[tokio::test]
async fn mirrored_fields_are_demanded() {
    let (scene, inbound, answer) = ready().await;
    let (bot, url) = (&scene.bot, inbound["serviceUrl"].as_str().unwrap());
    let reply = path(&inbound["conversation"]["id"], &inbound["id"]);
    for field in ["from", "recipient", "conversation", "replyToId", "type"] {
        let mut activity = answer.clone();
        activity.as_object_mut().unwrap().remove(field);
        let refusal = bot.call("POST", url, &reply, Some(&activity)).await;
        refused(&refusal, 400, "MissingProperty");
        assert!(refusal.1["error"]["message"].as_str().unwrap().contains(field), "{refusal:?}");
    }
    for field in ["from", "recipient", "conversation"] {
        let mut activity = answer.clone();
        activity[field]["id"] = json!("29:somebody-else");
        refused(&bot.call("POST", url, &reply, Some(&activity)).await, 400, "BadArgument");
    }
    assert_eq!(bot.call("POST", url, &reply, Some(&json!({ "type": "typing" }))).await.0, 201);
    assert_eq!(bot.call("POST", url, &reply, Some(&answer)).await.0, 201);
}

#[tokio::test]
async fn unknown_ids_bodies_and_methods() {
    let (scene, inbound, answer) = ready().await;
    let (bot, url) = (&scene.bot, inbound["serviceUrl"].as_str().unwrap());
    let conversation = &inbound["conversation"]["id"];
    refused(
        &bot.call("POST", url, &path(&json!("a:unknown"), &inbound["id"]), Some(&answer)).await,
        404,
        "ConversationNotFound",
    );
    refused(
        &bot.call("POST", url, &path(conversation, &json!("1")), Some(&answer)).await,
        404,
        "ActivityNotFoundInConversation",
    );
    refused(
        &bot.call("PUT", url, &path(conversation, &json!("1")), Some(&answer)).await,
        404,
        "ActivityNotFoundInConversation",
    );
    refused(
        &bot.call("DELETE", url, &path(conversation, &json!("1")), None).await,
        404,
        "ActivityNotFoundInConversation",
    );
    refused(
        &bot.call("PUT", url, &path(conversation, &inbound["id"]), Some(&answer)).await,
        403,
        "NotEnoughPermissions",
    );
    let other_tenant = url.replace(HOME_TENANT, RESOURCE_TENANT);
    let reply = path(conversation, &inbound["id"]);
    refused(&bot.call("POST", &other_tenant, &reply, Some(&answer)).await, 404, "ConversationNotFound");
    refused(&bot.call("PATCH", url, &reply, Some(&answer)).await, 405, "BadArgument");
    refused(&bot.call_as(None, "PATCH", url, "/no/such/path", None).await, 401, "Unauthorized");
    refused(&bot.call("POST", url, &reply, Some(&json!([1]))).await, 400, "BadSyntax");
    let big = json!("x".repeat(100 * 1024));
    let mut activity = answer.clone();
    activity["text"] = big;
    refused(&bot.call("POST", url, &reply, Some(&activity)).await, 413, "MessageSizeTooBig");
}

#[tokio::test]
async fn updates_deletes_and_throttling() {
    let (scene, inbound, answer) = ready().await;
    let bot = &scene.bot;
    let url = inbound["serviceUrl"].as_str().unwrap();
    let id = bot.reply(&inbound, json!({ "type": "message", "text": "placeholder" })).await;
    assert_eq!(bot.update(&inbound, &id, "final").await.0, 200);
    let conversation = scene.teams.user(USER_ONE).conversation();
    let entry = conversation.transcript().into_iter().find(|entry| entry.id == id).unwrap();
    assert_eq!((entry.text(), entry.history[0]["text"].as_str()), ("final", Some("placeholder")));
    let target = path(&inbound["conversation"]["id"], &json!(id));
    assert_eq!(bot.call("DELETE", url, &target, None).await.0, 200);
    refused(&bot.call("DELETE", url, &target, None).await, 403, "ServiceError");
    scene.teams.throttle(1, 7);
    let token = bot.token().await;
    let reply = path(&inbound["conversation"]["id"], &inbound["id"]);
    let response = bot
        .client
        .post(format!("{url}v3/conversations{reply}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(answer.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    refused(&(429, response.json().await.unwrap()), 429, "Throttled");
    assert_eq!(bot.call("POST", url, &reply, Some(&answer)).await.0, 201, "only once");
    let counters = scene.teams.counters();
    assert_eq!((counters.updates, counters.deletes, counters.throttled), (1, 1, 1));
    assert_eq!(conversation.answers_to(inbound["id"].as_str().unwrap()), 3, "every create is counted");
}

#[tokio::test]
async fn ids_survive_the_path() {
    let scene = echo().await;
    for id in ["19:abc@thread.tacv2;messageid=123", "a:1/2%3F", "19:a|b c+d@thread.v2"] {
        let body = json!({
            "type": "message", "id": "77/8", "text": "hi", "channelId": "msteams", "serviceUrl": "https://smba.trafficmanager.net/amer/x/",
            "from": { "id": USER_ONE.mri }, "recipient": { "id": "28:recorded" },
            "conversation": { "id": id, "conversationType": if id.starts_with('a') { "personal" } else { "channel" }, "tenantId": HOME_TENANT },
        });
        let exchange = scene.teams.send_raw(http::HeaderMap::new(), body.to_string().into()).await;
        assert_eq!(exchange.text(), "echo: hi", "{id}");
        assert_eq!(exchange.replies[0].conversation, id);
    }
    let url = scene.sandbox.service_url(HOME_TENANT);
    let bare = scene.bot.call("POST", &url, "/a:1/2%3F/activities", Some(&json!({ "type": "typing" }))).await;
    assert_eq!(bare.0, 404, "an id whose slash was not encoded");
    let twice = format!("/{}/activities", encode(&encode("a:1/2%3F")));
    refused(
        &scene.bot.call("POST", &url, &twice, Some(&json!({ "type": "typing" }))).await,
        404,
        "ConversationNotFound",
    );
}

#[tokio::test]
async fn rosters_and_pages() {
    let scene = echo().await;
    let chat = scene.teams.user(USER_ONE).channel("Team", "General", &[USER_TWO]);
    let exchange = chat.say("hi").await;
    let thread = exchange.replies[0].conversation.clone();
    let url = chat.service_url();
    let get = |tail: String| {
        let (bot, url) = (scene.bot.clone(), url.clone());
        async move { bot.call("GET", &url, &tail, None).await }
    };
    let room = encode(chat.id());
    let all = get(format!("/{room}/members")).await;
    assert_eq!(
        (all.0, all.1[0]["objectId"].as_str(), all.1[0]["userPrincipalName"].as_str()),
        (200, Some(USER_ONE.oid), Some(USER_ONE.upn))
    );
    for id in [USER_TWO.mri, USER_TWO.oid] {
        let one = get(format!("/{room}/members/{}", encode(id))).await;
        assert_eq!((one.0, one.1["aadObjectId"].as_str()), (200, Some(USER_TWO.oid)));
    }
    refused(&get(format!("/{room}/members/29%3Anobody")).await, 404, "MemberNotFoundInConversation");
    refused(&get(format!("/{}/members", encode(&thread))).await, 404, "ConversationNotFound");
    let first = get(format!("/{room}/pagedmembers?pageSize=1")).await.1;
    let token = first["continuationToken"].as_str().unwrap();
    let second = get(format!("/{room}/pagedmembers?pageSize=1&continuationToken={token}")).await.1;
    assert_eq!(
        (first["members"][0]["id"].as_str(), second["members"][0]["id"].as_str()),
        (Some(USER_ONE.mri), Some(USER_TWO.mri))
    );
    assert!(second.get("continuationToken").is_none());
    refused(&get(format!("/{room}/pagedmembers?continuationToken=zzz")).await, 400, "BadArgument");
}

#[tokio::test]
async fn a_bot_starts_conversations() {
    let scene = echo().await;
    let url = scene.sandbox.service_url(HOME_TENANT);
    let create = |body: Value| {
        let (bot, url) = (scene.bot.clone(), url.clone());
        async move { bot.call("POST", &url, "", Some(&body)).await }
    };
    let good = json!({ "bot": { "id": format!("28:{BOT_APP_ID}") }, "members": [{ "id": USER_TWO.oid }], "isGroup": false, "tenantId": HOME_TENANT,
        "channelData": { "tenant": { "id": HOME_TENANT } }, "activity": { "type": "message", "text": "hello" } });
    let made = create(good.clone()).await;
    let chat = scene.teams.user(USER_TWO).conversation();
    assert_eq!((made.0, made.1["id"].as_str()), (201, Some(chat.id())));
    assert_eq!(chat.transcript()[0].text(), "hello");
    let with = |change: fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    refused(
        &create(with(|body| body["members"] = json!([{ "id": "29:a" }, { "id": "29:b" }]))).await,
        400,
        "BadArgument",
    );
    refused(&create(with(|body| body["members"] = json!([{ "id": "28:bot" }]))).await, 400, "BadArgument");
    refused(&create(with(|body| body["members"] = json!([]))).await, 400, "MissingProperty");
    refused(&create(with(|body| body["tenantId"] = json!(RESOURCE_TENANT))).await, 400, "BadArgument");
    refused(
        &create(with(|body| body["members"] = json!([{ "id": "29:stranger" }]))).await,
        403,
        "ForbiddenOperationException",
    );
    let channel = scene.teams.user(USER_ONE).channel("Team", "General", &[]);
    let thread = json!({ "isGroup": true, "channelData": { "channel": { "id": channel.id() } }, "activity": { "type": "message", "text": "news" } });
    let made = create(thread.clone()).await;
    let id = made.1["id"].as_str().unwrap();
    assert_eq!(
        (made.0, id),
        (201, format!("{};messageid={}", channel.id(), made.1["activityId"].as_str().unwrap()).as_str())
    );
    let mut unknown = thread;
    unknown["channelData"]["channel"]["id"] = json!("19:none@thread.tacv2");
    refused(&create(unknown).await, 404, "ConversationNotFound");
}

#[tokio::test]
async fn standings_and_streams() {
    let (scene, inbound, answer) = ready().await;
    let (bot, url) = (&scene.bot, inbound["serviceUrl"].as_str().unwrap());
    let chat = scene.teams.user(USER_ONE).conversation();
    let reply = path(&inbound["conversation"]["id"], &inbound["id"]);
    for (standing, code) in [
        (Standing::Uninstalled, "ForbiddenOperationException"),
        (Standing::Blocked, "ConversationBlockedByUser"),
        (Standing::Disabled, "BotDisabledByAdmin"),
    ] {
        chat.set_standing(standing);
        refused(&bot.call("POST", url, &reply, Some(&answer)).await, 403, code);
    }
    chat.set_standing(Standing::Installed);
    let send = format!("/{}/activities", encode(chat.id()));
    let chunk = |kind: &str, entity: Value, text: &str| {
        mirrored(&inbound, json!({ "type": kind, "text": text, "entities": [entity] }))
    };
    let start =
        chunk("typing", json!({ "type": "streaminfo", "streamType": "informative", "streamSequence": 1 }), "thinking");
    let started = bot.call("POST", url, &send, Some(&start)).await;
    assert_eq!(started.0, 201);
    let id = started.1["id"].as_str().unwrap().to_owned();
    let step = |sequence: u64, text: &str| {
        chunk(
            "typing",
            json!({ "type": "streaminfo", "streamId": id, "streamType": "streaming", "streamSequence": sequence }),
            text,
        )
    };
    assert_eq!(bot.call("POST", url, &send, Some(&step(2, "Hel"))).await, (202, json!({})));
    let late = bot.call("POST", url, &send, Some(&step(2, "Hello"))).await;
    refused(&late, 202, "ContentStreamSequenceOrderPreConditionFailed");
    refused(&bot.call("POST", url, &send, Some(&step(3, "Bye"))).await, 403, "ContentStreamNotAllowed");
    let done = chunk("message", json!({ "type": "streaminfo", "streamId": id, "streamType": "final" }), "Hello");
    assert_eq!(bot.call("POST", url, &send, Some(&done)).await.0, 202);
    let entry = chat.transcript().into_iter().find(|entry| entry.id == id).unwrap();
    assert_eq!((entry.kind(), entry.text(), entry.streaming), ("message", "Hello", false));
    refused(&bot.call("POST", url, &send, Some(&done)).await, 403, "ContentStreamNotAllowed");
    let group = scene.teams.user(USER_ONE).group("Team", &[USER_TWO]);
    let said = group.say("hi").await;
    assert_eq!(said.text(), "echo: <at>Sandbox Bot</at> hi");
    let inbound = bot.got("message").pop().unwrap();
    assert_eq!(inbound["conversation"]["conversationType"], Scope::GroupChat.as_str());
    let start = mirrored(&inbound, json!({ "type": "typing", "text": "x", "entities": start["entities"] }));
    refused(
        &bot.call("POST", url, &format!("/{}/activities", encode(group.id())), Some(&start)).await,
        400,
        "BadArgument",
    );
}
