//! PKCS#12 archives and encrypted keys (feature `pfx`).

use p12_keystore::{Pkcs12Archive, error::Error as Pkcs12Error};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls_pki_types::pem;
use zeroize::Zeroizing;

use super::{Certificate, is_encrypted, pem as sections};
use crate::{BuildError, Secret};

const WRONG_PASSWORD: &str = "the password does not open the private key; check that it belongs to this very file";

#[cfg_attr(docsrs, doc(cfg(feature = "pfx")))]
impl Certificate {
    /// Reads a PKCS#12 archive (`.pfx`, `.p12`) with its password; an empty one for archives without.
    ///
    /// # Errors
    ///
    /// When the password is wrong, the archive is damaged or encrypted in a way that is not supported, it holds no
    /// key or no certificate for it, or the key is no RSA key of 2048 to 8192 bits. The message says which.
    pub fn from_pkcs12(archive: &[u8], password: &Secret) -> Result<Self, BuildError> {
        let archive = Pkcs12Archive::from_pkcs12(archive, password.expose()).map_err(|error| refused(&error))?;
        let keys: Vec<_> =
            archive.keys.iter().map(|bag| sections::pkcs8_key(bag.key.as_der())).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(BuildError::new(
                "the PKCS#12 archive holds no private key; export it again with the private key included",
            ));
        }
        Self::assemble(keys, archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect())
    }

    /// Reads PEM text like [`Certificate::from_pem`], with a private key encrypted in the form of PKCS#8 (section
    /// `ENCRYPTED PRIVATE KEY`, PBES2). The password is not used when the key is plain.
    ///
    /// # Errors
    ///
    /// As [`Certificate::from_pem`], and when the password is wrong or the key is encrypted in an old form.
    pub fn from_encrypted_pem(text: &[u8], password: &Secret) -> Result<Self, BuildError> {
        if !is_encrypted(text) {
            return Self::from_pem(text);
        }
        // OpenSSL's own form, with headers inside the section.
        if text.windows(10).any(|window| window == b"Proc-Type:") {
            return Err(old_form());
        }
        let mut parts = sections::read(text)?;
        for der in encrypted_sections(text)? {
            let key = EncryptedPrivateKeyInfoRef::try_from(&der[..])
                .map_err(|_| BuildError::new("the encrypted private key is damaged; export it again"))?
                .decrypt(password.expose())
                .map_err(|error| undecryptable(&error))?;
            parts.keys.push(sections::pkcs8_key(key.as_bytes())?);
        }
        Self::assemble(parts.keys, parts.certificates)
    }
}

/// The DER of each section `ENCRYPTED PRIVATE KEY`.
fn encrypted_sections(text: &[u8]) -> Result<Vec<Zeroizing<Vec<u8>>>, BuildError> {
    let damaged = || BuildError::new("the encrypted private key is no valid PEM; export it again");
    let mut found = Vec::new();
    let mut rest = std::str::from_utf8(text).map_err(|_| damaged())?;
    while let Some((_, after)) = rest.split_once("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let (body, after) = after.split_once("-----END ENCRYPTED PRIVATE KEY-----").ok_or_else(damaged)?;
        // The section under a name that the parser of PEM knows.
        let named = Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----{body}-----END PRIVATE KEY-----\n"));
        let section = pem::from_buf(&mut named.as_bytes()).ok().flatten();
        found.push(Zeroizing::new(section.ok_or_else(damaged)?.1));
        rest = after;
    }
    Ok(found)
}

fn undecryptable(error: &pkcs8::Error) -> BuildError {
    use pkcs8::pkcs5::Error as Pkcs5;
    match error {
        pkcs8::Error::EncryptedPrivateKey(Pkcs5::UnsupportedAlgorithm { .. } | Pkcs5::NoPbes1CryptSupport) => {
            old_form()
        }
        // Padding or the form of what came out: both are what a wrong password leads to.
        _ => BuildError::new(WRONG_PASSWORD),
    }
}

fn old_form() -> BuildError {
    BuildError::new(
        "the private key is encrypted in an old form; write it again with: \
         openssl pkcs8 -topk8 -v2 aes-256-cbc -in key.pem -out new.pem",
    )
}

/// What went wrong with an archive. The error of the library says no more and is not passed on.
fn refused(error: &Pkcs12Error) -> BuildError {
    BuildError::new(match error {
        Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_) => {
            "the password does not open the PKCS#12 archive; check that it belongs to this very file"
        }
        Pkcs12Error::UnsupportedEncryptionScheme
        | Pkcs12Error::UnsupportedMacAlgorithm
        | Pkcs12Error::UnsupportedContentType => {
            "the PKCS#12 archive is encrypted in a way that is not supported; export it again with AES-256 and SHA-256"
        }
        _ => "the file is no PKCS#12 archive, or it is damaged; export it again",
    })
}
