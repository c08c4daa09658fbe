//! The `signin/…` invokes.

use botframework_activity::{ActivityType, InvokeName, InvokeResponse, VerifiedActivity};
use entra_auth::Secret;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, field::Empty};

use super::{
    SignIn, SignInError, SignInErrorKind,
    answer::{self, Ids},
    connection::Verdict,
    host::{self, Host},
    session::{Ran, Session},
    tokens::is_code,
};
use crate::{
    ChannelUser, SignInFailureCode, TokenServiceError, TokenServiceErrorKind,
    flow::{Answer, Event, Exchanged, Flow, Redeemed, Refusal},
};

/// `value` of `signin/tokenExchange`.
#[derive(Deserialize)]
struct ExchangeValue {
    id: Option<String>,
    #[serde(rename = "connectionName")]
    connection: Option<String>,
    token: Option<String>,
}

/// `value` of `signin/verifyState`.
#[derive(Deserialize)]
struct StateValue {
    state: Option<String>,
}

/// `value` of `signin/failure`.
#[derive(Deserialize)]
struct FailureValue {
    code: Option<SignInFailureCode>,
}

/// `state` when the user closed the window.
const CANCELLED: &str = "CancelledByUser";
/// No token and no id of an exchange is longer.
const MAX_TOKEN: usize = 16 * 1024;
const MAX_ID: usize = 256;

impl SignIn {
    /// Answers a `signin/…` invoke; `None` when the activity is none.
    ///
    /// The answer is there within the time limit, whatever the token service does, and before the message that waited
    /// is worked on. It is the HTTP answer to the channel: 200 done or done before, 412 the client shows what the user
    /// must do, 404 a wrong code, 400 the client stops, 500 the client sends again, which repairs whatever was left
    /// undone.
    pub async fn invoke(&self, activity: &VerifiedActivity) -> Option<InvokeResponse> {
        if activity.kind != ActivityType::INVOKE {
            return None;
        }
        let name = InvokeName::from(activity.name.as_deref()?);
        let (host, conversation) = (Host::of(activity).as_str(), host::conversation_type(activity));
        // The name of a span is a constant; all else is the same for the three.
        macro_rules! span {
            ($name:literal) => {
                tracing::info_span!(
                    $name,
                    otel.kind = "server",
                    teams_sso.variant = "token_service",
                    teams_sso.host = host,
                    teams_sso.conversation_type = conversation,
                    teams_sso.outcome = Empty,
                    teams_sso.invoke_status = Empty,
                )
            };
        }
        let span = if name == InvokeName::SIGN_IN_TOKEN_EXCHANGE {
            span!("teams_sso.token_exchange")
        } else if name == InvokeName::SIGN_IN_VERIFY_STATE {
            span!("teams_sso.verify_state")
        } else if name == InvokeName::SIGN_IN_FAILURE {
            span!("teams_sso.client_failure")
        } else {
            return None;
        };
        Some(self.answer(activity, &name).instrument(span).await)
    }

    async fn answer(&self, activity: &VerifiedActivity, name: &InvokeName) -> InvokeResponse {
        let deadline = Instant::now() + self.0.invoke_timeout;
        let (mut ids, mut event) = (Ids::default(), "sso.exchange");
        let work = async {
            if *name == InvokeName::SIGN_IN_TOKEN_EXCHANGE {
                self.exchange(activity, deadline, &mut ids).await
            } else if *name == InvokeName::SIGN_IN_VERIFY_STATE {
                event = "sso.verify_state";
                self.verify(activity, deadline).await
            } else {
                event = "sso.client_failure";
                self.client_failed(activity, deadline).await
            }
        };
        let result = timeout_at(deadline, work).await.unwrap_or_else(|_| Err(SignInErrorKind::Deadline.into()));
        let (answer, outcome) = match result {
            Ok(answer) => (answer, answer::outcome(answer)),
            Err(error) => {
                let kind = error.kind();
                tracing::error!(teams_sso.outcome = kind.as_str(), %error, "a sign-in invoke failed");
                (Answer::TryAgain, kind.as_str())
            }
        };
        let response = answer::response(answer, &ids);
        let span = Span::current();
        span.record("teams_sso.outcome", outcome);
        span.record("teams_sso.invoke_status", response.status);
        answer::report(answer, event, ids.known_connection.as_deref(), outcome, response.status);
        response
    }

