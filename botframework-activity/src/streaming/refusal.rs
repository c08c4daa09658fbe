/// Why Teams ends or refuses a stream. All come as 403 `ContentStreamNotAllowed`; only the words tell them apart:
/// [error codes](https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux#error-codes).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamRefusal {
    /// Two minutes are over. The message can be updated from now on.
    TimeExceeded,
    /// The user pressed Stop: say nothing more.
    StoppedByUser,
    /// This user or bot cannot stream: send one plain message.
    NotAllowed,
    /// The stream has its final message already.
    AlreadyCompleted,
    /// The text is too long: finish with what fits.
    TooLarge,
    /// The text does not hold what was shown before.
    NotContained,
    /// Words that are not known.
    Other,
}

/// The official words. The longest come first, so that one does not hide inside another.
const WORDS: [(&str, StreamRefusal); 6] = [
    ("request streamed content should contain the previously streamed content", StreamRefusal::NotContained),
    ("content stream is not allowed on an already completed streamed message", StreamRefusal::AlreadyCompleted),
    ("content stream finished due to exceeded streaming time", StreamRefusal::TimeExceeded),
    ("content stream was canceled by user", StreamRefusal::StoppedByUser),
    ("content stream is not allowed", StreamRefusal::NotAllowed),
    ("message size too large", StreamRefusal::TooLarge),
];

impl StreamRefusal {
    /// Reads the message of an error body with the code `ContentStreamNotAllowed`: the whole message first, then what
    /// it contains.
    #[must_use]
    #[inline]
    pub fn of_message(message: &str) -> Self {
        let message = message.trim().trim_end_matches('.').to_ascii_lowercase();
        let exact = WORDS.iter().find(|(words, _)| message == *words);
        let found = exact.or_else(|| WORDS.iter().find(|(words, _)| message.contains(words)));
        found.map_or(Self::Other, |(_, refusal)| *refusal)
    }

    /// A stable name for logs and metrics.
    #[must_use]
    #[inline]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimeExceeded => "time-exceeded",
            Self::StoppedByUser => "stopped-by-user",
            Self::NotAllowed => "not-allowed",
            Self::AlreadyCompleted => "already-completed",
            Self::TooLarge => "too-large",
            Self::NotContained => "not-contained",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_cases_are_told_apart_by_their_words() {
        for (message, refusal) in [
            ("Content stream finished due to exceeded streaming time.", StreamRefusal::TimeExceeded),
            ("Content stream was canceled by user.", StreamRefusal::StoppedByUser),
            ("Content stream is not allowed", StreamRefusal::NotAllowed),
            ("Content stream is not allowed on an already completed streamed message", StreamRefusal::AlreadyCompleted),
            ("Message size too large", StreamRefusal::TooLarge),
            ("Request streamed content should contain the previously streamed content", StreamRefusal::NotContained),
            ("content stream is not allowed.", StreamRefusal::NotAllowed),
            ("Error: Content stream was canceled by user. (1)", StreamRefusal::StoppedByUser),
            (
                "x Content stream is not allowed on an already completed streamed message x",
                StreamRefusal::AlreadyCompleted,
            ),
            ("Something new", StreamRefusal::Other),
            ("", StreamRefusal::Other),
        ] {
            assert_eq!(StreamRefusal::of_message(message), refusal, "{message}");
        }
    }
}
