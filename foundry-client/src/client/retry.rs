//! Which failures may be repeated: pure.

use std::time::Duration;

use entra_auth::TransportErrorKind;

use crate::client::error::{Delivery, Error, ErrorKind};

/// What repeating a request can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safety {
    /// Reading: nothing.
    Idempotent,
    /// Creating: a second one.
    Create,
    /// Creating, and the host has said that a second one is acceptable.
    CreateAtLeastOnce,
}

/// Whether the service may have acted on a request that failed like this.
pub(crate) fn delivery(error: &Error) -> Delivery {
    if let Some(kind) = error.transport_kind() {
        return if kind == TransportErrorKind::NotSent { Delivery::NotExecuted } else { Delivery::Ambiguous };
    }
    let Some(status) = error.status() else {
        return Delivery::NotExecuted;
    };
    match status {
        503 if error.retry_after().is_some() => Delivery::NotExecuted,
        408 | 500..=599 => Delivery::Ambiguous,
        200..=299 => Delivery::Ambiguous,
        _ => Delivery::NotExecuted,
    }
}

/// Whether the request may be sent again, as far as the failure is concerned.
///
/// `x-should-retry: false` is obeyed always, `true` only for reads: a server cannot know what a
/// second answer does to our user.
pub(crate) fn may_repeat(error: &Error, safety: Safety) -> bool {
    if error.should_retry() == Some(false) {
        return false;
    }
    let passing = passing(error);
    match safety {
        Safety::Idempotent => passing || error.should_retry() == Some(true),
        Safety::Create => passing && error.delivery() == Delivery::NotExecuted,
        Safety::CreateAtLeastOnce => passing,
    }
}

fn passing(error: &Error) -> bool {
    use TransportErrorKind::{Interrupted, NotSent, Timeout};
    if let Some(kind) = error.transport_kind() {
        return matches!(kind, NotSent | Timeout | Interrupted);
    }
    match error.kind() {
        ErrorKind::ConversationLocked | ErrorKind::SessionNotReady => true,
        _ => matches!(error.status(), Some(408 | 429 | 500 | 502..=599)),
    }
}

/// The shortest wait that makes sense: locks are held for seconds, sandboxes start slowly.
pub(crate) fn least_wait(kind: ErrorKind) -> Duration {
    match kind {
        ErrorKind::ConversationLocked => Duration::from_secs(2),
        ErrorKind::SessionNotReady => Duration::from_secs(5),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::classify::{Operation, broken, refusal};
    use crate::client::error::RequestIds;
    use http::HeaderMap;

    fn status(status: u16, header: Option<(&'static str, &'static str)>, body: &'static str) -> Error {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        let ids = RequestIds::default();
        refusal(Operation::CreateResponse, status, &headers, body.into(), ids, time::OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn what_is_repeated_for_reads_and_for_creates() {
        let locked = r#"{"error":{"code":"conversation_locked"}}"#;
        let not_ready = r#"{"error":{"code":"session_not_ready"}}"#;
        let after = Some(("retry-after", "1"));
        let (no, yes) = (Some(("x-should-retry", "false")), Some(("x-should-retry", "true")));
        // status, header, body, read repeated, create repeated, ambiguous
        let cases = [
            (400, None, "", false, false, false),
            (400, None, locked, true, true, false),
            (409, None, locked, true, true, false),
            (409, None, "", false, false, false),
            (401, None, "", false, false, false),
            (404, None, "", false, false, false),
            (408, None, "", true, false, true),
            (424, None, not_ready, true, true, false),
            (424, None, "", false, false, false),
            (429, None, "", true, true, false),
            (429, no, "", false, false, false),
            (500, None, "", true, false, true),
            (501, None, "", false, false, true),
            (502, None, "", true, false, true),
            (503, None, "", true, false, true),
            (503, after, "", true, true, false),
            (503, Some(("retry-after-ms", "5")), "", true, true, false),
            (503, no, "", false, false, true),
            (504, None, "", true, false, true),
            (400, yes, "", true, false, false),
        ];
        for (code, header, body, read, create, ambiguous) in cases {
            let error = status(code, header, body);
            assert_eq!(may_repeat(&error, Safety::Idempotent), read, "read {code} {header:?} {body}");
            assert_eq!(may_repeat(&error, Safety::Create), create, "create {code} {header:?} {body}");
            assert_eq!(error.delivery() == Delivery::Ambiguous, ambiguous, "{code} {header:?} {body}");
        }
        assert!(may_repeat(&status(502, None, ""), Safety::CreateAtLeastOnce));
    }

    #[test]
    fn a_create_is_repeated_only_when_nothing_was_sent() {
        use TransportErrorKind::{Interrupted, NotSent, Other, Timeout, TooLarge};
        for (kind, read, create) in [
            (NotSent, true, true),
            (Timeout, true, false),
            (Interrupted, true, false),
            (TooLarge, false, false),
            (Other, false, false),
        ] {
            let error = broken(kind.into(), RequestIds::default());
            assert_eq!(may_repeat(&error, Safety::Idempotent), read, "{kind:?}");
            assert_eq!(may_repeat(&error, Safety::Create), create, "{kind:?}");
        }
    }
}
