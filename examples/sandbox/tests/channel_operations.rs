//! The connector beside messages: files, reactions, teams, meetings, batches. Raw JSON, as the documents have it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channel_bot;

use channel_bot::{Scene, echo, encode, mirrored};
use m365_sandbox::constants::{HOME_TENANT, USER_ONE, USER_TWO};
use m365_sandbox::{Conversation, Fault, Standing};
use serde_json::{Value, json};

/// Any request below the service URL, with the bot's token: status, content type, body.
async fn raw(scene: &Scene, method: &str, path: &str, body: Option<&Value>) -> (u16, String, Vec<u8>) {
    let url = format!("{}{path}", scene.sandbox.service_url(HOME_TENANT));
    let request = scene.bot.client.request(method.parse().unwrap(), url).bearer_auth(scene.bot.token().await);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    let response = request.send().await.unwrap();
    let kind = response.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    (response.status().as_u16(), kind, response.bytes().await.unwrap().to_vec())
}

async fn ask(scene: &Scene, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let (status, _, body) = raw(scene, method, path, body).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn refused(answer: &(u16, Value), status: u16, code: &str) {
    assert_eq!((answer.0, answer.1["error"]["code"].as_str()), (status, Some(code)), "{answer:?}");
}

fn at(conversation: &Conversation) -> String {
    format!("v3/conversations/{}", encode(conversation.id()))
}

#[tokio::test]
async fn files_go_in_and_come_out_again() {
    let scene = echo().await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let upload = format!("{}/attachments", at(&chat));
    let file = json!({ "type": "image/png", "name": "a.png", "originalBase64": "AAEC", "thumbnailBase64": "Aw==" });
    let (status, made) = ask(&scene, "POST", &upload, Some(&file)).await;
    assert_eq!(status, 201);
    let path = format!("v3/attachments/{}", made["id"].as_str().unwrap());
    let info = json!({
        "name": "a.png", "type": "image/png",
        "views": [{ "viewId": "original", "size": 3 }, { "viewId": "thumbnail", "size": 1 }],
    });
    assert_eq!(ask(&scene, "GET", &path, None).await, (200, info));
    for (view, bytes) in [("original", &[0, 1, 2][..]), ("thumbnail", &[3])] {
        let answer = raw(&scene, "GET", &format!("{path}/views/{view}"), None).await;
        assert_eq!(answer, (200, "image/png".to_owned(), bytes.to_vec()), "{view}");
    }
    refused(&ask(&scene, "GET", &format!("{path}/views/huge"), None).await, 404, "BadArgument");
    refused(&ask(&scene, "GET", "v3/attachments/unknown", None).await, 404, "BadArgument");
    for missing in ["type", "originalBase64"] {
        let mut file = file.clone();
        file.as_object_mut().unwrap().remove(missing);
        refused(&ask(&scene, "POST", &upload, Some(&file)).await, 400, "MissingProperty");
    }
    let broken = json!({ "type": "image/png", "originalBase64": "?" });
    refused(&ask(&scene, "POST", &upload, Some(&broken)).await, 400, "BadArgument");
    // A picture of a user is there as well, for who has the bot's token.
    let address = chat.store_picture("b.png", "image/png", vec![7]);
    let path = address.strip_prefix(&scene.sandbox.service_url(HOME_TENANT)).unwrap();
    assert_eq!(raw(&scene, "GET", path, None).await.2, [7]);
    assert_eq!(scene.bot.client.get(&address).send().await.unwrap().status().as_u16(), 401);
    // What goes into a conversation asks for its door.
    chat.set_standing(Standing::Blocked);
    refused(&ask(&scene, "POST", &upload, Some(&file)).await, 403, "ConversationBlockedByUser");
}

#[tokio::test]
async fn reactions_come_and_go() {
    let scene = echo().await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let said = chat.say("hi").await;
    let path = |name: &str| format!("{}/activities/{}/reactions/{name}", at(&chat), encode(&said.activity_id));
    for name in ["like", "1f440_eyes", "like"] {
        assert_eq!(ask(&scene, "PUT", &path(name), None).await.0, 200, "{name}");
    }
    let reactions = || chat.transcript().into_iter().find(|entry| entry.id == said.activity_id).unwrap().reactions;
    assert_eq!(reactions(), ["1f440_eyes", "like"]);
    for _ in 0..2 {
        assert_eq!(ask(&scene, "DELETE", &path("like"), None).await.0, 200);
    }
    assert_eq!(reactions(), ["1f440_eyes"]);
    let unknown = format!("{}/activities/1/reactions/like", at(&chat));
    refused(&ask(&scene, "PUT", &unknown, None).await, 404, "ActivityNotFoundInConversation");
    refused(&ask(&scene, "POST", &path("like"), None).await, 405, "BadArgument");
}

#[tokio::test]
async fn targeted_messages_are_seen_by_one() {
    let scene = echo().await;
    let group = scene.teams.user(USER_ONE).group("team", &[USER_TWO]);
    group.say("hi").await;
    let inbound = scene.bot.got("message").remove(0);
    let mut message = mirrored(&inbound, json!({ "type": "message", "text": "for you alone" }));
    let send = format!("{}/activities?isTargetedActivity=true", at(&group));
    let (status, sent) = ask(&scene, "POST", &send, Some(&message)).await;
    assert_eq!(status, 202);
    let id = sent["id"].as_str().unwrap();
    let path = format!("{}/activities/{id}?isTargetedActivity=true", at(&group));
    refused(&ask(&scene, "PUT", &path, Some(&message)).await, 400, "BadArgument");
    message.as_object_mut().unwrap().remove("recipient");
    assert_eq!(ask(&scene, "PUT", &path, Some(&message)).await.0, 200);
    refused(&ask(&scene, "POST", &send, Some(&message)).await, 400, "MissingProperty");
    assert_eq!(ask(&scene, "DELETE", &path, None).await.0, 200);
    let entry = group.transcript().into_iter().find(|entry| entry.id == id).unwrap();
    assert!(entry.targeted && entry.deleted && entry.history.len() == 1);
}

#[tokio::test]
async fn teams_channels_conversations_and_members() {
    let scene = echo().await;
    let user = scene.teams.user(USER_ONE);
    let (news, plans) = (user.channel("Sales", "News", &[USER_TWO]), user.channel("Sales", "Plans", &[]));
    news.say("hi").await;
    let inbound = scene.bot.got("message").remove(0);
    let team = inbound["channelData"]["team"]["id"].as_str().unwrap();
    let path = format!("v3/teams/{}", encode(team));
    let (status, details) = ask(&scene, "GET", &path, None).await;
    assert_eq!((status, &details["name"], &details["tenantId"]), (200, &json!("Sales"), &json!(HOME_TENANT)));
    assert_eq!((&details["memberCount"], &details["channelCount"]), (&json!(2), &json!(3)));
    let (_, channels) = ask(&scene, "GET", &format!("{path}/conversations"), None).await;
    let names: Vec<_> = channels["conversations"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["General", "News", "Plans"]);
    assert_eq!(channels["conversations"][0]["id"], team);
    refused(&ask(&scene, "GET", "v3/teams/19%3Aunknown", None).await, 404, "ConversationNotFound");

    let (_, list) = ask(&scene, "GET", "v3/conversations", None).await;
    let ids: Vec<_> = list["conversations"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&news.id()) && ids.contains(&plans.id()), "{ids:?}");

    let member = format!("{}/members/{}", at(&news), encode(USER_TWO.mri));
    assert_eq!(ask(&scene, "DELETE", &member, None).await.0, 200);
    refused(&ask(&scene, "DELETE", &member, None).await, 404, "MemberNotFoundInConversation");
    let (_, members) = ask(&scene, "GET", &format!("{}/members", at(&news)), None).await;
    assert_eq!(members.as_array().unwrap().len(), 1);
    let personal = format!("{}/members/{}", at(&user.conversation()), encode(USER_ONE.mri));
    refused(&ask(&scene, "DELETE", &personal, None).await, 403, "NotEnoughPermissions");

    for channel in [&news, &plans] {
        channel.set_standing(Standing::Uninstalled);
    }
    refused(&ask(&scene, "GET", &path, None).await, 403, "BotNotInConversationRoster");
}

