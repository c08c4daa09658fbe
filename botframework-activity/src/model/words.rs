//! Vocabularies from the wire: open sets of strings with constants for the known ones.

use std::borrow::Cow;

/// Declares a string newtype with constants. An unknown value is kept as it was written.
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$const_meta:meta])* $constant:ident = $text:literal, )*
        }
    ) => {
        $(#[$meta])*
        ///
        /// An open set: any other text is kept as it was written. Comparison is exact.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            $(
                #[doc = concat!("`", $text, "`")]
                $(#[$const_meta])*
                pub const $constant: Self = Self::from_static($text);
            )*

            /// A value of one's own, usable in constants.
            #[must_use]
            #[inline]
            pub const fn from_static(text: &'static str) -> Self {
                Self(std::borrow::Cow::Borrowed(text))
            }

            /// The text as it was written.
            #[must_use]
            #[inline]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether this crate has a constant for it.
            #[must_use]
            #[inline]
            pub fn is_known(&self) -> bool {
                Self::KNOWN.contains(&self.as_str())
            }

            pub(crate) const KNOWN: &'static [&'static str] = &[$($text),*];
        }

        const _: () = {
            use std::borrow::Cow;
            use std::fmt;

            use $crate::model::json::{Datum, Source, Stop};
            use $crate::model::object::{Found, Member, Value, serde_value};
            use $crate::model::words::{known, word};

            impl From<&str> for $name {
                #[inline]
                fn from(text: &str) -> Self {
                    Self(word(text, Self::KNOWN))
                }
            }

            impl From<String> for $name {
                #[inline]
                fn from(text: String) -> Self {
                    Self(known(&text, Self::KNOWN).map_or(Cow::Owned(text), Cow::Borrowed))
                }
            }

            impl AsRef<str> for $name {
                #[inline]
                fn as_ref(&self) -> &str {
                    self.as_str()
                }
            }

            impl PartialEq<str> for $name {
                #[inline]
                fn eq(&self, other: &str) -> bool {
                    self.as_str() == other
                }
            }

            impl PartialEq<&str> for $name {
                #[inline]
                fn eq(&self, other: &&str) -> bool {
                    self.as_str() == *other
                }
            }

            impl fmt::Display for $name {
                #[inline]
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(self.as_str())
                }
            }

            /// A known value in quotes; of any other, which anybody may have written, the size.
            impl fmt::Debug for $name {
                #[inline]
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    Value::datum(self).fmt(f)
                }
            }

            impl Value for $name {
                #[inline]
                fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
                    Ok(from.word(Self::KNOWN)?.map(Self))
                }

                #[inline]
                fn datum(&self) -> Datum<'_> {
                    Datum::Word(self.as_str(), Self::KNOWN)
                }
            }

            serde_value!($name);

            impl Member for $name {
                const REQUIRED: bool = true;

                #[inline]
                fn read(&mut self, from: &mut dyn Source) -> Result<Found, Stop> {
                    *self = Self::read_item(from)?;
                    Ok(Found::Value)
                }

                #[inline]
                fn datum(&self) -> Datum<'_> {
                    Value::datum(self)
                }
            }
        };
    };
}

pub(crate) use vocabulary;

/// The known word that the text is.
pub(crate) fn known(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| *word == text)
}

/// The text, without a copy of it when it is a known one.
pub(crate) fn word(text: &str, words: &[&'static str]) -> Cow<'static, str> {
    known(text, words).map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed)
}
