//! Every operation of the connector client against the sandbox's connector, which was written from the documents and
//! shares no type with the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use botframework_activity::{
    Activity, Attachment, AttachmentData, BatchState, BatchTarget, ChannelAccount, ConnectorClient, ContentType,
    ConversationAccount, ConversationParameters, MeetingNotification, ReactionType, SendErrorKind, ServiceUrl,
};
use entra_auth::{ConfidentialClient, HttpTransport, ReqwestTransport, Secret};
use futures_util::TryStreamExt as _;
use m365_sandbox::{
    Author, Conversation, Entry, Fault, Sandbox, Standing,
    constants::{BOT_APP_ID, BOT_APP_SECRET, HOME_TENANT, RESOURCE_TENANT, USER_ONE, USER_TWO},
};
use serde_json::json;

/// Any path of the connector, for faults.
const ANYWHERE: &str = "/connector/**";

async fn scene() -> (Sandbox, ConnectorClient, ServiceUrl) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new().unwrap());
    let authority = sandbox.settings().into_iter().find(|(name, _)| *name == "AZURE_AUTHORITY_HOST").unwrap().1;
    let (tenant, app) = (RESOURCE_TENANT.parse().unwrap(), BOT_APP_ID.parse().unwrap());
    let credential = ConfidentialClient::builder(tenant, app, Secret::from(BOT_APP_SECRET))
        .authority(authority.parse().unwrap())
        .transport(Arc::clone(&transport))
        .build()
        .unwrap();
    let connector = ConnectorClient::builder(transport, Arc::new(credential)).build().unwrap();
    let url = ServiceUrl::loopback_dev(&sandbox.service_url(HOME_TENANT)).unwrap();
    (sandbox, connector, url)
}

fn bot() -> ChannelAccount {
    ChannelAccount::new(format!("28:{BOT_APP_ID}"))
}

/// A message of the bot to user one.
fn message(chat: &str, text: &str) -> Activity {
    let mut message = Activity::message(text).with_from(bot()).with_recipient(ChannelAccount::new(USER_ONE.mri));
    message.conversation = Some(ConversationAccount::new(chat));
    message
}

