//! The rows of the protocol's specification, each with the type that reads it. A row without a type, or a member without
//! a field, fails here. The specification is <https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md>
//! and, for Teams, <https://learn.microsoft.com/microsoftteams/platform/>.

use super::object::Object;
use super::vocabulary::{ActivityType, ContentType, EntityType, EventName, InvokeName};
use crate::{ai, card, event, invoke};

/// What is missing in `T`.
fn missing<T: Object + Default>(row: &str, members: &str) -> Vec<String> {
    let (names, object) = (members.split_whitespace(), T::default());
    names.filter(|name| !object.schema().knows(name)).map(|name| format!("{row}: {name}")).collect()
}

macro_rules! rows {
    ($($row:literal => $ty:ty: $members:literal;)*) => {{
        let mut all: Vec<&str> = Vec::new();
        let mut lost: Vec<String> = Vec::new();
        $(
            all.push($row);
            lost.extend(missing::<$ty>($row, $members));
        )*
        (all, lost)
    }};
}

/// Every known word of a vocabulary has a row.
fn uncovered(words: &[&str], rows: &[&str], elsewhere: &[&str]) -> Vec<String> {
    let covered = |word: &&str| rows.contains(word) || elsewhere.contains(word);
    words.iter().filter(|word| !covered(word)).map(|word| (*word).to_owned()).collect()
}

#[test]
fn activity_types() {
    type A = crate::Activity;
    let (rows, lost) = rows! {
        "message" => A: "text textFormat locale speak inputHint attachments attachmentLayout summary suggestedActions valueType value expiration importance deliveryMode listenFor semanticAction";
        "conversationUpdate" => A: "membersAdded membersRemoved topicName historyDisclosed channelData";
        "messageReaction" => A: "reactionsAdded reactionsRemoved replyToId";
        "messageUpdate" => A: "id text channelData";
        "messageDelete" => A: "id channelData";
        "installationUpdate" => A: "action channelData";
        "event" => A: "name valueType value relatesTo";
        "invoke" => A: "name valueType value relatesTo";
        "invokeResponse" => crate::InvokeResponse: "status body";
        "endOfConversation" => A: "code text locale valueType value";
        "contactRelationUpdate" => A: "action";
        "suggestion" => A: "text textHighlights replyToId recipient";
        "trace" => A: "name label valueType value relatesTo";
        "typing" => A: "text entities";
        "command" => event::CommandValue: "commandId data error";
        "commandResult" => event::CommandValue: "commandId data error";
        "handoff" => A: "type";
        "deleteUserData" => A: "type from";
    };
    assert_eq!(lost, [""; 0]);
    assert_eq!(uncovered(ActivityType::KNOWN, &rows, &[]), [""; 0]);
    assert_eq!(rows.len(), 18);
}

#[test]
fn objects() {
    let (_, lost) = rows! {
        "Activity" => crate::Activity: "type id timestamp localTimestamp localTimezone callerId serviceUrl channelId from recipient conversation textFormat attachmentLayout membersAdded membersRemoved reactionsAdded reactionsRemoved topicName historyDisclosed locale text speak summary inputHint suggestedActions attachments entities channelData action replyToId label valueType value name relatesTo code expiration importance deliveryMode listenFor textHighlights semanticAction";
        "ChannelAccount" => crate::ChannelAccount: "id name aadObjectId role agenticUserId agenticAppId tenantId type isTargeted properties";
        "TeamsChannelAccount" => crate::TeamsChannelAccount: "id name aadObjectId objectId givenName surname email userPrincipalName tenantId userRole";
        "ConversationAccount" => crate::ConversationAccount: "id name isGroup conversationType tenantId aadObjectId role";
        "ConversationReference" => crate::ConversationReference: "activityId user bot agent conversation channelId serviceUrl locale deliveryMode";
        "Attachment" => crate::Attachment: "contentType contentUrl content name thumbnailUrl";
        "CardAction" => crate::CardAction: "type title image imageAltText text displayText value channelData";
        "SuggestedActions" => crate::SuggestedActions: "to actions";
        "MessageReaction" => crate::MessageReaction: "type";
        "TextHighlight" => crate::TextHighlight: "text occurrence";
        "SemanticAction" => crate::SemanticAction: "state id entities";
        "ErrorResponse" => crate::ErrorResponse: "error";
        "ErrorResponse.error" => crate::ErrorBody: "code message innerHttpError";
        "innerHttpError" => crate::InnerHttpError: "statusCode body";
        "ResourceResponse" => crate::ResourceResponse: "id";
        "ExpectedReplies" => crate::ExpectedReplies: "activities body";
        "Transcript" => crate::Transcript: "activities";
        "AttachmentData" => crate::AttachmentData: "type name originalBase64 thumbnailBase64";
        "AttachmentInfo" => crate::AttachmentInfo: "name type views";
        "view" => crate::AttachmentView: "viewId size";
        "PagedMembersResult" => crate::PagedMembersResult: "members continuationToken";
        "ConversationParameters" => crate::ConversationParameters: "isGroup bot agent members topicName activity channelData tenantId";
        "ConversationResourceResponse" => crate::ConversationResourceResponse: "activityId serviceUrl id";
    };
    assert_eq!(lost, [""; 0]);
}