    async fn exchange(
        &self,
        activity: &VerifiedActivity,
        deadline: Instant,
        ids: &mut Ids,
    ) -> Result<Answer, SignInError> {
        let Ok(Some(value)) = activity.value::<ExchangeValue>() else {
            return Ok(Answer::Refused(Refusal::Malformed));
        };
        let good = |text: &String, most| !text.is_empty() && text.len() <= most;
        let token = value.token.filter(|token| good(token, MAX_TOKEN)).map(Secret::from);
        let id = value.id.filter(|id| good(id, MAX_ID));
        let (Some(token), Some(id)) = (token, id) else {
            return Ok(Answer::Refused(Refusal::Malformed));
        };
        ids.id = Some(id.clone());
        ids.connection = value.connection.filter(|name| name.len() <= MAX_ID);
        let Some(connection) = ids.connection.as_deref().and_then(|name| self.0.connection(name)) else {
            return Ok(Answer::Refused(Refusal::UnknownConnection));
        };
        ids.known_connection = Some(connection.name().to_owned());
        let Ok(user) = ChannelUser::of(activity) else {
            return Ok(Answer::Refused(Refusal::NoFlow));
        };
        let session = Session::new(&self.0, activity, &user, connection, Some(deadline));
        let ran = session.run(Event::Exchange { id: id.clone() }).await?;
        if !ran.asks {
            return Ok(answered(&ran));
        }
        let outcome = self.0.inflight.join(session.key(), &id, || session.exchange(&token)).await;
        Ok(answered(&session.run(Event::Exchanged { id, outcome }).await?))
    }

    async fn verify(&self, activity: &VerifiedActivity, deadline: Instant) -> Result<Answer, SignInError> {
        let state = match activity.value::<StateValue>() {
            Ok(Some(StateValue { state: Some(state) })) => Secret::from(state),
            _ => return Ok(Answer::Refused(Refusal::Malformed)),
        };
        let cancelled = state.expose() == CANCELLED;
        if !cancelled && !is_code(state.expose()) {
            return Ok(Answer::Refused(Refusal::Malformed));
        }
        let Ok(user) = ChannelUser::of(activity) else {
            return Ok(if cancelled { Answer::Seen } else { Answer::BadCode });
        };
        // The invoke names no connection.
        let (sessions, is_done) = self.sessions(activity, &user, deadline).await?;
        match sessions.first() {
            Some(session) if cancelled => Ok(answered(&session.run(Event::Cancelled).await?)),
            _ => {
                let answer = answered(&self.redeem(&sessions, &state).await?);
                // The code was good a moment ago, and this is the same invoke again.
                let late = answer == Answer::BadCode && is_done;
                Ok(if late { Answer::Seen } else { answer })
            }
        }
    }

    async fn client_failed(&self, activity: &VerifiedActivity, deadline: Instant) -> Result<Answer, SignInError> {
        let code = match activity.value::<FailureValue>() {
            Ok(Some(FailureValue { code: Some(code) })) => code,
            _ => SignInFailureCode::INVOKE_ERROR,
        };
        let known = code.known().unwrap_or("other");
        match code.is_configuration() {
            true => tracing::error!(teams_sso.failure_code = known, "a Teams client could not sign in: configuration"),
            false => tracing::warn!(teams_sso.failure_code = known, "a Teams client could not sign in"),
        }
        let Ok(user) = ChannelUser::of(activity) else { return Ok(Answer::Seen) };
        let (sessions, _) = self.sessions(activity, &user, deadline).await?;
        match sessions.first() {
            Some(session) => Ok(answered(&session.run(Event::ClientFailed(code)).await?)),
            None => Ok(Answer::Seen),
        }
    }

    /// The sign-ins that an invoke without a connection can mean, the likeliest first: one whose message the queue does
    /// not have yet, then those that wait, the newest first, then those about which nothing is known. Also whether one of
    /// them is complete.
    async fn sessions<'a>(
        &'a self,
        activity: &'a VerifiedActivity,
        user: &'a ChannelUser,
        deadline: Instant,
    ) -> Result<(Vec<Session<'a>>, bool), SignInError> {
        let mut found = Vec::with_capacity(self.0.connections.len());
        for connection in self.connections() {
            let session = Session::new(&self.0, activity, user, connection, Some(deadline));
            let rank = match session.flow().await? {
                Some(Flow::Completed(done)) if done.parked.is_some() => (0, 0),
                Some(Flow::Pending(pending)) => (1, -pending.started),
                None | Some(Flow::Ended { .. }) => (2, 0),
                Some(Flow::Completed(_)) => (3, 0),
            };
            found.push((rank, session));
        }
        found.sort_by_key(|(rank, _)| *rank);
        let is_done = found.iter().any(|(rank, _)| *rank == (3, 0));
        Ok((found.into_iter().map(|(_, session)| session).collect(), is_done))
    }

    /// Shows a code to the token service, for one connection after the other. Wrong codes count against the first.
    pub(super) async fn redeem(&self, sessions: &[Session<'_>], code: &Secret) -> Result<Ran, SignInError> {
        let Some(first) = sessions.first() else { return Err(SignInErrorKind::UnknownConnection.into()) };
        let ran = first.run(Event::Code).await?;
        if !ran.asks {
            return Ok(ran);
        }
        let mut outcome = Redeemed::Wrong;
        for session in sessions {
            match session.redeem(code).await {
                Redeemed::Token => return session.run(Event::Redeemed(Redeemed::Token)).await,
                // The code may be good for another connection; but a fault must not look like a wrong code.
                Redeemed::Wrong => {}
                failed => outcome = failed,
            }
        }
        // An earlier delivery of this invoke may have used the code up before its answer was lost.
        if outcome == Redeemed::Wrong
            && matches!(first.flow().await?, Some(Flow::Pending(_)))
            && first.has_token().await == Some(true)
        {
            outcome = Redeemed::Token;
        }
        first.run(Event::Redeemed(outcome)).await
    }
}

