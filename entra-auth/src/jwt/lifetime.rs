use std::time::Duration;

use time::OffsetDateTime;

use super::{TokenError, TokenErrorKind};

/// How the times in a token are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    leeway: Duration,
    max_age: Duration,
}

impl Lifetime {
    /// The largest difference between two clocks that may be allowed for: 300 s.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(300);

    /// Allows for clocks that differ by `leeway`, at most [`Lifetime::MAX_LEEWAY`]. A token may live 25 hours.
    #[must_use]
    pub fn new(leeway: Duration) -> Self {
        Self { leeway: leeway.min(Self::MAX_LEEWAY), max_age: Duration::from_secs(25 * 3600) }
    }

    /// Sets how long a token may live, counted from `iat` when that is there. Default 25 hours.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The difference between two clocks that is allowed for.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }
}

/// 60 s of leeway: the default for Entra tokens.
impl Default for Lifetime {
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl From<Duration> for Lifetime {
    fn from(leeway: Duration) -> Self {
        Self::new(leeway)
    }
}

impl From<time::Duration> for Lifetime {
    fn from(leeway: time::Duration) -> Self {
        Self::new(leeway.try_into().unwrap_or_default())
    }
}

/// The times in a token: `exp`, `nbf` and `iat`, in whole seconds.
///
/// [`Claims::times`](crate::Claims::times) reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTimes {
    pub(super) expires_on: Seconds,
    pub(super) not_before: Option<Seconds>,
    pub(super) issued_at: Option<Seconds>,
}

/// Seconds since 1970, from 0 to 2^33.
pub(super) type Seconds = i64;

impl TokenTimes {
    /// `exp`: when the token ends.
    #[must_use]
    pub fn expires_on(&self) -> OffsetDateTime {
        date(self.expires_on)
    }

    /// `nbf`: from when on the token counts.
    #[must_use]
    pub fn not_before(&self) -> Option<OffsetDateTime> {
        self.not_before.map(date)
    }

    /// `iat`: when the token was issued.
    #[must_use]
    #[inline]
    pub fn issued_at(&self) -> Option<OffsetDateTime> {
        self.issued_at.map(date)
    }

