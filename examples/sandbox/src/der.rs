//! The little DER the sandbox reads: RSA public keys, and key and validity of a certificate.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const EXPLICIT_0: u8 = 0xa0;

/// What the sandbox needs from a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: Vec<u8>,
    /// Unix seconds.
    pub(crate) not_before: i64,
    /// Unix seconds.
    pub(crate) not_after: i64,
}

/// Modulus and exponent of a PKCS#1 `RSAPublicKey`, without sign bytes.
pub(crate) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, _) = expect(der, SEQUENCE)?;
    let (modulus, rest) = expect(body, INTEGER)?;
    let (exponent, _) = expect(rest, INTEGER)?;
    Some((unsigned(modulus), unsigned(exponent)))
}

/// Key and validity of an X.509 certificate.
pub(crate) fn certificate(der: &[u8]) -> Option<CertificateFacts> {
    let (outer, _) = expect(der, SEQUENCE)?;
    let (tbs, _) = expect(outer, SEQUENCE)?;
    let (tag, _, _, after_version) = element(tbs)?;
    let rest = if tag == EXPLICIT_0 { after_version } else { tbs };
    let (_, rest) = expect(rest, INTEGER)?; // serial number
    let (_, rest) = expect(rest, SEQUENCE)?; // signature algorithm
    let (_, rest) = expect(rest, SEQUENCE)?; // issuer
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?; // subject
    let (tag, _, whole, _) = element(rest)?;
    if tag != SEQUENCE {
        return None;
    }
    let (kind, first, _, after) = element(validity)?;
    let not_before = instant(kind, first)?;
    let (kind, second, _, _) = element(after)?;
    let not_after = instant(kind, second)?;
    Some(CertificateFacts { public_key: whole.to_vec(), not_before, not_after })
}

/// What of a certificate is signed, and the signature.
pub(crate) fn signed(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const BIT_STRING: u8 = 0x03;
    let (outer, _) = expect(der, SEQUENCE)?;
    let (tag, _, signed, rest) = element(outer)?;
    let (_, rest) = expect(rest, SEQUENCE)?; // signature algorithm
    let (bits, _) = expect(rest, BIT_STRING)?;
    // No bit is unused.
    (tag == SEQUENCE).then_some((signed, bits.strip_prefix(&[0])?))
}

/// Tag, content, the element itself, what follows.
type Element<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

/// Reads one element.
fn element(der: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        if length == 0 || length > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(length)?;
        length = digits.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    let whole = der.get(..der.len().checked_sub(after.len())?)?;
    Some((tag, content, whole, after))
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, _, after) = element(der)?;
    (tag == wanted).then_some((content, after))
}

fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// `UTCTime` or `GeneralizedTime` in the Z form certificates must use.
fn instant(tag: u8, content: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        0x17 => {
            let short: i32 = text.get(..2)?.parse().ok()?;
            (if short < 50 { 2000 + short } else { 1900 + short }, text.get(2..)?)
        }
        0x18 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |index: usize| rest.get(index..index + 2)?.parse::<u8>().ok();
    let date = time::Date::from_calendar_date(year, time::Month::try_from(part(0)?).ok()?, part(2)?).ok()?;
    let at = date.with_hms(part(4)?, part(6)?, part(8)?).ok()?;
    Some(at.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_generated_certificate() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2061, 1, 1);
        let der = params.self_signed(&pair).unwrap().der().to_vec();
        let facts = certificate(&der).unwrap();
        assert_eq!((facts.not_before, facts.not_after), (1_709_164_800, 2_871_763_200));
        assert_eq!(facts.public_key, rcgen::PublicKeyData::subject_public_key_info(&pair));
        let (signed, signature) = signed(&der).unwrap();
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
            &facts.public_key,
        );
        assert!(key.verify(signed, signature).is_ok() && key.verify(&signed[1..], signature).is_err());
    }

    #[test]
    fn truncated_input_is_no_certificate() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let der = rcgen::CertificateParams::default().self_signed(&pair).unwrap().der().to_vec();
        for end in 0..der.len() {
            assert!(certificate(&der[..end]).is_none() && signed(&der[..end]).is_none());
        }
    }
}