fn answered(ran: &Ran) -> Answer {
    ran.answer.unwrap_or(Answer::Seen)
}

impl Session<'_> {
    /// Exchanges the client's token, and looks whose token came of it.
    async fn exchange(&self, token: &Secret) -> Exchanged {
        let found = self.tokens().exchange(self.user, self.connection.name(), token).await;
        match found {
            Ok(found) => match self.connection.judge(found.raw(), self.user.key()).await {
                Ok(_) => Exchanged::Token,
                Err(verdict) => {
                    self.reject(verdict).await;
                    match verdict {
                        Verdict::Over => Exchanged::Consent,
                        Verdict::Unknown => Exchanged::Transient,
                        Verdict::OtherUser => Exchanged::Refused(Refusal::SubjectMismatch),
                        Verdict::Bad(_) => Exchanged::Refused(Refusal::InvalidToken),
                    }
                }
            },
            Err(error) => match classify(&error) {
                Class::Consent => Exchanged::Consent,
                Class::Transient => Exchanged::Transient,
                Class::Refused(refusal) => Exchanged::Refused(refusal),
            },
        }
    }

    async fn redeem(&self, code: &Secret) -> Redeemed {
        let found = self.tokens().redeem(self.user, self.connection.name(), code).await;
        match found {
            Ok(None) => Redeemed::Wrong,
            Ok(Some(found)) => match self.connection.judge(found.raw(), self.user.key()).await {
                Ok(_) => Redeemed::Token,
                Err(verdict) => {
                    self.reject(verdict).await;
                    match verdict {
                        Verdict::Unknown => Redeemed::Transient,
                        // Somebody else signed in in the window.
                        Verdict::OtherUser => Redeemed::Refused(Refusal::SubjectMismatch),
                        Verdict::Over | Verdict::Bad(_) => Redeemed::Refused(Refusal::InvalidToken),
                    }
                }
            },
            Err(error) => match classify(&error) {
                Class::Consent => Redeemed::Wrong,
                Class::Transient => Redeemed::Transient,
                Class::Refused(refusal) => Redeemed::Refused(refusal),
            },
        }
    }

    /// Whether the token service has a token of this user that is good; `None` when it does not say.
    async fn has_token(&self) -> Option<bool> {
        let found = self.tokens().get_token(self.user, self.connection.name()).await.ok()?;
        let Some(found) = found else { return Some(false) };
        Some(self.connection.judge(found.raw(), self.user.key()).await.is_ok())
    }
}

enum Class {
    Consent,
    Transient,
    Refused(Refusal),
}

fn classify(error: &TokenServiceError) -> Class {
    let class = match error.kind() {
        TokenServiceErrorKind::ConsentRequired | TokenServiceErrorKind::StaleToken => Class::Consent,
        TokenServiceErrorKind::BadConnection => Class::Refused(Refusal::BadConnection),
        TokenServiceErrorKind::BotCredential => Class::Refused(Refusal::BotCredential),
        TokenServiceErrorKind::InvalidExchange | TokenServiceErrorKind::Invalid => {
            Class::Refused(Refusal::InvalidToken)
        }
        TokenServiceErrorKind::Throttled | TokenServiceErrorKind::Unavailable | TokenServiceErrorKind::Protocol => {
            Class::Transient
        }
    };
    let (outcome, aadsts) = (error.kind().as_str(), error.aadsts());
    match class {
        Class::Consent => tracing::info!(teams_sso.outcome = outcome, teams_sso.aadsts = aadsts, "token not exchanged"),
        _ => tracing::warn!(teams_sso.outcome = outcome, teams_sso.aadsts = aadsts, %error, "token not exchanged"),
    }
    class
}