    /// Judges the times at the moment `now`.
    ///
    /// - `exp` lies after `now` less the leeway. At that very moment the token has ended: "on or after which the JWT MUST
    ///   NOT be accepted" ([RFC 7519 section 4.1.4](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4)).
    /// - `nbf`, when there, is not after `now` plus the leeway: at that very moment the token counts ("before which …
    ///   MUST NOT be accepted", section 4.1.5).
    /// - `iat`, when there, lies neither in the future, with the same leeway, nor after `exp`, and the token lives no
    ///   longer than 25 hours from it ([`Lifetime::max_age`]).
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::Expired`], [`TokenErrorKind::NotYetValid`], [`TokenErrorKind::MalformedClaim`] (issued after its
    /// end) or [`TokenErrorKind::LifetimeTooLong`].
    pub fn check(&self, now: OffsetDateTime, lifetime: Lifetime) -> Result<(), TokenError> {
        let now = now.unix_timestamp_nanos();
        if now >= nanos(self.expires_on) + duration(lifetime.leeway) {
            return Err(TokenErrorKind::Expired.into());
        }
        let latest_start = now + duration(lifetime.leeway);
        let is_early = |start: Option<Seconds>| start.is_some_and(|start| nanos(start) > latest_start);
        if is_early(self.not_before) || is_early(self.issued_at) {
            return Err(TokenErrorKind::NotYetValid.into());
        }
        let Some(issued_at) = self.issued_at else { return Ok(()) };
        if issued_at > self.expires_on {
            return Err(TokenErrorKind::MalformedClaim.into());
        }
        if nanos(self.expires_on - issued_at) > duration(lifetime.max_age) {
            return Err(TokenErrorKind::LifetimeTooLong.into());
        }
        Ok(())
    }

    /// Judges how long ago the token was issued; `iat` must be there.
    #[inline]
    pub(crate) fn check_age(&self, now: OffsetDateTime, max_age: Duration, leeway: Duration) -> Result<(), TokenError> {
        let issued_at = self.issued_at.ok_or(TokenErrorKind::MissingClaim)?;
        let age = now.unix_timestamp_nanos() - nanos(issued_at);
        if age > duration(max_age) + duration(leeway) { Err(TokenErrorKind::TooOld.into()) } else { Ok(()) }
    }
}

fn date(seconds: Seconds) -> OffsetDateTime {
    // It was in range when it was read.
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn nanos(seconds: Seconds) -> i128 {
    i128::from(seconds) * 1_000_000_000
}

fn duration(duration: Duration) -> i128 {
    i128::from(duration.as_secs()) * 1_000_000_000 + i128::from(duration.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Claims;

    #[test]
    fn boundaries() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let judge = |json: &str, now: OffsetDateTime| {
            let claims = Claims::parse(json.into()).unwrap();
            claims.check_lifetime(now, Duration::from_secs(60)).map(|_| ()).map_err(|error| error.kind())
        };
        for (json, now, expected) in [
            (r#"{"exp":10000}"#, 10_059, Ok(())),
            (r#"{"exp":10000}"#, 10_060, Err(TokenErrorKind::Expired)),
            (r#"{"exp":10000,"nbf":9000}"#, 8_940, Ok(())),
            (r#"{"exp":10000,"nbf":9000}"#, 8_939, Err(TokenErrorKind::NotYetValid)),
            (r#"{"exp":10000,"iat":9000}"#, 8_940, Ok(())),
            (r#"{"exp":10000,"iat":9000}"#, 8_939, Err(TokenErrorKind::NotYetValid)),
            (r#"{"exp":10000,"iat":10001}"#, 10_000, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"exp":90000,"iat":0}"#, 1, Ok(())),
            (r#"{"exp":90001,"iat":0}"#, 1, Err(TokenErrorKind::LifetimeTooLong)),
            (r#"{"exp":8000000000}"#, 1, Ok(())),
            (r#"{"nbf":1}"#, 1, Err(TokenErrorKind::MissingClaim)),
            (r#"{"exp":10000,"nbf":"1"}"#, 1, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"exp":10000,"iat":null}"#, 1, Err(TokenErrorKind::MalformedClaim)),
        ] {
            assert_eq!(judge(json, at(now)), expected, "{json} at {now}");
        }
        let moment = time::Duration::nanoseconds(1);
        assert_eq!(judge(r#"{"exp":10000}"#, at(10_060) - moment), Ok(()));
        assert_eq!(judge(r#"{"exp":10000,"nbf":9000}"#, at(8_940) - moment), Err(TokenErrorKind::NotYetValid));
        assert_eq!(
            judge(r#"{"exp":10000}"#, OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT)),
            Err(TokenErrorKind::Expired)
        );
        assert_eq!(judge(r#"{"exp":10000}"#, OffsetDateTime::new_utc(time::Date::MIN, time::Time::MIDNIGHT)), Ok(()));
    }

    #[test]
    fn settings() {
        assert_eq!(Lifetime::new(Duration::from_secs(9999)).leeway(), Duration::from_secs(300));
        assert_eq!(Lifetime::from(time::Duration::seconds(-5)).leeway(), Duration::ZERO);
        let times = TokenTimes { expires_on: 11, not_before: None, issued_at: Some(0) };
        let now = OffsetDateTime::UNIX_EPOCH;
        let short = Lifetime::default().max_age(Duration::from_secs(10));
        assert_eq!(times.check(now, short).unwrap_err().kind(), TokenErrorKind::LifetimeTooLong);
        assert!(times.check(now, Lifetime::default().max_age(Duration::MAX)).is_ok());
        assert_eq!((times.expires_on().unix_timestamp(), times.issued_at(), times.not_before()), (11, Some(now), None));
    }

    #[test]
    fn age() {
        let times = TokenTimes { expires_on: 1_000, not_before: None, issued_at: Some(0) };
        let judge = |seconds| {
            let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            times.check_age(now, Duration::from_secs(600), Duration::from_secs(60)).map_err(|error| error.kind())
        };
        assert_eq!((judge(660), judge(661)), (Ok(()), Err(TokenErrorKind::TooOld)));
        let silent = TokenTimes { issued_at: None, ..times };
        let kind = silent.check_age(OffsetDateTime::UNIX_EPOCH, Duration::MAX, Duration::MAX).unwrap_err().kind();
        assert_eq!(kind, TokenErrorKind::MissingClaim);
    }
}
