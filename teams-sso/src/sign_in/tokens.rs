//! Tokens for turns.

use botframework_activity::{Turn, VerifiedActivity};
use entra_auth::{OnBehalfOf, Secret};
use tracing::{Instrument, field::Empty};

use super::{
    Access, Connection, FLOWS, SignIn, SignInError, SignInErrorKind, SignedIn,
    connection::Verdict,
    host,
    session::{Session, partition},
};
use crate::{
    ChannelUser, ServiceToken,
    flow::{Event, Flow},
};

impl SignIn {
    /// The token that the user of this turn has for a connection, or a sign-in card for the user.
    ///
    /// After [`Access::Parked`] end the turn with [`Outcome::Parked`](botframework_activity::Outcome::Parked): the user
    /// was asked to sign in and the message waits, or the user was told why not. A message of six digits or a cancel
    /// word that arrives during a sign-in belongs to the sign-in and is used up here. Ask for the token in every turn
    /// anew, and before anything else has an effect.
    ///
    /// # Errors
    ///
    /// See [`SignInErrorKind`]; the user was told nothing. The token service is asked once for each call (twice when a
    /// fault passes), at most 10 s.
    pub async fn token(&self, turn: &Turn, connection: &str) -> Result<Access<SignedIn>, SignInError> {
        self.token_for(turn.activity(), Asking::of(turn), connection).await
    }

    /// A credential that acts for the user of this turn at other resources (On-Behalf-Of), or a sign-in card for the
    /// user: [`SignIn::token`] and [`SignedIn::on_behalf_of`] in one.
    ///
    /// The token that is exchanged was issued for the connection's registration, validated, and is that of the user
    /// who wrote the message.
    ///
    /// # Errors
    ///
    /// As [`SignIn::token`]; also [`SignInErrorKind::NotOnBehalf`].
    pub async fn on_behalf_of(&self, turn: &Turn, connection: &str) -> Result<Access<OnBehalfOf>, SignInError> {
        match self.token(turn, connection).await? {
            Access::Ready(token) => token.on_behalf_of().map(Access::Ready),
            Access::Parked => Ok(Access::Parked),
        }
    }

