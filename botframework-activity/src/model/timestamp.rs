use std::fmt;

#[cfg(feature = "time")]
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::well_known::Rfc3339};

#[cfg(feature = "time")]
use super::error::{ModelError, ModelErrorKind};
use super::json::{Datum, Source, Stop};
use super::object::{Value, serde_value};

/// A date-time as it was written, parsed on demand.
///
/// Channels send RFC 3339 with up to seven or more fractional digits, with `Z`, with an offset, or with
/// no zone at all. The text is kept, so that writing it back changes nothing.
///
/// ```
/// use botframework_activity::Timestamp;
///
/// let sent = Timestamp::from("2026-05-04T10:11:12.1234567+02:00");
/// # #[cfg(feature = "time")]
/// assert_eq!(sent.parse()?.offset().whole_hours(), 2);
/// assert_eq!(sent.as_str(), "2026-05-04T10:11:12.1234567+02:00");
/// # Ok::<(), botframework_activity::ModelError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Timestamp(String);

impl Timestamp {
    /// The text as it was written.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instant, with the offset that was written. A text without a zone counts as UTC. Digits
    /// beyond nanoseconds are cut.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when the text is no date-time.
    #[cfg(feature = "time")]
    #[cfg_attr(docsrs, doc(cfg(feature = "time")))]
    #[inline]
    pub fn parse(&self) -> Result<OffsetDateTime, ModelError> {
        OffsetDateTime::parse(&self.0, &Rfc3339)
            .or_else(|_| {
                let zoned = format!("{}Z", self.0);
                OffsetDateTime::parse(&zoned, &Rfc3339)
            })
            .map_err(|_| ModelError::of_kind(ModelErrorKind::Shape))
    }
}

impl From<&str> for Timestamp {
    #[inline]
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Timestamp {
    #[inline]
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// RFC 3339. Years outside 0–9999 and offsets with seconds cannot be written in it: the instant is then
/// written in UTC, or as the nearest representable one.
#[cfg(feature = "time")]
#[cfg_attr(docsrs, doc(cfg(feature = "time")))]
impl From<OffsetDateTime> for Timestamp {
    #[inline]
    fn from(instant: OffsetDateTime) -> Self {
        let text =
            instant.format(&Rfc3339).or_else(|_| instant.to_offset(UtcOffset::UTC).format(&Rfc3339)).or_else(|_| {
                let edge = if instant.year() < 0 { PrimitiveDateTime::MIN } else { PrimitiveDateTime::MAX };
                edge.assume_utc().format(&Rfc3339)
            });
        Self(text.unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Timestamp {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_like_a_date(&self.0) { f.write_str(&self.0) } else { write!(f, "<{} bytes>", self.0.len()) }
    }
}

/// Whether it has the shape of a date-time, and thus is nothing that somebody wrote.
#[inline]
fn is_like_a_date(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let Some((start, rest)) = text.as_bytes().split_at_checked(SHAPE.len()) else {
        return false;
    };
    let has_shape = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    start.iter().zip(SHAPE).all(has_shape)
        && matches!(rest, [] | [b'.' | b'+' | b'-' | b'Z', ..])
        && rest.len() <= ".123456789+00:00".len()
        && rest.iter().all(|byte| byte.is_ascii_digit() || b".:+-Z".contains(byte))
}

impl Value for Timestamp {
    #[inline]
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        Ok(from.string()?.map(Self))
    }

    #[inline]
    fn datum(&self) -> Datum<'_> {
        Datum::Time(self)
    }
}

serde_value!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "time")]
    fn every_form_channels_send_is_read() {
        let nanos = |text: &str| Timestamp::from(text).parse().unwrap().unix_timestamp_nanos();
        assert_eq!(nanos("2016-10-19T20:17:52.2891902Z"), 1_476_908_272_289_190_200);
        assert_eq!(nanos("2016-10-19T22:17:52.2891902+02:00"), 1_476_908_272_289_190_200);
        assert_eq!(nanos("2016-10-19T20:17:52.2891902"), 1_476_908_272_289_190_200);
        assert_eq!(nanos("2016-10-19T20:17:52Z"), 1_476_908_272_000_000_000);
    }

    #[test]
    fn text_that_is_no_date_is_kept_and_reported() {
        let odd = Timestamp::from("yesterday");
        assert_eq!(odd.as_str(), "yesterday");
        #[cfg(feature = "time")]
        assert_eq!(odd.parse().unwrap_err().kind(), ModelErrorKind::Shape);
    }

    #[test]
    fn debug_shows_dates_and_nothing_else() {
        for date in ["2016-10-19T20:17:52.2891902Z", "2016-10-19T22:17:52+02:00", "2016-10-19T20:17:52"] {
            assert_eq!(format!("{:?}", Timestamp::from(date)), date);
        }
        for odd in [
            "",
            "yesterday",
            "2016-10-19",
            "20161019T201752Z",
            "2016-10-19T20:17:5x",
            "2016-10-19T20:17:52, call me",
            "2016-10-19T20:17:524111111111111111",
            "2016-10-19T20:17:52.4111111111111111111",
            "+49 160 1234567890123",
            "2016-10-19T20:17:\u{e9}",
        ] {
            assert_eq!(format!("{:?}", Timestamp::from(odd)), format!("<{} bytes>", odd.len()));
        }
    }

    #[test]
    #[cfg(feature = "time")]
    fn an_instant_is_written_as_rfc_3339() {
        let instant = OffsetDateTime::from_unix_timestamp(1_476_908_272).unwrap();
        assert_eq!(Timestamp::from(instant).as_str(), "2016-10-19T20:17:52Z");
    }
}
