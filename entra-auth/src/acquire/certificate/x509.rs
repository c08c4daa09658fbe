//! The two things of a certificate that are needed here: when it ends and which public key it holds.
//!
//! Nothing is trusted because of what is read: Entra judges the certificate. So this is a walk along the fixed order
//! of members (RFC 5280, section 4.1), not a validator.

use time::{Date, Month, OffsetDateTime, Time};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
/// rsaEncryption, 1.2.840.113549.1.1.1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// What a certificate says about its holder's key.
pub(super) struct Facts<'a> {
    pub(super) not_after: OffsetDateTime,
    /// The DER of an `RSAPublicKey`; `None` for other kinds of keys.
    pub(super) rsa_key: Option<&'a [u8]>,
}

/// Reads a DER certificate; `None` when it is none.
#[inline]
pub(super) fn read(certificate: &[u8]) -> Option<Facts<'_>> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, after)) = expect(rest, VERSION) {
        rest = after;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // Serial number, signature algorithm, issuer.
        rest = expect(rest, tag)?.1;
    }
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (_, _, after) = element(validity)?;
    let (tag, text, _) = element(after)?;
    let not_after = instant(tag, text)?;
    let (_, rest) = expect(rest, SEQUENCE)?; // subject
    let (key, _) = expect(rest, SEQUENCE)?;
    let (algorithm, key) = expect(key, SEQUENCE)?;
    let (bits, _) = expect(key, BIT_STRING)?;
    let is_rsa = expect(algorithm, OBJECT_ID)?.0 == RSA;
    let rsa_key = bits.split_first().filter(|(unused, _)| is_rsa && **unused == 0).map(|(_, key)| key);
    Some(Facts { not_after, rsa_key })
}

/// Contents of the first element if it has that tag, and what follows it.
#[inline]
fn expect(input: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, contents, rest) = element(input)?;
    (tag == expected).then_some((contents, rest))
}

/// Tag and contents of the first element, and what follows it.
#[inline]
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 3 {
            return None;
        }
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
#[inline]
fn instant(tag: u8, text: &[u8]) -> Option<OffsetDateTime> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = number(digits, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => number(digits, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    if !rest.is_empty() {
        return None;
    }
    let small = |number: u16| u8::try_from(number).ok();
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    Some(date.with_time(time).assume_utc())
}

#[inline]
fn number(digits: &[u8], length: usize) -> Option<(u16, &[u8])> {
    let (digits, rest) = digits.split_at_checked(length)?;
    let value = digits
        .iter()
        .try_fold(0_u16, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u16::from(digit - b'0')))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_end_and_key_and_survives_every_cut_and_flip() {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["bot".to_owned()]).unwrap();
        for (year, unix) in [(2030, 1_893_456_000), (2060, 2_840_140_800_i64)] {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&key).unwrap();
            let facts = read(certificate.der()).unwrap();
            assert_eq!(facts.not_after.unix_timestamp(), unix);
            assert_eq!(facts.rsa_key.unwrap(), rcgen::PublicKeyData::der_bytes(&key));
            let der = certificate.der().to_vec();
            for end in 0..der.len() {
                assert!(read(&der[..end]).is_none(), "cut at {end}");
                let mut flipped = der.clone();
                flipped[end] ^= 0xff;
                let _ = read(&flipped);
            }
        }
        let elliptic = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&elliptic).unwrap();
        assert!(read(certificate.der()).unwrap().rsa_key.is_none());
    }
}
