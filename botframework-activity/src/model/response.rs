use serde_core::Serialize;

use super::activity::Activity;
use super::error::ModelError;
use super::object::wire_object;
use super::raw::RawJson;

wire_object! {
    /// The answer to an invoke. `status` and `body` become the HTTP status and body; the object itself
    /// is written only inside an expected-replies answer.
    pub struct InvokeResponse {
        /// The HTTP status.
        pub status: u16 = "status" [200];
        /// The body; none means an empty one.
        pub body: Option<RawJson> = "body";
    }
}

impl InvokeResponse {
    /// An answer without a body.
    #[must_use]
    #[inline]
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// 200 without a body.
    #[must_use]
    #[inline]
    pub fn ok() -> Self {
        Self::new(200)
    }

    /// 501: no handler for this invoke.
    #[must_use]
    #[inline]
    pub fn not_implemented() -> Self {
        Self::new(501)
    }

    /// Sets the body.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn with_body<T: Serialize + ?Sized>(mut self, body: &T) -> Result<Self, ModelError> {
        self.body = Some(RawJson::from_value(body).map_err(|error| error.in_member("body"))?);
        Ok(self)
    }
}

wire_object! {
    /// The HTTP answer to an activity with the delivery mode `expectReplies`.
    pub struct ExpectedReplies {
        /// The answers, in order.
        pub activities: Vec<Activity> = "activities";
        /// The body of an invoke's answer.
        pub body: Option<RawJson> = "body";
    }
}

wire_object! {
    /// What a connector answers when it refuses:
    /// [`ErrorResponse`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#errorresponse-object).
    pub struct ErrorResponse {
        /// What went wrong.
        pub error: Option<ErrorBody> = "error";
    }
}

wire_object! {
    /// What went wrong.
    pub struct ErrorBody {
        /// A code for programs.
        pub code: Option<String> = "code" show;
        /// A text for people.
        pub message: Option<String> = "message";
        /// What a service behind answered.
        pub inner_http_error: Option<InnerHttpError> = "innerHttpError";
    }
}

wire_object! {
    /// What a service behind answered.
    pub struct InnerHttpError {
        /// The HTTP status.
        pub status_code: Option<i64> = "statusCode";
        /// The body: any JSON.
        pub body: Option<RawJson> = "body";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoke_response_has_a_status() {
        let response = InvokeResponse::new(412).with_body(&["x"]).unwrap();
        let text = serde_json::to_string(&response).unwrap();
        assert_eq!(text, r#"{"status":412,"body":["x"]}"#);
        assert_eq!(serde_json::from_str::<InvokeResponse>(&text).unwrap(), response);
        assert!(serde_json::from_str::<InvokeResponse>("{}").is_err());
        assert_eq!(InvokeResponse::not_implemented().status, 501);
    }
}
