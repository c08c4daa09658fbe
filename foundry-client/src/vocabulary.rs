//! Words of the protocol: string newtypes with constants, so that a new word is data and not an error.

/// Makes a string newtype: constants for the known words, any other word kept as it is.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$word_meta:meta])* $word:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            $($(#[$word_meta])* pub const $word: Self = Self(std::borrow::Cow::Borrowed($value));)*

            /// All words this version has a constant for.
            pub const KNOWN: &'static [Self] = &[$(Self::$word),*];

            const WORDS: &'static [&'static str] = &[$($value),*];

            /// The word as it is written on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether this version has a constant for the word.
            #[must_use]
            pub fn is_known(&self) -> bool {
                $crate::vocabulary::known(Self::WORDS, &self.0).is_some()
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                Self($crate::vocabulary::known(Self::WORDS, word).map_or_else(|| word.to_owned().into(), Into::into))
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                Self::from(word.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $crate::object::Read<'_> for $name {
            fn read(json: &serde_json::value::RawValue) -> Result<Self, serde_json::Error> {
                $crate::object::word(json).map(|word| Self::from(&*word))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E>(self, word: &str) -> Result<$name, E> {
                        Ok($name::from(word))
                    }
                }
                deserializer.deserialize_str(Word)
            }
        }
    };
}
pub(crate) use vocabulary;

/// The word, when it is one of these.
pub(crate) fn known(words: &'static [&'static str], word: &str) -> Option<&'static str> {
    words.iter().copied().find(|known| *known == word)
}

vocabulary! {
    /// Who speaks in a message.
    Role {
        /// The person.
        USER = "user",
        /// The agent.
        ASSISTANT = "assistant",
        /// Instructions with the older name.
        SYSTEM = "system",
        /// Instructions of the application.
        DEVELOPER = "developer",
    }
}

vocabulary! {
    /// How far an item is.
    ItemStatus {
        /// Being written.
        IN_PROGRESS = "in_progress",
        /// Complete.
        COMPLETED = "completed",
        /// Cut off.
        INCOMPLETE = "incomplete",
        /// Failed.
        FAILED = "failed",
        /// Cancelled.
        CANCELLED = "cancelled",
        /// A tool is searching.
        SEARCHING = "searching",
        /// A tool is interpreting code.
        INTERPRETING = "interpreting",
        /// A tool is generating.
        GENERATING = "generating",
    }
}

vocabulary! {
    /// How far a response is.
    ResponseStatus {
        /// Accepted, not started (background only).
        QUEUED = "queued",
        /// Running.
        IN_PROGRESS = "in_progress",
        /// Finished with an answer.
        COMPLETED = "completed",
        /// Failed; see the response's error.
        FAILED = "failed",
        /// Cancelled by a caller.
        CANCELLED = "cancelled",
        /// Stopped early; see the reason.
        INCOMPLETE = "incomplete",
    }
}

impl ResponseStatus {
    /// Whether the response will still change.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        *self == Self::QUEUED || *self == Self::IN_PROGRESS
    }
}

vocabulary! {
    /// Why a response is incomplete.
    IncompleteReason {
        /// The token limit was reached.
        MAX_OUTPUT_TOKENS = "max_output_tokens",
        /// A content filter stopped it.
        CONTENT_FILTER = "content_filter",
    }
}

vocabulary! {
    /// What a message of the agent is for.
    Phase {
        /// Thinking aloud on the way; a bot may hide it.
        COMMENTARY = "commentary",
        /// The answer.
        FINAL_ANSWER = "final_answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_survive_a_round_trip() {
        for word in ["completed", "some_new_word", ""] {
            let status: ItemStatus = serde_json::from_value(word.into()).unwrap();
            assert_eq!(status, word);
            assert_eq!(serde_json::to_value(&status).unwrap(), word);
        }
        assert!(ItemStatus::from("completed").is_known());
        assert!(!ItemStatus::from("some_new_word").is_known());
        assert_eq!(ItemStatus::from("completed"), ItemStatus::COMPLETED);
    }

    #[test]
    fn a_word_must_be_a_string() {
        assert!(serde_json::from_str::<Role>("1").is_err());
    }
}
