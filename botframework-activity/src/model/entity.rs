use std::fmt;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use super::account::ChannelAccount;
use super::error::ModelError;
use super::json::{self, Datum, Source, Stop};
use super::object::{Value, serde_value, wire_object};
use super::raw::RawJson;
use super::scalar::Number;
use super::vocabulary::{EntityType, StreamResult, StreamType};

/// One entry of `entities`: a type and a body in its own bytes.
///
/// An entity of an unknown type, or of a known type with an odd body, is kept.
/// [Entity](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#entity-object)
#[derive(Clone, PartialEq, Eq)]
pub struct Entity {
    kind: EntityType,
    raw: RawJson,
}

/// An entity with a type of its own. Implement it for entities of yours.
pub trait TypedEntity: DeserializeOwned {
    /// The value of `type` that marks it.
    const TYPE: EntityType;

    /// Whether this `type` marks it. Others than [`TypedEntity::TYPE`] are spellings of it that are about.
    #[must_use]
    #[inline]
    fn is_marked_by(kind: &EntityType) -> bool {
        *kind == Self::TYPE
    }
}

impl Entity {
    /// Makes an entity from a value that has a `type` member.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON,
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when it is no object.
    #[inline]
    pub fn new<T: Serialize + ?Sized>(body: &T) -> Result<Self, ModelError> {
        RawJson::from_value(body)?.read()
    }

    /// The `type`; empty when there is none.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> &EntityType {
        &self.kind
    }

    /// The whole entity, `type` included.
    #[must_use]
    #[inline]
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }

    /// The entity as `T`; `None` when it is of another type.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the type is right and the body is
    /// not.
    #[inline]
    pub fn parse<T: TypedEntity>(&self) -> Result<Option<T>, ModelError> {
        if T::is_marked_by(&self.kind) {
            self.raw.parse().map(Some).map_err(|error| error.in_member("entities"))
        } else {
            Ok(None)
        }
    }

    /// [`Entity::parse`] for a type of the model.
    pub(crate) fn read<T: TypedEntity + Value>(&self) -> Result<Option<T>, ModelError> {
        if T::is_marked_by(&self.kind) {
            self.raw.read().map(Some).map_err(|error| error.in_member("entities"))
        } else {
            Ok(None)
        }
    }
}

impl fmt::Debug for Entity {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entity").field("type", &self.kind).field("raw", &self.raw).finish()
    }
}

impl Value for Entity {
    #[inline]
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        Self::read_item(from).map(Some)
    }

    #[inline]
    fn read_item(from: &mut dyn Source) -> Result<Self, Stop> {
        let raw = from.raw_or_null()?;
        let kind: Option<String> =
            json::member(raw.get(), "type").map_err(|_| Stop::Shape("an entity is a JSON object with one `type`"))?;
        Ok(Self { kind: kind.map_or(EntityType::from_static(""), EntityType::from), raw })
    }

    #[inline]
    fn datum(&self) -> Datum<'_> {
        Datum::Raw(&self.raw)
    }
}

serde_value!(Entity);

/// The `type` of a JSON object; `None` when there is none, when it is no text, or when it is there twice.
#[inline]
pub(super) fn kind_in(json: &str) -> Option<String> {
    json::member(json, "type").ok()?.filter(|kind: &String| !kind.is_empty())
}

wire_object! {
    /// Somebody is named in the text.
    pub struct Mention {
        /// Always `mention`.
        pub kind: EntityType = "type" [EntityType::MENTION];
        /// Who.
        pub mentioned: Option<ChannelAccount> = "mentioned";
        /// The words in the text that name them, `<at>Name</at>` in Teams.
        pub text: Option<String> = "text";
    }
}

wire_object! {
    /// What the user's client says about itself.
    pub struct ClientInfo {
        /// Always `clientInfo`.
        pub kind: EntityType = "type" [EntityType::CLIENT_INFO];
        /// The language, BCP 47.
        pub locale: Option<String> = "locale" show;
        /// The country, ISO 3166.
        pub country: Option<String> = "country" show;
        /// `Web`, `Windows`, `Mac`, `iOS`, `Android`, …
        pub platform: Option<String> = "platform" show;
        /// The time zone, IANA.
        pub timezone: Option<String> = "timezone" show;
    }
}

