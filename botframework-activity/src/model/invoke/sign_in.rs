use super::{InvokeAnswer, with_body};
use crate::model::error::ModelError;
use crate::model::object::wire_object;
use crate::model::response::InvokeResponse;

wire_object! {
    /// Teams brings the user's token.
    pub struct TokenExchangeRequest {
        /// The id of the card's token exchange resource.
        pub id: Option<String> = "id" show;
        /// The connection.
        pub connection_name: Option<String> = "connectionName" show;
        /// The user's token for the bot.
        pub token: Option<String> = "token";
    }
}

wire_object! {
    /// The answer to the user's token: 200, or 412 with a reason when it cannot be exchanged.
    pub struct TokenExchangeAnswer {
        /// The id of the request.
        pub id: Option<String> = "id" show;
        /// The connection of the request.
        pub connection_name: Option<String> = "connectionName" show;
        /// Why it cannot be exchanged. Teams then shows the card's button.
        pub failure_detail: Option<String> = "failureDetail";
    }
}

impl TokenExchangeAnswer {
    /// The token is taken.
    #[must_use]
    #[inline]
    pub fn done(request: &TokenExchangeRequest) -> Self {
        Self { id: request.id.clone(), connection_name: request.connection_name.clone(), ..Self::default() }
    }

    /// The token cannot be exchanged. The reason must hold no secret: it goes to the user's client.
    #[inline]
    pub fn failed(request: &TokenExchangeRequest, detail: impl Into<String>) -> Self {
        Self { failure_detail: Some(detail.into()), ..Self::done(request) }
    }
}

impl InvokeAnswer for TokenExchangeAnswer {
    #[inline]
    fn to_response(&self) -> Result<InvokeResponse, ModelError> {
        let mut response = with_body(self)?;
        if self.failure_detail.is_some() {
            response.status = 412;
        }
        Ok(response)
    }
}

wire_object! {
    /// The user has signed in and brings a code.
    pub struct VerifyStateRequest {
        /// Six digits; `CancelledByUser` when the user closed the window.
        pub state: Option<String> = "state";
    }
}

/// The answer to a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyStateAnswer {
    /// 200: the user is signed in.
    Done,
    /// 404: nobody knows the code.
    NotFound,
}

impl InvokeAnswer for VerifyStateAnswer {
    #[inline]
    fn to_response(&self) -> Result<InvokeResponse, ModelError> {
        Ok(InvokeResponse::new(match self {
            Self::Done => 200,
            Self::NotFound => 404,
        }))
    }
}

wire_object! {
    /// Teams could not sign in silently.
    pub struct SignInFailureRequest {
        /// Why, for programs.
        pub code: Option<String> = "code" show;
        /// Why, for people.
        pub message: Option<String> = "message";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_exchange_is_412() {
        let request: TokenExchangeRequest =
            serde_json::from_str(r#"{"id":"1","connectionName":"sso","token":"secret"}"#).unwrap();
        assert!(!format!("{request:?}").contains("secret"));
        let done = TokenExchangeAnswer::done(&request).to_response().unwrap();
        assert_eq!((done.status, done.body.unwrap().get()), (200, r#"{"id":"1","connectionName":"sso"}"#));
        let failed = TokenExchangeAnswer::failed(&request, "consent").to_response().unwrap();
        assert_eq!(failed.status, 412);
        assert_eq!(failed.body.unwrap().get(), r#"{"id":"1","connectionName":"sso","failureDetail":"consent"}"#);
        assert_eq!(VerifyStateAnswer::NotFound.to_response().unwrap().status, 404);
    }
}
