//! Invokes: what each asks, and what answers it.
//!
//! Each invoke has a marker here, such as [`TaskFetch`], that ties its name to the type of its request and of its
//! answer:
//!
//! ```
//! use botframework_activity::{Activity, InvokeResponse, invoke};
//!
//! fn answer(activity: &Activity) -> Result<InvokeResponse, botframework_activity::ModelError> {
//!     if let Some(request) = activity.invoke_as::<invoke::TaskFetch>()? {
//!         let theme = request.context.and_then(|context| context.theme);
//!         let task = invoke::TaskAnswer::message(format!("Your theme is {}.", theme.unwrap_or_default()));
//!         return invoke::respond::<invoke::TaskFetch>(&task);
//!     }
//!     Ok(InvokeResponse::not_implemented())
//! }
//! # let activity = Activity::from_json(br#"{"type":"invoke","name":"task/fetch","value":{"context":{"theme":"dark"}}}"#)?;
//! # assert_eq!(answer(&activity)?.status, 200);
//! # Ok::<(), botframework_activity::ModelError>(())
//! ```
//!
//! [`Activity::invoke`](crate::Activity::invoke) reads whichever invoke it is.

mod bot;
mod card_action;
mod compose;
mod message;
mod sign_in;
mod task;

pub use bot::{
    ConfigAnswer, ConfigBody, ExecuteActionRequest, HandoffRequest, SearchAnswer, SearchKind, SearchQueryOptions,
    SearchRequest, SearchResult, SearchResults, TabAnswer, TabBody, TabCard, TabCards, TabContext, TabRequest,
};
pub use card_action::{CardActionAnswer, CardActionRequest, CardAuthentication, CardError, InvokedAction};
pub use compose::{
    ComposeActionRequest, ComposeAnswer, ComposeBody, ComposeContext, ComposeResultType, ExtensionAttachment,
    LinkQuery, MessagePayload, PayloadBody, Query, QueryOptions, QueryParameter, SettingRequest,
};
pub use message::{
    Feedback, FeedbackRequest, FeedbackValue, FileConsentAction, FileConsentRequest, MessageTaskData,
    MessageTaskRequest,
};
pub use sign_in::{
    SignInFailureRequest, TokenExchangeAnswer, TokenExchangeRequest, VerifyStateAnswer, VerifyStateRequest,
};
pub use task::{CacheInfo, Task, TaskAnswer, TaskContext, TaskInfo, TaskRequest, TaskValue};

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use super::activity::Activity;
use super::error::ModelError;
use super::raw::RawJson;
use super::response::InvokeResponse;
use super::vocabulary::{ActivityType, InvokeName};

/// An invoke: its name, what it asks and what answers it. Implement it for invokes of yours.
pub trait InvokeKind {
    /// The name that marks it.
    const NAME: InvokeName;
    /// What its `value` holds.
    type Request: DeserializeOwned;
    /// What answers it.
    type Answer: InvokeAnswer;
}

/// What answers an invoke: a status, mostly 200, and a body.
pub trait InvokeAnswer {
    /// The HTTP answer.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the body cannot be JSON.
    fn to_response(&self) -> Result<InvokeResponse, ModelError>;
}

/// The HTTP answer to an invoke of kind `K`.
///
/// # Errors
/// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the body cannot be JSON.
pub fn respond<K: InvokeKind>(answer: &K::Answer) -> Result<InvokeResponse, ModelError> {
    answer.to_response()
}

/// 200 with an empty body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done;

impl InvokeAnswer for Done {
    #[inline]
    fn to_response(&self) -> Result<InvokeResponse, ModelError> {
        Ok(InvokeResponse::ok())
    }
}

/// An answer whose body is the answer itself, with 200.
macro_rules! plain_answers {
    ($($ty:ty),* $(,)?) => {$(
        impl InvokeAnswer for $ty {
            #[inline]
            fn to_response(&self) -> Result<InvokeResponse, ModelError> {
                with_body(self)
            }
        }
    )*};
}

plain_answers!(CardActionAnswer, TaskAnswer, ComposeAnswer, SearchAnswer, ConfigAnswer, TabAnswer, RawJson);

fn with_body<T: Serialize + ?Sized>(body: &T) -> Result<InvokeResponse, ModelError> {
    InvokeResponse::ok().with_body(body)
}