wire_object! {
    /// The product inside a channel, `COPILOT` for one.
    pub struct ProductInfo {
        /// Always `ProductInfo`.
        pub kind: EntityType = "type" [EntityType::PRODUCT_INFO];
        /// The product.
        pub id: Option<String> = "id" show;
    }
}

wire_object! {
    /// One piece of a streamed message:
    /// [streaming](https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux).
    pub struct StreamInfo {
        /// Always `streaminfo`.
        pub kind: EntityType = "type" [EntityType::STREAM_INFO];
        /// The id of the stream; absent on the first piece.
        pub stream_id: Option<String> = "streamId" show;
        /// What this piece is.
        pub stream_type: Option<StreamType> = "streamType";
        /// The number of this piece, from 1; absent on the final one.
        pub stream_sequence: Option<i64> = "streamSequence";
        /// How the stream ended, on the final piece.
        pub stream_result: Option<StreamResult> = "streamResult";
    }
}

wire_object! {
    /// Who may see the activity.
    pub struct ActivityTreatment {
        /// Always `activityTreatment`.
        pub kind: EntityType = "type" [EntityType::ACTIVITY_TREATMENT];
        /// `targeted`.
        pub treatment: Option<String> = "treatment" show;
    }
}

wire_object! {
    /// The message that a targeted message is about.
    pub struct TargetedMessageInfo {
        /// Always `targetedMessageInfo`.
        pub kind: EntityType = "type" [EntityType::TARGETED_MESSAGE_INFO];
        /// The id of the message.
        pub message_id: Option<String> = "messageId" show;
    }
}

wire_object! {
    /// The message quotes another one.
    pub struct QuotedReply {
        /// Always `quotedReply`.
        pub kind: EntityType = "type" [EntityType::QUOTED_REPLY];
        /// The quoted message.
        pub quoted_reply: Option<QuotedReplyDetails> = "quotedReply";
    }
}

wire_object! {
    /// The message that is quoted.
    pub struct QuotedReplyDetails {
        /// Its id.
        pub message_id: Option<String> = "messageId" show;
        /// The id of its author.
        pub sender_id: Option<String> = "senderId";
        /// The name of its author.
        pub sender_name: Option<String> = "senderName";
        /// The beginning of its text.
        pub preview: Option<String> = "preview";
        /// When it was sent, as the channel wrote it.
        pub time: Option<RawJson> = "time";
        /// Whether it is gone.
        pub is_reply_deleted: Option<bool> = "isReplyDeleted";
        /// Whether the channel vouches for the quotation.
        pub validated_message_reference: Option<bool> = "validatedMessageReference";
    }
}

wire_object! {
    /// A point on Earth.
    pub struct GeoCoordinates {
        /// Always `GeoCoordinates`.
        pub kind: EntityType = "type" [EntityType::GEO_COORDINATES];
        /// Metres above sea level.
        pub elevation: Option<Number> = "elevation";
        /// Degrees north.
        pub latitude: Option<Number> = "latitude";
        /// Degrees east.
        pub longitude: Option<Number> = "longitude";
        /// The name.
        pub name: Option<String> = "name";
    }
}

wire_object! {
    /// A place.
    pub struct Place {
        /// Always `Place`.
        pub kind: EntityType = "type" [EntityType::PLACE];
        /// The postal address: a string or an object.
        pub address: Option<RawJson> = "address";
        /// Where it is.
        pub geo: Option<RawJson> = "geo";
        /// A map: a string or an object.
        pub has_map: Option<RawJson> = "hasMap";
        /// The name.
        pub name: Option<String> = "name";
    }
}

wire_object! {
    /// Anything else that has a name.
    pub struct Thing {
        /// Always `Thing`.
        pub kind: EntityType = "type" [EntityType::THING];
        /// The name.
        pub name: Option<String> = "name";
    }
}

wire_object! {
    /// What the user sees on the screen while writing.
    pub struct Context {
        /// Always `context`.
        pub kind: EntityType = "type" [EntityType::CONTEXT];
        /// The screen.
        pub screen_context: Option<ScreenContext> = "screenContext";
    }
}