#[test]
fn entities() {
    let (rows, lost) = rows! {
        "mention" => crate::Mention: "mentioned text";
        "clientInfo" => crate::ClientInfo: "locale country platform timezone";
        "streaminfo" => crate::StreamInfo: "streamId streamType streamSequence streamResult";
        "ProductInfo" => crate::ProductInfo: "id";
        "Place" => crate::Place: "address geo hasMap name";
        "GeoCoordinates" => crate::GeoCoordinates: "elevation latitude longitude name";
        "Thing" => crate::Thing: "name";
        "activityTreatment" => crate::ActivityTreatment: "treatment";
        "targetedMessageInfo" => crate::TargetedMessageInfo: "messageId";
        "quotedReply" => crate::QuotedReply: "quotedReply";
        "quotedReply.quotedReply" => crate::QuotedReplyDetails: "messageId senderId senderName preview time isReplyDeleted validatedMessageReference";
        "context" => crate::Context: "screenContext";
        "screenContext" => crate::ScreenContext: "images";
        "string" => crate::StringEntity: "value";
        "number" => crate::NumberEntity: "value";
        "https://schema.org/Message" => ai::MessageInfo: "@type @context @id additionalType citation usageInfo";
        "Claim" => ai::Claim: "@type position appearance";
        "appearance" => ai::Appearance: "@type name text url abstract encodingFormat image keywords usageInfo";
        "image" => ai::AppearanceImage: "@type name";
        "usageInfo" => ai::Sensitivity: "type @type name description position pattern";
        "pattern" => ai::SensitivityPattern: "@type inDefinedTermSet name termCode";
    };
    assert_eq!(lost, [""; 0]);
    assert_eq!(uncovered(EntityType::KNOWN, &rows, &[]), [""; 0]);
    assert_eq!(ai::Icon::KNOWN.len(), 21);
}

