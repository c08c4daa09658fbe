use crate::card::{Card, OAuthCard};
use crate::model::error::ModelError;
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::vocabulary::ContentType;

wire_object! {
    /// A button of an Adaptive Card was pressed.
    pub struct CardActionRequest {
        /// The button.
        pub action: Option<InvokedAction> = "action";
        /// The user's token, when the answer before asked for one.
        pub authentication: Option<CardAuthentication> = "authentication";
        /// The code of a sign-in, when the answer before asked for one.
        pub state: Option<String> = "state";
        /// `manual`, or `automatic` for a refresh.
        pub trigger: Option<String> = "trigger" show;
    }
}

wire_object! {
    /// The button that was pressed.
    pub struct InvokedAction {
        /// `Action.Execute` or `Action.Submit`.
        pub kind: Option<crate::card::ActionKind> = "type";
        /// The id of the button.
        pub id: Option<String> = "id" show;
        /// What to do.
        pub verb: Option<String> = "verb" show;
        /// The button's data and the inputs: any JSON.
        pub data: Option<RawJson> = "data";
    }
}

wire_object! {
    /// The user's token for a button.
    pub struct CardAuthentication {
        /// The id of the exchange.
        pub id: Option<String> = "id" show;
        /// The connection.
        pub connection_name: Option<String> = "connectionName" show;
        /// The token.
        pub token: Option<String> = "token";
    }
}

wire_object! {
    /// The answer to a pressed button. The HTTP status is always 200; the outcome is in `status_code`.
    ///
    /// ```
    /// use botframework_activity::{card::AdaptiveCard, invoke::CardActionAnswer};
    ///
    /// let answer = CardActionAnswer::card(&AdaptiveCard::new().element("Approved."))?;
    /// let sorry = CardActionAnswer::error(400, "bad-input", "The amount is missing.");
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    pub struct CardActionAnswer {
        /// The outcome.
        pub status_code: u16 = "statusCode" [200];
        /// What `value` is.
        pub kind: Option<ContentType> = "type";
        /// The new card, a text, a sign-in card, an error.
        pub value: Option<RawJson> = "value";
    }
}

impl CardActionAnswer {
    /// The new card.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn card<T: Card>(card: &T) -> Result<Self, ModelError> {
        Ok(Self::of(200, T::CONTENT_TYPE, RawJson::from_value(card)?))
    }

    /// A text for the user.
    #[inline]
    pub fn message(text: impl Into<String>) -> Self {
        Self::of(200, ContentType::ACTIVITY_MESSAGE, RawJson::from(text.into()))
    }

    /// The user has to sign in.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn sign_in(card: &OAuthCard) -> Result<Self, ModelError> {
        let content = card.to_attachment()?.content.unwrap_or_else(null);
        Ok(Self::of(401, ContentType::LOGIN_REQUEST, content))
    }

    /// The code of the sign-in is wrong.
    #[must_use]
    #[inline]
    pub fn incorrect_code() -> Self {
        Self::of(401, ContentType::INCORRECT_AUTH_CODE, null())
    }

    /// The token cannot be exchanged: the user has to sign in with the card's button.
    #[inline]
    pub fn precondition_failed(code: &str, message: &str) -> Self {
        Self::with_error(412, ContentType::PRECONDITION_FAILED, code, message)
    }

    /// An error: 400 when the request is wrong, 500 when the bot is.
    #[inline]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::with_error(status, ContentType::ERROR, code, message)
    }

    #[inline]
    fn with_error(status: u16, kind: ContentType, code: &str, message: &str) -> Self {
        Self::of(status, kind, serde_json::json!({ "code": code, "message": message }).into())
    }

    #[inline]
    fn of(status_code: u16, kind: ContentType, value: RawJson) -> Self {
        Self { status_code, kind: Some(kind), value: Some(value), ..Self::default() }
    }

    /// The error that it reports.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the value is none.
    #[inline]
    pub fn card_error(&self) -> Result<Option<CardError>, ModelError> {
        self.value.as_ref().map(RawJson::parse).transpose().map_err(|error| error.in_member("value"))
    }
}

fn null() -> RawJson {
    RawJson::from(serde_json::Value::Null)
}

wire_object! {
    /// What went wrong with a pressed button.
    pub struct CardError {
        /// A code for programs.
        pub code: Option<String> = "code" show;
        /// A text for people.
        pub message: Option<String> = "message";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_answers() {
        let text = |answer: &CardActionAnswer| serde_json::to_string(answer).unwrap();
        assert_eq!(
            text(&CardActionAnswer::message("ok")),
            r#"{"statusCode":200,"type":"application/vnd.microsoft.activity.message","value":"ok"}"#
        );
        assert_eq!(
            text(&CardActionAnswer::incorrect_code()),
            r#"{"statusCode":401,"type":"application/vnd.microsoft.error.incorrectAuthCode","value":null}"#
        );
        let failed = CardActionAnswer::precondition_failed("c", "m");
        assert_eq!((failed.status_code, failed.card_error().unwrap().unwrap().code.as_deref()), (412, Some("c")));
        let card = OAuthCard::new("sso", "Sign in", "https://x.invalid");
        let login = CardActionAnswer::sign_in(&card).unwrap();
        assert_eq!((login.status_code, login.kind), (401, Some(ContentType::LOGIN_REQUEST)));
        assert!(!login.value.unwrap().get().contains("null"));
    }
}