wire_object! {
    /// A screen.
    pub struct ScreenContext {
        /// Pictures of it, as URLs.
        pub images: Vec<String> = "images";
    }
}

wire_object! {
    /// A text that a client recognised.
    pub struct StringEntity {
        /// Always `string`.
        pub kind: EntityType = "type" [EntityType::STRING];
        /// The text.
        pub value: Option<String> = "value";
    }
}

wire_object! {
    /// A number that a client recognised.
    pub struct NumberEntity {
        /// Always `number`.
        pub kind: EntityType = "type" [EntityType::NUMBER];
        /// The number.
        pub value: Option<Number> = "value";
    }
}

/// The protocol's text writes `streamInfo`; every channel and SDK writes `streaminfo`.
impl TypedEntity for StreamInfo {
    const TYPE: EntityType = EntityType::STREAM_INFO;

    #[inline]
    fn is_marked_by(kind: &EntityType) -> bool {
        kind.as_str().eq_ignore_ascii_case(Self::TYPE.as_str())
    }
}

macro_rules! typed {
    ($($name:ident = $kind:ident;)*) => {$(
        impl TypedEntity for $name {
            const TYPE: EntityType = EntityType::$kind;
        }
    )*};
}

typed! {
    Mention = MENTION;
    ClientInfo = CLIENT_INFO;
    ProductInfo = PRODUCT_INFO;
    ActivityTreatment = ACTIVITY_TREATMENT;
    TargetedMessageInfo = TARGETED_MESSAGE_INFO;
    QuotedReply = QUOTED_REPLY;
    GeoCoordinates = GEO_COORDINATES;
    Place = PLACE;
    Thing = THING;
    Context = CONTEXT;
    StringEntity = STRING;
    NumberEntity = NUMBER;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelErrorKind;

    fn entity(text: &str) -> Result<Entity, ModelError> {
        RawJson::from_text(text).unwrap().parse()
    }

    #[test]
    fn the_body_is_kept_and_parsed_on_demand() {
        let text = r#"{"locale":"en-GB","type":"clientInfo","x":1.0}"#;
        let info = entity(text).unwrap();
        assert_eq!(*info.kind(), EntityType::CLIENT_INFO);
        assert_eq!(info.raw().get(), text);
        let parsed = info.parse::<ClientInfo>().unwrap().unwrap();
        assert_eq!(parsed.locale.as_deref(), Some("en-GB"));
        assert_eq!(parsed.extra.get("x").map(RawJson::get), Some("1.0"));
        assert_eq!(info.parse::<Mention>().unwrap(), None);
    }

    #[test]
    fn unknown_types_and_icons_do_not_break_an_activity() {
        let text =
            r#"{"type":"https://schema.org/Message","citation":[{"appearance":{"image":{"name":"A New Icon"}}}]}"#;
        assert_eq!(*entity(text).unwrap().kind(), EntityType::SCHEMA_ORG_MESSAGE);
        assert_eq!(entity("{}").unwrap().kind().as_str(), "");
        assert_eq!(entity(r#"{"type":null}"#).unwrap().kind().as_str(), "");
    }

    #[test]
    fn a_second_type_is_refused() {
        let error = entity(r#"{"type":"mention","type":"clientInfo"}"#).unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Shape);
        assert!(entity("[]").is_err());
    }

    #[test]
    fn a_known_type_with_a_bad_body_is_an_error_of_its_own() {
        let mention = entity(r#"{"type":"mention","mentioned":"x"}"#).unwrap();
        let error = mention.parse::<Mention>().unwrap_err();
        assert_eq!((error.kind(), error.member()), (ModelErrorKind::Shape, Some("entities")));
    }

    #[test]
    fn a_new_entity_carries_its_type() {
        let product = ProductInfo { id: Some("COPILOT".into()), ..ProductInfo::default() };
        let entity = Entity::new(&product).unwrap();
        assert_eq!(entity.raw().get(), r#"{"type":"ProductInfo","id":"COPILOT"}"#);
    }
}
