//! Proof Key for Code Exchange, S256 only (<https://www.rfc-editor.org/rfc/rfc7636>).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Error, ErrorKind, Secret};

/// 256 unpredictable bits as 43 characters of base64url: a verifier, a state, a nonce.
#[inline]
pub(super) fn random_text() -> Result<Secret, Error> {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(&mut *bytes)
        .map_err(|_| Error::new(ErrorKind::Configuration, "the system gives no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes).into())
}

/// The `code_challenge` of a verifier.
#[cfg(feature = "validate")]
#[inline]
pub(super) fn challenge_of(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(super::sha256(verifier.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// RFC 7636, appendix B.
    #[cfg(feature = "validate")]
    #[test]
    fn pkce_vectors() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into();
        assert_eq!(challenge_of(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        // The octets of the same appendix.
        let octets = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214, 191,
            240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        assert_eq!(URL_SAFE_NO_PAD.encode(octets), verifier.expose());
    }

    #[test]
    fn values_have_256_bits_in_the_alphabet_of_verifiers() {
        let texts: HashSet<String> = (0..1000).map(|_| random_text().unwrap().expose().to_owned()).collect();
        assert_eq!(texts.len(), 1000);
        for text in texts {
            assert_eq!(text.len(), 43);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        }
    }
}
