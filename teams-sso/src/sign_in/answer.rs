//! What the channel gets: the HTTP answers to invokes.

use botframework_activity::InvokeResponse;
use entra_auth::CorrelationId;
use serde_json::json;

use crate::{
    flow::{Answer, Refusal},
    tree,
};

/// What the answer to an exchange repeats of it.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) id: Option<String>,
    pub(super) connection: Option<String>,
    /// The connection when it is one of ours, fit for logs.
    pub(super) known_connection: Option<String>,
}

/// The HTTP answer. Words in it are fixed: what the token service wrote stays here, and a reference leads to the log.
pub(super) fn response(answer: Answer, ids: &Ids) -> InvokeResponse {
    let (status, detail) = match answer {
        Answer::Done => (200, None),
        Answer::Seen => return InvokeResponse::ok(),
        Answer::BadCode => return InvokeResponse::new(404),
        Answer::TryAgain => return InvokeResponse::new(500),
        Answer::Consent => (412, Some("The user must consent or sign in.")),
        Answer::Refused(refusal) => (400, Some(detail(refusal))),
    };
    let detail = detail.map(|detail| {
        let reference = CorrelationId::random();
        tracing::info!(teams_sso.reference = reference.as_str(), http.response.status_code = status, "invoke refused");
        format!("{detail} Reference: {reference}")
    });
    let body = tree::with(json!({"id": ids.id, "connectionName": ids.connection}), "failureDetail", detail);
    let mut response = InvokeResponse::new(status);
    response.body = Some(body.into());
    response
}

const fn detail(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "The invoke is malformed.",
        Refusal::UnknownConnection => "The connection is not one of this bot.",
        Refusal::NoFlow => "No sign-in is pending.",
        Refusal::TimedOut => "The sign-in took too long.",
        Refusal::InvalidToken => "The token could not be exchanged.",
        Refusal::BadConnection | Refusal::BotCredential => "The bot is not configured correctly.",
        Refusal::SubjectMismatch => "The token could not be accepted.",
    }
}

/// The stable name of an outcome.
pub(super) const fn outcome(answer: Answer) -> &'static str {
    match answer {
        Answer::Done => "completed",
        Answer::Seen => "seen",
        Answer::Consent => "consent_required",
        Answer::BadCode => "bad_code",
        Answer::TryAgain => "token_service_error",
        Answer::Refused(refusal) => match refusal {
            Refusal::Malformed => "malformed",
            Refusal::UnknownConnection => "unknown_connection",
            Refusal::NoFlow => "no_flow",
            Refusal::TimedOut => "timed_out",
            Refusal::InvalidToken => "invalid_token",
            Refusal::BadConnection => "config_error",
            Refusal::BotCredential => "bot_credential",
            Refusal::SubjectMismatch => "subject_mismatch",
        },
    }
}

/// The audit event of an invoke. What the operator must act on is an error.
pub(super) fn report(
    answer: Answer,
    event: &'static str,
    connection: Option<&str>,
    outcome: &'static str,
    status: u16,
) {
    use tracing::Level;
    let outcome = match (event, answer) {
        ("sso.exchange", Answer::Seen) => "duplicate",
        _ => outcome,
    };
    let level = match answer {
        Answer::Refused(Refusal::BadConnection | Refusal::BotCredential | Refusal::SubjectMismatch) => Level::ERROR,
        Answer::Refused(_) | Answer::TryAgain => Level::WARN,
        _ => Level::INFO,
    };
    macro_rules! report {
        ($level:expr) => {
            tracing::event!(
                $level,
                event.name = event,
                teams_sso.connection = connection,
                teams_sso.outcome = outcome,
                teams_sso.invoke_status = status,
                "sign-in invoke answered"
            )
        };
    }
    match level {
        Level::ERROR => report!(Level::ERROR),
        Level::WARN => report!(Level::WARN),
        _ => report!(Level::INFO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn body(answer: Answer, ids: &Ids) -> (u16, Option<Value>) {
        let response = response(answer, ids);
        (response.status, response.body.map(|body| body.parse().unwrap()))
    }

    #[test]
    fn answers_on_the_wire() {
        let ids = Ids { id: Some("g-1".into()), connection: Some("sso".into()), known_connection: None };
        assert_eq!(body(Answer::Done, &ids), (200, Some(json!({"id": "g-1", "connectionName": "sso"}))));
        assert_eq!(body(Answer::Seen, &ids), (200, None));
        assert_eq!(body(Answer::BadCode, &ids), (404, None));
        assert_eq!(body(Answer::TryAgain, &ids), (500, None));
        for (answer, ids, status, id, connection, words) in [
            (Answer::Consent, ids, 412, json!("g-1"), json!("sso"), "The user must consent or sign in. Reference: "),
            (
                Answer::Refused(Refusal::Malformed),
                Ids::default(),
                400,
                Value::Null,
                Value::Null,
                "The invoke is malformed. Reference: ",
            ),
        ] {
            let (found, body) = body(answer, &ids);
            let body = body.unwrap();
            assert_eq!((found, &body["id"], &body["connectionName"]), (status, &id, &connection));
            assert!(body["failureDetail"].as_str().unwrap().starts_with(words), "{body}");
        }
    }
}