#[tokio::test]
async fn meetings_have_details_participants_and_notifications() {
    let scene = echo().await;
    let meeting = scene.teams.user(USER_ONE).meeting("Standup", &[USER_TWO]);
    meeting.say("hi").await;
    let inbound = scene.bot.got("message").remove(0);
    let id = inbound["channelData"]["meeting"]["id"].as_str().unwrap();
    assert_eq!(Some(id), meeting.meeting_id());
    let path = format!("v1/meetings/{}", encode(id));
    let (status, details) = ask(&scene, "GET", &path, None).await;
    assert_eq!((status, &details["details"]["title"]), (200, &json!("Standup")));
    assert_eq!(details["organizer"]["aadObjectId"], USER_ONE.oid);
    assert_eq!(details["conversation"]["id"], meeting.id());
    refused(&ask(&scene, "GET", "v1/meetings/unknown", None).await, 404, "ConversationNotFound");

    let participant = |oid: &str, tenant: &str| format!("{path}/participants/{oid}?tenantId={tenant}");
    meeting.set_in_meeting(USER_TWO, true);
    for (user, role, inside) in [(USER_ONE, "Organizer", false), (USER_TWO, "Attendee", true)] {
        let (status, found) = ask(&scene, "GET", &participant(user.oid, HOME_TENANT), None).await;
        assert_eq!((status, &found["user"]["id"]), (200, &json!(user.mri)));
        assert_eq!(found["meeting"], json!({ "role": role, "inMeeting": inside }));
    }
    refused(&ask(&scene, "GET", &participant(USER_ONE.oid, "other"), None).await, 400, "BadArgument");
    refused(&ask(&scene, "GET", &participant("nobody", HOME_TENANT), None).await, 404, "MemberNotFoundInConversation");

    let notify = format!("{path}/notification");
    let shown = |recipients: &[&str]| {
        json!({
            "type": "targetedMeetingNotification",
            "value": {
                "recipients": recipients,
                "surfaces": [{ "surface": "meetingStage", "contentType": "task", "content": { "value": {} } }],
            },
        })
    };
    assert_eq!(ask(&scene, "POST", &notify, Some(&shown(&[USER_TWO.mri]))).await.0, 202);
    let (status, failed) = ask(&scene, "POST", &notify, Some(&shown(&[USER_ONE.mri, USER_TWO.mri]))).await;
    assert_eq!((status, &failed["recipientsFailureInfo"][0]["recipientMri"]), (207, &json!(USER_ONE.mri)));
    assert_eq!(failed["recipientsFailureInfo"].as_array().unwrap().len(), 1);
    assert_eq!(meeting.meeting_notifications().len(), 2);
    refused(&ask(&scene, "POST", &notify, Some(&shown(&[]))).await, 400, "MissingProperty");
    refused(&ask(&scene, "POST", &notify, Some(&json!({ "type": "other" }))).await, 400, "BadArgument");
}