#[test]
fn content_types() {
    const CARD: &str = "application/vnd.microsoft.card.";
    let (rows, lost) = rows! {
        "application/vnd.microsoft.card.adaptive" => card::AdaptiveCard: "type $schema version body actions selectAction refresh fallbackText backgroundImage minHeight rtl speak lang verticalContentAlignment style authentication msteams metadata";
        "application/vnd.microsoft.card.hero" => card::HeroCard: "title subtitle text images buttons tap";
        "application/vnd.microsoft.card.thumbnail" => card::ThumbnailCard: "title subtitle text images buttons tap";
        "CardImage" => card::CardImage: "url alt tap";
        "application/vnd.microsoft.card.oauth" => card::OAuthCard: "text connectionName buttons tokenExchangeResource tokenPostResource";
        "tokenExchangeResource" => card::TokenExchangeResource: "id uri providerId";
        "tokenPostResource" => card::TokenPostResource: "sasUrl";
        "application/vnd.microsoft.card.signin" => card::SigninCard: "text buttons";
        "application/vnd.microsoft.card.receipt" => card::ReceiptCard: "title facts items tap total tax vat buttons";
        "receipt fact" => card::ReceiptFact: "key value";
        "receipt item" => card::ReceiptItem: "title subtitle text image price quantity tap";
        "application/vnd.microsoft.card.animation" => card::AnimationCard: "title subtitle text image media buttons shareable autoloop autostart aspect duration value";
        "application/vnd.microsoft.card.audio" => card::AudioCard: "title subtitle text image media buttons shareable autoloop autostart aspect duration value";
        "application/vnd.microsoft.card.video" => card::VideoCard: "title subtitle text image media buttons shareable autoloop autostart aspect duration value";
        "media url" => card::MediaUrl: "url profile";
        "media image" => card::MediaImage: "url alt";
        "application/vnd.microsoft.teams.card.o365connector" => card::O365ConnectorCard: "title text summary themeColor sections potentialAction";
        "application/vnd.microsoft.teams.card.list" => card::ListCard: "title items buttons";
        "application/vnd.microsoft.teams.card.file.consent" => card::FileConsentCard: "description sizeInBytes acceptContext declineContext";
        "application/vnd.microsoft.teams.card.file.info" => card::FileInfoCard: "uniqueId fileType etag";
        "application/vnd.microsoft.teams.file.download.info" => card::FileDownloadInfo: "downloadUrl uniqueId fileType etag";
        "file upload" => card::FileUploadInfo: "name uploadUrl contentUrl uniqueId fileType";
        "application/vnd.microsoft.activity" => crate::Activity: "type";
        "application/vnd.microsoft.activity.message" => invoke::CardActionAnswer: "statusCode type value";
        "application/vnd.microsoft.activity.loginRequest" => card::OAuthCard: "connectionName";
        "application/vnd.microsoft.error" => invoke::CardError: "code message";
        "application/vnd.microsoft.error.incorrectAuthCode" => invoke::CardActionAnswer: "statusCode type value";
        "application/vnd.microsoft.error.preconditionFailed" => invoke::CardError: "code message";
        "application/vnd.microsoft.search.searchResponse" => invoke::SearchAnswer: "statusCode type value";
    };
    assert_eq!(lost, [""; 0]);
    let files = ["text/html", "image/png", "image/jpeg", "image/gif"];
    assert_eq!(uncovered(ContentType::KNOWN, &rows, &files), [""; 0]);
    assert_eq!(rows.iter().filter(|row| row.starts_with(CARD)).count(), 9);
}

#[test]
fn adaptive_cards() {
    let (rows, lost) = rows! {
        "TextBlock" => card::TextBlock: "text size weight color isSubtle fontType horizontalAlignment wrap maxLines style id spacing separator isVisible height fallback requires";
        "RichTextBlock" => card::RichTextBlock: "inlines horizontalAlignment";
        "TextRun" => card::TextRun: "text size weight color isSubtle fontType italic strikethrough underline highlight selectAction";
        "Image" => card::Image: "url altText size style width height horizontalAlignment backgroundColor selectAction";
        "ImageSet" => card::ImageSet: "images imageSize";
        "Container" => card::Container: "items style bleed verticalContentAlignment minHeight backgroundImage rtl selectAction";
        "ColumnSet" => card::ColumnSet: "columns style bleed minHeight horizontalAlignment selectAction";
        "Column" => card::Column: "items width style bleed verticalContentAlignment minHeight backgroundImage rtl selectAction";
        "FactSet" => card::FactSet: "facts";
        "Fact" => card::Fact: "title value";
        "Table" => card::Table: "columns rows firstRowAsHeaders showGridLines gridStyle horizontalCellContentAlignment verticalCellContentAlignment";
        "TableRow" => card::TableRow: "cells style";
        "TableCell" => card::TableCell: "items style";
        "ActionSet" => card::ActionSet: "actions";
        "Input.Text" => card::InputText: "id value placeholder isMultiline maxLength regex style inlineAction label isRequired errorMessage";
        "Input.Number" => card::InputNumber: "id value placeholder min max label isRequired errorMessage";
        "Input.Date" => card::InputDate: "id value placeholder min max label isRequired errorMessage";
        "Input.Time" => card::InputTime: "id value placeholder min max label isRequired errorMessage";
        "Input.Toggle" => card::InputToggle: "id title value valueOn valueOff wrap label isRequired errorMessage";
        "Input.ChoiceSet" => card::InputChoiceSet: "id choices value placeholder style isMultiSelect wrap choices.data label isRequired errorMessage";
        "AdaptiveCard" => card::AdaptiveCard: "body actions";
    };
    assert_eq!(lost, [""; 0]);
    assert_eq!(uncovered(card::ElementKind::KNOWN, &rows, &[]), [""; 0]);
    let (rows, lost) = rows! {
        "Action.Execute" => card::Execute: "title id iconUrl style mode tooltip isEnabled fallback requires verb data associatedInputs";
        "Action.Submit" => card::Submit: "title data associatedInputs";
        "Action.OpenUrl" => card::OpenUrl: "title url";
        "Action.ShowCard" => card::ShowCard: "title card";
        "Action.ToggleVisibility" => card::ToggleVisibility: "title targetElements";
    };
    assert_eq!(lost, [""; 0]);
    assert_eq!(uncovered(card::ActionKind::KNOWN, &rows, &[]), [""; 0]);
}