    /// Signs the writer of `activity` out of a connection, or of all: the token service forgets the tokens, and
    /// sign-ins under way end with the messages that wait. Tokens that were given out stay good until they end, and so
    /// does the session with Entra.
    ///
    /// # Errors
    ///
    /// See [`SignInErrorKind`]. May be repeated.
    pub async fn sign_out(&self, activity: &VerifiedActivity, connection: Option<&str>) -> Result<(), SignInError> {
        let span = tracing::info_span!("teams_sso.sign_out", teams_sso.connection = Empty, error.r#type = Empty);
        async {
            let user = ChannelUser::of(activity)?;
            let connection = match connection {
                Some(name) => Some(self.0.connection(name).ok_or(SignInErrorKind::UnknownConnection)?),
                None => None,
            };
            let name = connection.map(Connection::name);
            self.0.tokens.sign_out(&user, name).await?;
            for connection in self.connections().filter(|other| name.is_none_or(|name| other.name() == name)) {
                self.0.flows.clear(&partition(FLOWS, &user, connection.name())).await?;
            }
            tracing::info!(event.name = "sso.signed_out", teams_sso.connection = name, "signed out");
            Ok(())
        }
        .instrument(span)
        .await
    }

    pub(super) async fn token_for(
        &self,
        activity: &VerifiedActivity,
        turn: Asking<'_>,
        connection: &str,
    ) -> Result<Access<SignedIn>, SignInError> {
        let connection = self.0.connection(connection).ok_or(SignInErrorKind::UnknownConnection)?;
        let span = tracing::info_span!(
            "teams_sso.sign_in",
            teams_sso.connection = connection.name(),
            teams_sso.variant = "token_service",
            teams_sso.host = host::Host::of(activity).as_str(),
            teams_sso.conversation_type = host::conversation_type(activity),
            teams_sso.outcome = Empty,
        );
        async {
            let result = match ChannelUser::of(activity) {
                Ok(user) => self.look(activity, &user, turn, connection).await,
                Err(error) => Err(error.into()),
            };
            let outcome = match &result {
                Ok(Access::Ready(_)) => "cached",
                Ok(Access::Parked) => "parked",
                Err(error) => error.kind().as_str(),
            };
            tracing::Span::current().record("teams_sso.outcome", outcome);
            result
        }
        .instrument(span)
        .await
    }

    async fn look(
        &self,
        activity: &VerifiedActivity,
        user: &ChannelUser,
        turn: Asking<'_>,
        connection: &Connection,
    ) -> Result<Access<SignedIn>, SignInError> {
        let session = Session::new(&self.0, activity, user, connection, None);
        if let Some(typed) = Typed::of(activity, &self.0.cancel_words)
            && matches!(session.flow().await?, Some(Flow::Pending(pending)) if !pending.is_over(self.0.now(), &self.0.rules))
        {
            match typed {
                Typed::Code(code) => drop(self.redeem(&[session], &code).await?),
                Typed::Cancel => drop(session.run(Event::Cancelled).await?),
            }
            return Ok(Access::Parked);
        }
        let found = match session.tokens().get_token(user, connection.name()).await? {
            Some(token) => self.admit(&session, token).await?,
            None => None,
        };
        match found {
            Some(token) => {
                match session.run(Event::Found { turn: turn.id.to_owned() }).await {
                    Ok(ran) if ran.yields => return Ok(Access::Parked),
                    Ok(_) => {}
                    // It may have been parked before it crashed, and then it is answered elsewhere.
                    Err(error) if turn.may_be_parked => return Err(error),
                    Err(error) => tracing::warn!(%error, "whether another message waits is not known"),
                }
                if turn.is_resumed() {
                    session.forget_cards().await;
                }
                Ok(Access::Ready(token))
            }
            None => {
                tracing::info!(
                    event.name = "sso.sign_in.requested",
                    teams_sso.connection = connection.name(),
                    "a message needs a sign-in"
                );
                let ran = session.run(Event::Wanted(session.park(turn.id)?)).await?;
                ran.error.map_or(Ok(Access::Parked), Err)
            }
        }
    }

    /// Judges a token that the service has; `None` when it is over and the user has to sign in again.
    async fn admit(&self, session: &Session<'_>, token: ServiceToken) -> Result<Option<SignedIn>, SignInError> {
        let judged = session.connection.judge(token.raw(), session.user.key()).await;
        let token = token.access_token().clone();
        match judged {
            Ok(None) if token.expires_on() <= self.0.clock.now() => Ok(None),
            Ok(validated) => {
                let user = session.user.key().clone();
                Ok(Some(SignedIn::new(user, token, validated, session.connection.clone())))
            }
            Err(Verdict::Over) => Ok(None),
            Err(verdict) => {
                session.reject(verdict).await;
                Err(verdict.kind().into())
            }
        }
    }
}

impl Session<'_> {
    /// Reports a token that is not used. Another user's does not stay at the service under this user's name.
    pub(super) async fn reject(&self, verdict: Verdict) {
        tracing::warn!(
            event.name = "token.validation_failed",
            teams_sso.connection = self.connection.name(),
            teams_sso.outcome = verdict.kind().as_str(),
            tenant.id = self.user.key().tenant().as_str(),
            "a token of the token service is not used"
        );
        if verdict == Verdict::OtherUser
            && let Err(error) = self.tokens().sign_out(self.user, Some(self.connection.name())).await
        {
            tracing::warn!(%error, "another user's token is still at the token service");
        }
    }
}

/// The turn that asks for a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) id: &'a str,
    /// Whether an earlier attempt may have parked this very turn.
    pub(super) may_be_parked: bool,
}

impl<'a> Asking<'a> {
    fn of(turn: &'a Turn) -> Self {
        Self { id: turn.id().as_str(), may_be_parked: turn.attempt() > 1 }
    }

    /// Whether it waited for a sign-in and came back.
    fn is_resumed(self) -> bool {
        self.id.starts_with("resume:")
    }
}

/// A message that belongs to the sign-in under way.
enum Typed {
    Code(Secret),
    Cancel,
}

impl Typed {
    /// The whole message must be the code: a number in a sentence is none. Nowhere but in private: others could read
    /// along.
    fn of(activity: &VerifiedActivity, cancel_words: &[String]) -> Option<Self> {
        let text = activity.text.as_deref()?.trim();
        if !host::is_private(activity) {
            return None;
        }
        if is_code(text) {
            return Some(Self::Code(Secret::new(text)));
        }
        let cancels = cancel_words.iter().any(|word| word.to_lowercase() == text.to_lowercase());
        cancels.then_some(Self::Cancel)
    }
}

/// Whether it is a code of the sign-in window.
pub(super) fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}
