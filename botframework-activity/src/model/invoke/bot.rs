use super::task::{CacheInfo, TaskContext, TaskValue};
use crate::card::AdaptiveCard;
use crate::model::card_action::SuggestedActions;
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::vocabulary::ContentType;
use crate::model::words::vocabulary;

vocabulary! {
    /// Why the user searches: `kind`.
    pub struct SearchKind {
        SEARCH = "search",
        SEARCH_ANSWER = "searchAnswer",
        TYPEAHEAD = "typeahead",
    }
}

wire_object! {
    /// The user searches in a choice of a card.
    pub struct SearchRequest {
        /// Why.
        pub kind: Option<SearchKind> = "kind";
        /// What is searched for.
        pub query_text: Option<String> = "queryText";
        /// Which page.
        pub query_options: Option<SearchQueryOptions> = "queryOptions";
        /// The other inputs of the card: any JSON.
        pub context: Option<RawJson> = "context";
        /// Where to search.
        pub dataset: Option<String> = "dataset" show;
    }
}

wire_object! {
    /// Which page of results.
    pub struct SearchQueryOptions {
        /// How many to leave out.
        pub skip: Option<i64> = "skip";
        /// How many to return.
        pub top: Option<i64> = "top";
    }
}

wire_object! {
    /// The results of a search. The HTTP status is 200, too.
    ///
    /// ```
    /// use botframework_activity::invoke::SearchAnswer;
    ///
    /// let answer = SearchAnswer::new([("Ada", "1"), ("Grace", "2")]);
    /// ```
    pub struct SearchAnswer {
        /// The outcome.
        pub status_code: u16 = "statusCode" [200];
        /// What `value` is.
        pub kind: Option<ContentType> = "type";
        /// The results.
        pub value: Option<SearchResults> = "value";
    }
}

impl SearchAnswer {
    /// These results: titles and values.
    #[inline]
    pub fn new<T: Into<String>, V: Into<String>>(results: impl IntoIterator<Item = (T, V)>) -> Self {
        let result = |(title, value): (T, V)| SearchResult {
            title: Some(title.into()),
            value: Some(value.into()),
            ..SearchResult::default()
        };
        let results = SearchResults { results: results.into_iter().map(result).collect(), ..SearchResults::default() };
        Self { kind: Some(ContentType::SEARCH_RESPONSE), value: Some(results), ..Self::default() }
    }
}

wire_object! {
    /// The results of a search.
    pub struct SearchResults {
        /// The results.
        pub results: Vec<SearchResult> = "results";
    }
}

wire_object! {
    /// One result of a search.
    pub struct SearchResult {
        /// What is sent.
        pub value: Option<String> = "value";
        /// What is shown.
        pub title: Option<String> = "title";
    }
}

wire_object! {
    /// The settings of the bot.
    pub struct ConfigAnswer {
        /// Always `config`.
        pub response_type: Option<String> = "responseType" show;
        /// What is shown.
        pub config: Option<ConfigBody> = "config";
        /// How long Teams may keep the answer.
        pub cache_info: Option<CacheInfo> = "cacheInfo";
    }
}

impl ConfigAnswer {
    /// Shows a dialog.
    #[must_use]
    #[inline]
    pub fn show(info: super::TaskInfo) -> Self {
        Self::of("continue", Some(TaskValue::Info(Box::new(info))), None)
    }

    /// Shows a text and ends.
    #[inline]
    pub fn message(text: impl Into<String>) -> Self {
        Self::of("message", Some(TaskValue::Message(text.into())), None)
    }

    /// The user signs in: [`CardAction::open_url`](crate::CardAction::open_url) leads to the page.
    #[must_use]
    #[inline]
    pub fn auth(actions: SuggestedActions) -> Self {
        Self::of("auth", None, Some(actions))
    }

    #[inline]
    fn of(kind: &str, value: Option<TaskValue>, suggested_actions: Option<SuggestedActions>) -> Self {
        let config = ConfigBody { kind: Some(kind.into()), value, suggested_actions, ..ConfigBody::default() };
        Self { response_type: Some("config".into()), config: Some(config), ..Self::default() }
    }
}

wire_object! {
    /// What the settings of the bot show.
    pub struct ConfigBody {
        /// `auth`, `continue` or `message`.
        pub kind: Option<String> = "type" show;
        /// The dialog, or the text.
        pub value: Option<TaskValue> = "value";
        /// Buttons of a sign-in.
        pub suggested_actions: Option<SuggestedActions> = "suggestedActions";
    }
}

wire_object! {
    /// A conversation is handed over.
    pub struct HandoffRequest {
        /// Names the conversation that goes on here. As good as a password.
        pub continuation: Option<String> = "continuation";
    }
}

wire_object! {
    /// A tab of cards opens, or a card of it was sent.
    pub struct TabRequest {
        /// The tab.
        pub tab_context: Option<TabContext> = "tabContext";
        /// Where the user is.
        pub context: Option<TaskContext> = "context";
        /// The code of a sign-in, when the answer before asked for one.
        pub state: Option<String> = "state";
        /// The button's data and the inputs: any JSON.
        pub data: Option<RawJson> = "data";
    }
}

wire_object! {
    /// A tab.
    pub struct TabContext {
        /// The entity of the manifest.
        pub tab_entity_id: Option<String> = "tabEntityId" show;
    }
}

wire_object! {
    /// What a tab of cards shows.
    pub struct TabAnswer {
        /// What is shown.
        pub tab: Option<TabBody> = "tab";
    }
}

impl TabAnswer {
    /// These cards.
    #[inline]
    pub fn cards(cards: impl IntoIterator<Item = AdaptiveCard>) -> Self {
        let card = |card| TabCard { card: Some(card), ..TabCard::default() };
        let cards = TabCards { cards: cards.into_iter().map(card).collect(), ..TabCards::default() };
        Self::of(TabBody { kind: Some("continue".into()), value: Some(cards), ..TabBody::default() })
    }

    /// The user signs in: [`CardAction::open_url`](crate::CardAction::open_url) leads to the page.
    #[must_use]
    #[inline]
    pub fn auth(actions: SuggestedActions) -> Self {
        Self::of(TabBody { kind: Some("auth".into()), suggested_actions: Some(actions), ..TabBody::default() })
    }

    #[inline]
    fn of(tab: TabBody) -> Self {
        Self { tab: Some(tab), ..Self::default() }
    }
}

wire_object! {
    /// What a tab of cards shows.
    pub struct TabBody {
        /// `continue`, `auth` or `silentAuth`.
        pub kind: Option<String> = "type" show;
        /// The cards.
        pub value: Option<TabCards> = "value";
        /// Buttons of a sign-in.
        pub suggested_actions: Option<SuggestedActions> = "suggestedActions";
    }
}

wire_object! {
    /// The cards of a tab.
    pub struct TabCards {
        /// The cards.
        pub cards: Vec<TabCard> = "cards";
    }
}

wire_object! {
    /// A card of a tab.
    pub struct TabCard {
        /// The card.
        pub card: Option<AdaptiveCard> = "card";
    }
}

wire_object! {
    /// A button of a connector card was pressed.
    pub struct ExecuteActionRequest {
        /// What the button sends.
        pub body: Option<String> = "body";
        /// The id of the button.
        pub action_id: Option<String> = "actionId" show;
    }
}