#[test]
fn teams_channel_data() {
    let (_, lost) = rows! {
        "channelData" => crate::TeamsChannelData: "tenant team channel eventType meeting source legacy settings notification onBehalfOf feedbackLoop feedbackLoopEnabled streamId streamType streamSequence app teamsTeamId teamsChannelId";
        "tenant" => crate::TenantInfo: "id";
        "team" => crate::TeamInfo: "id name aadGroupId teamType memberCount channelCount";
        "channel" => crate::ChannelInfo: "id name type";
        "meeting" => crate::MeetingInfo: "id";
        "source" => crate::SourceInfo: "name";
        "legacy" => crate::LegacyInfo: "replyToId";
        "settings" => crate::TeamsSettings: "selectedChannel selectedAgents";
        "notification" => crate::NotificationInfo: "alert alertInMeeting externalResourceUrl";
        "onBehalfOf" => crate::OnBehalfOf: "itemid mentionType mri displayName";
        "feedbackLoop" => crate::FeedbackLoop: "type";
        "app" => crate::AppInfo: "id version";
        "msteams" => crate::TeamsActionValue: "msteams";
        "msteams value" => crate::TeamsButton: "type text displayText value";
    };
    assert_eq!(lost, [""; 0]);
}

#[test]
fn invokes() {
    let (rows, lost) = rows! {
        "adaptiveCard/action" => invoke::CardActionRequest: "action authentication state trigger";
        "action" => invoke::InvokedAction: "type id verb data";
        "authentication" => invoke::CardAuthentication: "id connectionName token";
        "adaptiveCard/action answer" => invoke::CardActionAnswer: "statusCode type value";
        "signin/tokenExchange" => invoke::TokenExchangeRequest: "id connectionName token";
        "signin/tokenExchange answer" => invoke::TokenExchangeAnswer: "id connectionName failureDetail";
        "signin/verifyState" => invoke::VerifyStateRequest: "state";
        "signin/failure" => invoke::SignInFailureRequest: "code message";
        "task/fetch" => invoke::TaskRequest: "data context tabContext";
        "task/submit" => invoke::TaskRequest: "data context tabContext";
        "context" => invoke::TaskContext: "theme meetingId";
        "task answer" => invoke::TaskAnswer: "task cacheInfo";
        "task" => invoke::Task: "type value";
        "task value" => invoke::TaskInfo: "title height width url card fallbackUrl completionBotId";
        "cacheInfo" => invoke::CacheInfo: "cacheType cacheDuration";
        "composeExtension/query" => invoke::Query: "commandId parameters queryOptions state";
        "parameters" => invoke::QueryParameter: "name value";
        "queryOptions" => invoke::QueryOptions: "skip count";
        "composeExtension answer" => invoke::ComposeAnswer: "composeExtension task cacheInfo";
        "composeExtension" => invoke::ComposeBody: "type attachmentLayout attachments suggestedActions text activityPreview";
        "attachments" => invoke::ExtensionAttachment: "contentType contentUrl content name thumbnailUrl preview";
        "composeExtension/queryLink" => invoke::LinkQuery: "url state";
        "composeExtension/anonymousQueryLink" => invoke::LinkQuery: "url state";
        "composeExtension/fetchTask" => invoke::ComposeActionRequest: "commandId commandContext botMessagePreviewAction botActivityPreview messagePayload data context";
        "composeExtension/submitAction" => invoke::ComposeActionRequest: "commandId commandContext botMessagePreviewAction botActivityPreview messagePayload data context";
        "composeExtension/querySettingUrl" => invoke::Query: "commandId state";
        "composeExtension/setting" => invoke::SettingRequest: "state";
        "fileConsent/invoke" => invoke::FileConsentRequest: "type action context uploadInfo";
        "message/submitAction" => invoke::FeedbackRequest: "actionName actionValue";
        "actionValue" => invoke::FeedbackValue: "reaction feedback";
        "message/fetchTask" => invoke::MessageTaskRequest: "data";
        "message/fetchTask data" => invoke::MessageTaskData: "actionName actionValue";
        "application/search" => invoke::SearchRequest: "kind queryText queryOptions context dataset";
        "search queryOptions" => invoke::SearchQueryOptions: "skip top";
        "search answer" => invoke::SearchAnswer: "statusCode type value";
        "search value" => invoke::SearchResults: "results";
        "search result" => invoke::SearchResult: "value title";
        "config answer" => invoke::ConfigAnswer: "responseType config cacheInfo";
        "config" => invoke::ConfigBody: "type value suggestedActions";
        "handoff/action" => invoke::HandoffRequest: "continuation";
        "tab/fetch" => invoke::TabRequest: "tabContext context state";
        "tab/submit" => invoke::TabRequest: "tabContext context state data";
        "tabContext" => invoke::TabContext: "tabEntityId";
        "tab answer" => invoke::TabAnswer: "tab";
        "tab" => invoke::TabBody: "type value suggestedActions";
        "tab value" => invoke::TabCards: "cards";
        "tab card" => invoke::TabCard: "card";
        "actionableMessage/executeAction" => invoke::ExecuteActionRequest: "body actionId";
        "cardExtension/token" => invoke::TokenExchangeRequest: "id connectionName token";
    };
    // Their value is any JSON.
    let any = [
        "composeExtension/selectItem",
        "composeExtension/onCardButtonClicked",
        "suggestedActions/submit",
        "config/fetch",
        "config/submit",
    ];
    assert_eq!(lost, [""; 0]);
    assert_eq!(uncovered(InvokeName::KNOWN, &rows, &any), [""; 0]);
    assert_eq!(InvokeName::KNOWN.len(), 27);
}