macro_rules! invokes {
    ($($(#[$meta:meta])* $marker:ident = $constant:ident: $request:ty => $answer:ty;)*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug)]
            pub struct $marker;

            impl InvokeKind for $marker {
                const NAME: InvokeName = InvokeName::$constant;
                type Request = $request;
                type Answer = $answer;
            }
        )*

        /// Whichever invoke it is, with its request.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant)]
        pub enum Invoke {
            $(
                $(#[$meta])*
                $marker($request),
            )*
            /// An invoke that this crate does not know, with its name and value.
            Other(InvokeName, RawJson),
        }

        impl Invoke {
            /// The name.
            #[must_use]
            #[inline]
            pub fn kind(&self) -> InvokeName {
                match self {
                    $( Self::$marker(_) => InvokeName::$constant, )*
                    Self::Other(name, _) => name.clone(),
                }
            }

            #[inline]
            fn read(name: InvokeName, value: RawJson) -> Result<Self, ModelError> {
                $(
                    if name == InvokeName::$constant {
                        return value.read().map(Self::$marker).map_err(|error| error.in_member("value"));
                    }
                )*
                Ok(Self::Other(name, value))
            }
        }
    };
}

invokes! {
    /// A button of a card was pressed: `adaptiveCard/action`.
    /// [Universal actions](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/universal-actions-for-adaptive-cards/work-with-universal-actions-for-adaptive-cards)
    AdaptiveCardAction = ADAPTIVE_CARD_ACTION: CardActionRequest => CardActionAnswer;
    /// Teams brings the user's token: `signin/tokenExchange`.
    SignInTokenExchange = SIGN_IN_TOKEN_EXCHANGE: TokenExchangeRequest => TokenExchangeAnswer;
    /// The user has signed in and brings a code: `signin/verifyState`.
    SignInVerifyState = SIGN_IN_VERIFY_STATE: VerifyStateRequest => VerifyStateAnswer;
    /// Teams could not sign in silently: `signin/failure`.
    SignInFailure = SIGN_IN_FAILURE: SignInFailureRequest => Done;
    /// A dialog opens: `task/fetch`.
    /// [Dialogs](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/task-modules/task-modules-bots)
    TaskFetch = TASK_FETCH: TaskRequest => TaskAnswer;
    /// A dialog was sent: `task/submit`.
    TaskSubmit = TASK_SUBMIT: TaskRequest => TaskAnswer;
    /// The user searches: `composeExtension/query`.
    /// [Message extensions](https://learn.microsoft.com/microsoftteams/platform/messaging-extensions/how-to/search-commands/respond-to-search)
    ComposeQuery = COMPOSE_EXTENSION_QUERY: Query => ComposeAnswer;
    /// The user pasted a link: `composeExtension/queryLink`.
    ComposeQueryLink = COMPOSE_EXTENSION_QUERY_LINK: LinkQuery => ComposeAnswer;
    /// Somebody who has not installed the app pasted a link: `composeExtension/anonymousQueryLink`.
    ComposeAnonymousQueryLink = COMPOSE_EXTENSION_ANONYMOUS_QUERY_LINK: LinkQuery => ComposeAnswer;
    /// The user chose a result: `composeExtension/selectItem`. The value is that of the result's tap action: any JSON.
    ComposeSelectItem = COMPOSE_EXTENSION_SELECT_ITEM: RawJson => ComposeAnswer;
    /// An action command opens its dialog: `composeExtension/fetchTask`.
    ComposeFetchTask = COMPOSE_EXTENSION_FETCH_TASK: ComposeActionRequest => ComposeAnswer;
    /// An action command was sent: `composeExtension/submitAction`.
    ComposeSubmitAction = COMPOSE_EXTENSION_SUBMIT_ACTION: ComposeActionRequest => ComposeAnswer;
    /// The user opens the settings: `composeExtension/querySettingUrl`.
    ComposeQuerySettingUrl = COMPOSE_EXTENSION_QUERY_SETTING_URL: Query => ComposeAnswer;
    /// The user changed the settings: `composeExtension/setting`.
    ComposeSetting = COMPOSE_EXTENSION_SETTING: SettingRequest => Done;
    /// A button of a result was pressed: `composeExtension/onCardButtonClicked`. The value is the button's: any JSON.
    ComposeCardButtonClicked = COMPOSE_EXTENSION_ON_CARD_BUTTON_CLICKED: RawJson => Done;
    /// The user answered a file consent card: `fileConsent/invoke`.
    FileConsent = FILE_CONSENT: FileConsentRequest => Done;
    /// The user gave feedback: `message/submitAction`.
    MessageSubmitAction = MESSAGE_SUBMIT_ACTION: FeedbackRequest => Done;
    /// The bot's own feedback form opens: `message/fetchTask`.
    MessageFetchTask = MESSAGE_FETCH_TASK: MessageTaskRequest => TaskAnswer;
    /// The user pressed a suggested action: `suggestedActions/submit`. The value is the action's: any JSON.
    SuggestedActionsSubmit = SUGGESTED_ACTIONS_SUBMIT: RawJson => Done;
    /// The user searches in a choice of a card: `application/search`.
    /// [Dynamic search](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/dynamic-search)
    ApplicationSearch = APPLICATION_SEARCH: SearchRequest => SearchAnswer;
    /// The settings of the bot open: `config/fetch`. The value is any JSON.
    ConfigFetch = CONFIG_FETCH: RawJson => ConfigAnswer;
    /// The settings of the bot were sent: `config/submit`. The value is any JSON.
    ConfigSubmit = CONFIG_SUBMIT: RawJson => ConfigAnswer;
    /// A conversation is handed over: `handoff/action`.
    HandoffAction = HANDOFF_ACTION: HandoffRequest => Done;
    /// A tab of cards opens: `tab/fetch`.
    /// [Adaptive Card tabs](https://learn.microsoft.com/microsoftteams/platform/tabs/how-to/build-adaptive-card-tabs)
    TabFetch = TAB_FETCH: TabRequest => TabAnswer;
    /// A card of a tab was sent: `tab/submit`.
    TabSubmit = TAB_SUBMIT: TabRequest => TabAnswer;
    /// A button of a connector card was pressed: `actionableMessage/executeAction`.
    ActionableMessageExecuteAction = ACTIONABLE_MESSAGE_EXECUTE_ACTION: ExecuteActionRequest => Done;
    /// SharePoint brings the user's token: `cardExtension/token`.
    CardExtensionToken = CARD_EXTENSION_TOKEN: TokenExchangeRequest => Done;
}

/// Reading invokes.
impl Activity {
    /// The request of an invoke of kind `K`; `None` for any other activity. An absent `value` reads as `{}`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the value is of another shape: answer 400.
    #[inline]
    pub fn invoke_as<K: InvokeKind>(&self) -> Result<Option<K::Request>, ModelError> {
        if self.kind != ActivityType::INVOKE || self.name.as_deref() != Some(K::NAME.as_str()) {
            return Ok(None);
        }
        self.invoke_value().parse().map(Some).map_err(|error| error.in_member("value"))
    }

    /// Whichever invoke it is, with its request; `None` when it is no invoke. An absent `value` reads as `{}`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the value is of another shape: answer 400.
    #[inline]
    pub fn invoke(&self) -> Result<Option<Invoke>, ModelError> {
        self.invoke_name().map(|name| Invoke::read(name, self.invoke_value())).transpose()
    }

    #[inline]
    fn invoke_value(&self) -> RawJson {
        self.value.clone().unwrap_or_else(|| RawJson::from(serde_json::Value::Object(serde_json::Map::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_types() {
        for name in InvokeName::KNOWN {
            let json = format!(r#"{{"type":"invoke","name":"{name}"}}"#);
            let invoke = Activity::from_json(json.as_bytes()).unwrap().invoke().unwrap().unwrap();
            assert!(!matches!(invoke, Invoke::Other(..)), "{name}");
            assert_eq!(invoke.kind(), *name);
        }
    }

    #[test]
    fn other_names_and_other_activities() {
        let other = Activity::from_json(br#"{"type":"invoke","name":"x/y","value":[1.0]}"#).unwrap();
        assert!(
            matches!(other.invoke().unwrap(), Some(Invoke::Other(name, value)) if name == "x/y" && value.get() == "[1.0]")
        );
        assert!(Activity::message("x").invoke().unwrap().is_none());
        assert!(other.invoke_as::<TaskFetch>().unwrap().is_none());
        let odd = Activity::from_json(br#"{"type":"invoke","name":"task/fetch","value":7}"#).unwrap();
        assert_eq!(odd.invoke().unwrap_err().member(), Some("value"));
        assert!(odd.invoke_as::<TaskFetch>().is_err());
    }
}
