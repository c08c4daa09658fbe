use std::fmt;

use super::json::{Datum, Source, Stop};
use super::object::{Value, serde_value};
use super::raw::RawJson;

macro_rules! scalar {
    ($(#[$meta:meta])* $name:ident, $expected:literal, |$first:ident| $accepts:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(RawJson);

        impl $name {
            /// The JSON text, as it was written.
            #[must_use]
            #[inline]
            pub fn get(&self) -> &str {
                self.0.get()
            }

            /// The value as a whole number, when it is one that fits.
            #[must_use]
            #[inline]
            pub fn as_i64(&self) -> Option<i64> {
                self.0.parse().ok()
            }

            /// The value as a floating-point number, rounded where it has more digits.
            #[must_use]
            #[inline]
            pub fn as_f64(&self) -> Option<f64> {
                self.0.parse().ok()
            }
        }

        impl From<i64> for $name {
            #[inline]
            fn from(value: i64) -> Self {
                Self(RawJson::from(serde_json::Value::from(value)))
            }
        }

        impl From<i32> for $name {
            #[inline]
            fn from(value: i32) -> Self {
                Self::from(i64::from(value))
            }
        }

        impl From<u32> for $name {
            #[inline]
            fn from(value: u32) -> Self {
                Self::from(i64::from(value))
            }
        }

        /// What JSON cannot write, NaN and the infinities, becomes 0.
        impl From<f64> for $name {
            #[inline]
            fn from(value: f64) -> Self {
                let number = serde_json::Number::from_f64(value).unwrap_or_else(|| 0.into());
                Self(RawJson::from(serde_json::Value::from(number)))
            }
        }

        impl $name {
            #[inline]
            fn of(raw: RawJson) -> Result<Self, Stop> {
                let $first = raw.get().bytes().next().unwrap_or_default();
                if $accepts { Ok(Self(raw)) } else { Err(Stop::Shape(concat!("expected ", $expected))) }
            }
        }

        impl Value for $name {
            #[inline]
            fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
                from.raw()?.map(Self::of).transpose()
            }

            #[inline]
            fn datum(&self) -> Datum<'_> {
                Datum::Scalar(&self.0)
            }
        }

        serde_value!($name);

        impl fmt::Debug for $name {
            #[inline]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.datum().fmt(f)
            }
        }
    };
}

scalar! {
    /// A JSON number in its own spelling: `1.50` stays `1.50`, and no digit of a long one is lost.
    ///
    /// ```
    /// use botframework_activity::Number;
    ///
    /// let latitude: Number = serde_json::from_str("47.620500")?;
    /// assert_eq!((latitude.as_f64(), latitude.get()), (Some(47.6205), "47.620500"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    Number, "a number", |first| first == b'-' || first.is_ascii_digit()
}

scalar! {
    /// A JSON string, number or truth value in its own spelling, for members that can be any of them: a width of
    /// `"auto"` or `2`, for one.
    ///
    /// ```
    /// use botframework_activity::Scalar;
    ///
    /// assert_eq!(Scalar::from("auto").as_str().as_deref(), Some("auto"));
    /// assert_eq!(Scalar::from(2).as_i64(), Some(2));
    /// ```
    Scalar, "a string, a number or a truth value", |first| !matches!(first, b'{' | b'[' | b'n')
}

impl Scalar {
    /// The text, when it is a string.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.0.parse::<String>().ok().map(Into::into)
    }

    /// The truth value, when it is one.
    #[must_use]
    #[inline]
    pub fn as_bool(&self) -> Option<bool> {
        self.0.parse().ok()
    }
}

impl From<&str> for Scalar {
    #[inline]
    fn from(text: &str) -> Self {
        Self(RawJson::from(serde_json::Value::from(text)))
    }
}

impl From<String> for Scalar {
    #[inline]
    fn from(text: String) -> Self {
        Self(RawJson::from(serde_json::Value::from(text)))
    }
}

impl From<bool> for Scalar {
    #[inline]
    fn from(value: bool) -> Self {
        Self(RawJson::from(serde_json::Value::from(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_kept_and_other_shapes_are_refused() {
        for text in ["0", "-0", "1.50", "1E400", "12345678901234567890123"] {
            assert_eq!(serde_json::to_string(&serde_json::from_str::<Number>(text).unwrap()).unwrap(), text);
            assert_eq!(serde_json::to_string(&serde_json::from_str::<Scalar>(text).unwrap()).unwrap(), text);
        }
        for text in ["\"1\"", "true", "{}", "[]"] {
            assert!(serde_json::from_str::<Number>(text).is_err(), "{text}");
        }
        for text in ["\"\\u0061\"", "true", "false"] {
            assert_eq!(serde_json::to_string(&serde_json::from_str::<Scalar>(text).unwrap()).unwrap(), text);
        }
        assert!(serde_json::from_str::<Scalar>("{}").is_err());
        assert!(serde_json::from_str::<Scalar>("[1]").is_err());
    }

    #[test]
    fn what_is_made_is_json() {
        assert_eq!((Number::from(1.5).get(), Number::from(f64::NAN).get()), ("1.5", "0"));
        assert_eq!((Scalar::from("a\"b").get(), Scalar::from(true).as_bool()), (r#""a\"b""#, Some(true)));
        assert!(!format!("{:?}", Scalar::from("secret")).contains("secret"));
    }
}