#[test]
fn events() {
    let (rows, lost) = rows! {
        "tokens/response" => event::TokenResponse: "channelId connectionName token expiration";
        "handoff.status" => event::HandoffStatus: "state message";
        "application/vnd.microsoft.meetingStart" => event::MeetingStart: "MeetingType Title Id JoinUrl StartTime";
        "application/vnd.microsoft.meetingEnd" => event::MeetingEnd: "MeetingType Title Id JoinUrl EndTime";
        "application/vnd.microsoft.meetingParticipantJoin" => event::MeetingParticipantJoin: "members";
        "application/vnd.microsoft.meetingParticipantLeave" => event::MeetingParticipantLeave: "members";
        "member" => event::MeetingMember: "user meeting";
        "presence" => event::MeetingPresence: "inMeeting role";
        "application/vnd.microsoft.readReceipt" => event::ReadReceipt: "lastReadMessageId";
        "Sys.ConsentResponseEvent" => event::ConsentResponse: "consentValue contentType";
        "Media.Start" => event::MediaStart: "mediaType contentType";
        "Media.Chunk" => event::MediaChunk: "contentType contentUrl durationMs timestamp transcription";
    };
    // Their value is any JSON, or there is none: variables of an agent's author, what a hand-off needs, names inside a
    // process.
    let any = [
        "ContinueConversation",
        "CreateConversation",
        "handoff.initiate",
        "agentLifecycle",
        "pvaSetContext",
        "startConversation",
        "Media.End",
    ];
    assert_eq!(lost, [""; 0]);
    assert_eq!(uncovered(EventName::KNOWN, &rows, &any), [""; 0]);
}