#[tokio::test]
async fn batches_are_delivered_and_say_whom_they_missed() {
    let scene = echo().await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let channel = scene.teams.user(USER_ONE).channel("Sales", "News", &[]);
    let start = async |target: &str, fields: Value| {
        let mut body = json!({ "activity": { "type": "message", "text": target }, "tenantId": HOME_TENANT });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ask(&scene, "POST", &format!("v3/batch/conversation/{target}/"), Some(&body)).await
    };
    let ids = |ids: &[&str]| json!({ "members": ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>() });
    let (status, id) = start("users", ids(&[USER_ONE.mri, "29:a", USER_TWO.oid, "29:b"])).await;
    let path = format!("v3/batch/conversation/{}", id.as_str().unwrap());
    assert_eq!(status, 201);
    let (_, first) = ask(&scene, "GET", &path, None).await;
    assert!(first["state"] == "Ongoing" && first["retryAfter"].is_string(), "{first}");
    let done = json!({ "state": "Completed", "statusMap": { "201": 1, "404": 3 }, "totalEntriesCount": 4 });
    assert_eq!(ask(&scene, "GET", &path, None).await, (200, done));
    let failures = format!("v3/batch/conversation/failedentries/{}", id.as_str().unwrap());
    let (_, page) = ask(&scene, "GET", &failures, None).await;
    assert_eq!(page["failedEntryResponses"][0], json!({ "entryId": "29:a", "error": "MemberNotFoundInConversation" }));
    let token = page["continuationToken"].as_str().unwrap();
    let (_, page) = ask(&scene, "GET", &format!("{failures}?continuationToken={token}"), None).await;
    assert_eq!((page["failedEntryResponses"].as_array().unwrap().len(), page.get("continuationToken")), (1, None));
    assert_eq!(ask(&scene, "DELETE", &path, None).await.0, 200);
    refused(&ask(&scene, "GET", &path, None).await, 404, "BadArgument");

    channel.say("hi").await;
    let team = scene.bot.got("message").remove(0)["channelData"]["team"]["id"].clone();
    assert_eq!(start("tenant", json!({})).await.0, 201);
    assert_eq!(start("team", json!({ "teamId": team })).await.0, 201);
    assert_eq!(start("channels", ids(&[channel.id()])).await.0, 201);
    let texts = |chat: &Conversation| chat.transcript().iter().map(|entry| entry.text().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(&chat), ["users", "tenant", "team"]);
    assert_eq!(texts(&channel).last().unwrap(), "channels");
    assert_eq!(chat.transcript()[0].activity["recipient"]["id"], USER_ONE.mri);

    refused(&start("users", ids(&[])).await, 400, "MissingProperty");
    refused(&start("tenant", json!({ "tenantId": "other" })).await, 400, "BadArgument");
    refused(&start("team", json!({ "teamId": "19:unknown" })).await, 404, "ConversationNotFound");
    refused(&start("tenant", json!({ "activity": null })).await, 400, "MissingProperty");
    // Faults and throttling are those of every other route.
    scene.teams.throttle(1, 7);
    assert_eq!(start("tenant", json!({})).await.0, 429);
    scene.sandbox.fault(Fault::on("POST /connector/{region}/{tenant}/v3/batch/**").status(503).times(1));
    assert_eq!(start("tenant", json!({})).await.0, 503);
}