fn last(chat: &Conversation) -> Entry {
    chat.transcript().into_iter().rfind(|entry| entry.author == Author::Bot).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_made_answered_changed_and_deleted() {
    let (sandbox, connector, url) = scene().await;
    let chat = sandbox.teams().user(USER_ONE).conversation();
    let sent = connector.send(&url, &message(chat.id(), "one")).await.unwrap();
    let id = sent.id().unwrap().to_owned();
    connector.update(&url, &message(chat.id(), "two").with_id(&*id)).await.unwrap();
    assert_eq!((last(&chat).text(), last(&chat).history.len()), ("two", 1));
    let mut reply = message(chat.id(), "three");
    reply.reply_to_id = Some(id.clone());
    connector.reply(&url, &reply).await.unwrap();
    assert_eq!(last(&chat).reply_to.as_deref(), Some(&*id));
    connector.delete(&url, chat.id(), &id).await.unwrap();
    assert!(chat.transcript().into_iter().find(|entry| entry.id == id).unwrap().deleted);
    let gone = connector.delete(&url, chat.id(), "1").await.unwrap_err();
    assert_eq!(gone.kind(), SendErrorKind::NotFound);

    for name in ["like", "1f440_eyes"] {
        let reaction = ReactionType::from(name.to_owned());
        let id = last(&chat).id;
        connector.add_reaction(&url, chat.id(), &id, &reaction).await.unwrap();
        assert_eq!(last(&chat).reactions, [name]);
        connector.remove_reaction(&url, chat.id(), &id, &reaction).await.unwrap();
        assert!(last(&chat).reactions.is_empty());
    }

    let group = sandbox.teams().user(USER_ONE).group("team", &[USER_TWO]);
    let sent = connector.send_targeted(&url, &message(group.id(), "for you")).await.unwrap();
    let id = sent.id().unwrap();
    connector.update_targeted(&url, &message(group.id(), "for you alone").with_id(id)).await.unwrap();
    connector.delete_targeted(&url, group.id(), id).await.unwrap();
    assert!(last(&group).targeted && last(&group).deleted && last(&group).text() == "for you alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_started_where_the_channel_lets_a_bot() {
    let (sandbox, connector, url) = scene().await;
    let user = || ChannelAccount::new(USER_ONE.mri);
    let personal = ConversationParameters::personal(bot(), user(), HOME_TENANT);
    let made = connector.create_conversation(&url, &personal).await.unwrap();
    let chat = sandbox.teams().user(USER_ONE).conversation();
    assert_eq!(made.id.as_deref(), Some(chat.id()));

    let channel = sandbox.teams().user(USER_ONE).channel("Sales", "News", &[USER_TWO]);
    let first = Activity::message("a new thread").with_from(bot());
    let mut first = first;
    first.conversation = Some(ConversationAccount::new(channel.id()));
    let made = connector.create_conversation(&url, &ConversationParameters::thread(channel.id(), first)).await.unwrap();
    let id = made.activity_id.unwrap();
    assert_eq!(made.id, Some(format!("{};messageid={id}", channel.id())));
    assert_eq!(last(&channel).text(), "a new thread");

    let group = ConversationParameters::group(bot(), [user(), ChannelAccount::new(USER_TWO.mri)]);
    let refused = connector.create_conversation(&url, &group).await.unwrap_err();
    assert!(matches!(refused.kind(), SendErrorKind::Refused), "Teams lets no bot make a group chat: {refused}");

    let mut list: Vec<_> = connector.conversations(&url).try_collect::<Vec<_>>().await.unwrap();
    list.retain(|one| one.id.as_deref() == Some(channel.id()));
    assert_eq!(list[0].members.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_found_and_removed() {
    let (sandbox, connector, url) = scene().await;
    let group = sandbox.teams().user(USER_ONE).group("team", &[USER_TWO]);
    let members: Vec<_> = connector.members(&url, group.id()).try_collect().await.unwrap();
    let ids: Vec<_> = members.iter().filter_map(|member| member.id.as_deref()).collect();
    assert_eq!(ids, [USER_ONE.mri, USER_TWO.mri]);
    assert_eq!(members[0].aad_object_id.as_deref(), Some(USER_ONE.oid), "lists write it as objectId");
    for id in [USER_TWO.mri, USER_TWO.oid] {
        let member = connector.member(&url, group.id(), id).await.unwrap();
        assert_eq!(member.aad_object_id.as_deref(), Some(USER_TWO.oid));
    }
    let sent = connector.send(&url, &message(group.id(), "hi")).await.unwrap();
    let seen = connector.activity_members(&url, group.id(), sent.id().unwrap()).await.unwrap();
    assert_eq!(seen.len(), 2);
    connector.remove_member(&url, group.id(), USER_TWO.mri).await.unwrap();
    let gone = connector.member(&url, group.id(), USER_TWO.mri).await.unwrap_err();
    assert_eq!(gone.kind(), SendErrorKind::NotFound);
    // A list longer than a page is read to its end.
    let many: Vec<_> = (0..119)
        .map(|n| {
            let mut user = USER_TWO;
            (user.mri, user.oid) = (format!("29:{n}").leak(), format!("{n}").leak());
            user
        })
        .collect();
    let crowd = sandbox.teams().user(USER_ONE).group("crowd", &many);
    let members: Vec<_> = connector.members_by(&url, crowd.id(), 50).try_collect().await.unwrap();
    assert_eq!(members.len(), 120);
    assert_eq!(members[119].id.as_deref(), Some("29:118"));
    assert_eq!(sandbox.requests("GET /connector/{region}/{tenant}/v3/conversations/{id}/pagedmembers"), 1 + 3);

    group.set_standing(Standing::Uninstalled);
    let refused = connector.members(&url, group.id()).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(refused.kind(), SendErrorKind::NotInstalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_uploaded_described_and_fetched() {
    let (sandbox, connector, url) = scene().await;
    let chat = sandbox.teams().user(USER_ONE).conversation();
    let mut file = AttachmentData::default();
    file.kind = Some("image/png".to_owned().into());
    file.name = Some("a.png".to_owned());
    file.original_base64 = Some("AAEC".to_owned());
    let id = connector.upload(&url, chat.id(), &file).await.unwrap().id.unwrap();
    let info = connector.attachment_info(&url, &id).await.unwrap();
    assert_eq!((info.name.as_deref(), info.views[0].size), (Some("a.png"), Some(3)));
    let view = connector.attachment_view(&url, &id, "original").await.unwrap();
    assert_eq!((view.content_type.as_deref(), &view.bytes[..]), (Some("image/png"), &[0, 1, 2][..]));
    let none = connector.attachment_view(&url, &id, "thumbnail").await.unwrap_err();
    assert_eq!(none.kind(), SendErrorKind::NotFound);
    file.original_base64 = None;
    assert_eq!(connector.upload(&url, chat.id(), &file).await.unwrap_err().kind(), SendErrorKind::Refused);
    // A picture that a user put into a message.
    let address = chat.store_picture("b.png", "image/png", vec![7; 9]);
    let picture = Attachment::linked(ContentType::from("image/png".to_owned()), address);
    assert_eq!(connector.download(&url, &picture).await.unwrap().bytes.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_and_meetings_are_asked_about() {
    let (sandbox, connector, url) = scene().await;
    let user = sandbox.teams().user(USER_ONE);
    let channel = user.channel("Sales", "News", &[USER_TWO]);
    // The id of a team comes with its activities.
    sandbox.set_bot_endpoint("http://127.0.0.1:9/nobody");
    channel.say("hi").await;
    let team = channel.transcript()[0].activity["channelData"]["team"]["id"].as_str().unwrap().to_owned();
    let details = connector.team(&url, &team).await.unwrap();
    assert_eq!((details.name.as_deref(), details.member_count), (Some("Sales"), Some(2)));
    let channels = connector.channels(&url, &team).await.unwrap();
    let names: Vec<_> = channels.iter().filter_map(|channel| channel.name.as_deref()).collect();
    assert_eq!(names, ["General", "News"]);
    assert_eq!(connector.team(&url, "19:unknown").await.unwrap_err().kind(), SendErrorKind::NotFound);

    let chat = user.meeting("Standup", &[USER_TWO]);
    let id = chat.meeting_id().unwrap();
    let meeting = connector.meeting(&url, id).await.unwrap();
    assert_eq!(meeting.details.unwrap().title.as_deref(), Some("Standup"));
    assert_eq!(meeting.organizer.unwrap().aad_object_id.as_deref(), Some(USER_ONE.oid));
    chat.set_in_meeting(USER_TWO, true);
    let found = connector.meeting_participant(&url, id, USER_TWO.oid, HOME_TENANT).await.unwrap();
    let presence = found.meeting.unwrap();
    assert_eq!((presence.role.as_deref(), presence.in_meeting), (Some("Attendee"), Some(true)));
    let notification = |recipients: &[&str]| -> MeetingNotification {
        let surface = json!({"surface": "meetingStage", "contentType": "task", "content": {"value": {"height": 100}}});
        let value = json!({"recipients": recipients, "surfaces": [surface]});
        serde_json::from_value(json!({"type": "targetedMeetingNotification", "value": value})).unwrap()
    };
    let all = connector.notify_meeting(&url, id, &notification(&[USER_TWO.mri])).await.unwrap();
    assert!(all.recipients_failure_info.is_empty());
    let some = connector.notify_meeting(&url, id, &notification(&[USER_ONE.mri, USER_TWO.mri])).await.unwrap();
    assert_eq!(some.recipients_failure_info[0].recipient_mri.as_deref(), Some(USER_ONE.mri));
    assert_eq!(chat.meeting_notifications().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_started_watched_and_stopped() {
    let (sandbox, connector, url) = scene().await;
    let chat = sandbox.teams().user(USER_ONE).conversation();
    let channel = sandbox.teams().user(USER_ONE).channel("Sales", "News", &[]);
    let news = Activity::message("news");
    let users = BatchTarget::Users(&[USER_ONE.mri, "29:a", "29:b", "29:c"]);
    let id = connector.send_batch(&url, HOME_TENANT, users, &news).await.unwrap();
    let first = connector.batch_status(&url, &id).await.unwrap();
    assert!(first.state == Some(BatchState::ONGOING) && first.retry_after.is_some());
    let done = connector.batch_status(&url, &id).await.unwrap();
    assert_eq!((done.state.clone(), done.count(201), done.count(404)), (Some(BatchState::COMPLETED), 1, 3));
    let failed: Vec<_> = connector.batch_failures(&url, &id).try_collect().await.unwrap();
    let failed: Vec<_> = failed.iter().filter_map(|entry| entry.entry_id.as_deref()).collect();
    assert_eq!(failed, ["29:a", "29:b", "29:c"], "over two pages");
    connector.cancel_batch(&url, &id).await.unwrap();
    assert_eq!(connector.batch_status(&url, &id).await.unwrap_err().kind(), SendErrorKind::NotFound);
    connector.send_batch(&url, HOME_TENANT, BatchTarget::Tenant, &news).await.unwrap();
    connector.send_batch(&url, HOME_TENANT, BatchTarget::Channels(&[channel.id()]), &news).await.unwrap();
    assert_eq!((chat.transcript().len(), channel.transcript().len()), (2, 1));
}

/// A batch that was lost on the way back may have been delivered: it is not started twice. What only reads is asked
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_service_are_met_as_everywhere() {
    let (sandbox, connector, url) = scene().await;
    let chat = sandbox.teams().user(USER_ONE).conversation();
    sandbox.fault(Fault::on("POST /connector/{region}/{tenant}/v3/batch/**").lose_answer().times(1));
    let news = Activity::message("news");
    let users = BatchTarget::Users(&[USER_ONE.mri]);
    let lost = connector.send_batch(&url, HOME_TENANT, users, &news).await.unwrap_err();
    assert_eq!(lost.delivery(), botframework_activity::Delivery::Ambiguous);
    assert_eq!(chat.transcript().len(), 1);
    sandbox.fault(Fault::on(ANYWHERE).status(502).times(1));
    connector.member(&url, chat.id(), USER_ONE.mri).await.unwrap();
    sandbox.fault(Fault::on(ANYWHERE).status(429).header("retry-after", "0").times(1));
    connector.send_batch(&url, HOME_TENANT, users, &news).await.unwrap();
    assert_eq!(chat.transcript().len(), 2);
}
