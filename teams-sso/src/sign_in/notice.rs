use std::fmt;

use crate::SignInFailureCode;

/// Something to say to the user, for the host to put into words
/// ([`SignInBuilder::words`](crate::SignInBuilder::words)). Without words of the host's own it is said in English.
///
/// ```
/// use teams_sso::{SignInNotice, SignInNoticeKind};
///
/// fn in_german(notice: &SignInNotice<'_>) -> Option<String> {
///     match &notice.kind {
///         SignInNoticeKind::CardButton => Some("Anmelden".to_owned()),
///         SignInNoticeKind::SignedIn => None, // say nothing
///         _ => notice.in_english(),
///     }
/// }
/// # let notice = SignInNotice::new(SignInNoticeKind::CardButton, "sso");
/// # assert_eq!(in_german(&notice).as_deref(), Some("Anmelden"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignInNotice<'a> {
    /// What there is to say.
    pub kind: SignInNoticeKind,
    /// The connection it is about.
    pub connection: &'a str,
    /// The language of the user's message, BCP 47, when the channel said so.
    pub locale: Option<&'a str>,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignInNoticeKind {
    /// The words on a sign-in card.
    Card,
    /// The words on a second card, with a button only, after the silent way failed.
    CardAfter(SignInFailureCode),
    /// The title of the card's button.
    CardButton,
    /// A sign-in is under way; this message was not kept.
    InProgress,
    /// Signed in, but no message waited: the user repeats the request.
    SignedIn,
    /// Signed in, but the message that waited could not be taken up again: the user repeats the request.
    NotResumed,
    /// The user cancelled.
    Cancelled,
    /// The sign-in took too long.
    TimedOut,
    /// A wrong code.
    BadCode {
        /// How many tries are left.
        attempts_left: u8,
    },
    /// Too many wrong codes.
    TooManyAttempts,
    /// Too many cards in a short time: the loop guard.
    TooManyCards,
    /// The channel does not take the card: the developer.
    CardRejected,
    /// A sign-in card is only shown where nobody else sees it.
    NotPrivate,
    /// The app has to be installed for this user or chat first.
    InstallApp,
    /// The registration, the connection or the bot's credential is wrong: the operator.
    NotConfigured,
    /// The token is another user's, or is not acceptable. Nothing about why.
    Refused,
}

impl<'a> SignInNotice<'a> {
    /// A notice about a connection.
    #[must_use]
    pub const fn new(kind: SignInNoticeKind, connection: &'a str) -> Self {
        Self { kind, connection, locale: None }
    }

    /// Sets the user's language.
    #[must_use]
    pub const fn with_locale(mut self, locale: Option<&'a str>) -> Self {
        self.locale = locale;
        self
    }

    /// The words in English.
    #[must_use]
    pub fn in_english(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl fmt::Display for SignInNotice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.kind {
            SignInNoticeKind::Card => "Please sign in to continue.",
            SignInNoticeKind::CardAfter(code) if *code == SignInFailureCode::INSTALLED_APP_NOT_FOUND => {
                "This app is not installed for you here. Add it, or sign in with the button."
            }
            SignInNoticeKind::CardAfter(code) if *code == SignInFailureCode::AUTH_REQUEST_FAILED => {
                "Signing in silently did not work; an administrator may have to consent for your organization. Please \
                 sign in with the button."
            }
            SignInNoticeKind::CardAfter(code) if code.is_configuration() => {
                "Signing in silently is not set up correctly for this app. Please sign in with the button."
            }
            SignInNoticeKind::CardAfter(_) => "Signing in silently did not work. Please sign in with the button.",
            SignInNoticeKind::CardButton => "Sign in",
            SignInNoticeKind::InProgress => "Please finish signing in first, then send this message again.",
            SignInNoticeKind::SignedIn => "You are signed in. Please send your request again.",
            SignInNoticeKind::NotResumed => {
                "You are signed in, but your message could not be taken up again. Please send it again."
            }
            SignInNoticeKind::Cancelled => "The sign-in was cancelled. Send your message again to try once more.",
            SignInNoticeKind::TimedOut => "The sign-in took too long. Send your message again to try once more.",
            SignInNoticeKind::BadCode { attempts_left } => {
                return write!(f, "This code is wrong or was used before. Tries left: {attempts_left}.");
            }
            SignInNoticeKind::TooManyAttempts => "Too many wrong codes. Send your message again to start over.",
            SignInNoticeKind::TooManyCards => {
                "You were asked to sign in several times already. Use the button of the last card, or try again in five \
                 minutes."
            }
            SignInNoticeKind::CardRejected => "The sign-in card could not be shown here.",
            SignInNoticeKind::NotPrivate => "Please write to me in a personal chat to sign in.",
            SignInNoticeKind::InstallApp => "Please add this app first, then send your message again.",
            SignInNoticeKind::NotConfigured => {
                "Signing in is not set up correctly for this app. Please tell its operator."
            }
            SignInNoticeKind::Refused => "You could not be signed in.",
        };
        f.write_str(text)
    }
}
