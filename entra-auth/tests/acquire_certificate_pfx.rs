//! PKCS#12 archives and encrypted keys, made by OpenSSL.

#![cfg(feature = "pfx")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use entra_auth::{Certificate, CertificateFile, Secret};

/// By `openssl x509 -in certificate.pem -outform der | openssl dgst -sha256 -binary | basenc --base64url`.
const THUMBPRINT: &str = "W516to4WdBkaOU9uQORNWvLUtNA1S7_CmBKc0qxvvOg";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificates/");

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FOLDER}{name}")).unwrap()
}

#[test]
fn archives_and_encrypted_keys_open_with_their_password() {
    let right = Secret::new("correct");
    for name in ["modern.pfx", "legacy.pfx"] {
        let certificate = Certificate::from_pkcs12(&fixture(name), &right).unwrap();
        assert_eq!(certificate.thumbprint(), THUMBPRINT, "{name}");
    }
    let certificate = Certificate::from_encrypted_pem(&fixture("encrypted.pem"), &right).unwrap();
    assert_eq!(certificate.thumbprint(), THUMBPRINT);
    for name in ["modern.pfx", "legacy.pfx", "encrypted.pem"] {
        let file = CertificateFile::open_protected(format!("{FOLDER}{name}"), right.clone()).unwrap();
        let shown = format!("{file:?} {file:#?}");
        assert!(shown.contains(THUMBPRINT) && !shown.contains("correct"), "{shown}");
    }
}

#[test]
fn what_does_not_open_says_why() {
    let right = Secret::new("correct");
    let pfx = |name: &str, password: &str| Certificate::from_pkcs12(&fixture(name), &Secret::new(password));
    let pem = |name: &str, password: &str| Certificate::from_encrypted_pem(&fixture(name), &Secret::new(password));
    let mut damaged = fixture("modern.pfx");
    damaged.truncate(damaged.len() / 2);
    for (result, expected) in [
        (pfx("modern.pfx", "marker"), "password does not open the PKCS#12 archive"),
        (pfx("modern.pfx", ""), "password does not open the PKCS#12 archive"),
        (pfx("legacy.pfx", "marker"), "password does not open the PKCS#12 archive"),
        (pfx("nokey.pfx", "correct"), "holds no private key; export it again"),
        (pfx("rsa1024.pfx", "correct"), "fewer than 2048 bits"),
        (pfx("certificate.pem", "correct"), "no PKCS#12 archive"),
        (Certificate::from_pkcs12(&damaged, &right), "no PKCS#12 archive, or it is damaged"),
        (Certificate::from_pkcs12(b"", &right), "no PKCS#12 archive"),
        (pem("encrypted.pem", "marker"), "password does not open the private key"),
        (pem("encrypted-old.pem", "correct"), "openssl pkcs8 -topk8"),
        (pem("certificate.pem", "correct"), "no private key"),
        (Certificate::from_pem(&fixture("encrypted.pem")), "the private key is encrypted"),
        (Certificate::from_pem(&fixture("encrypted-old.pem")), "the private key is encrypted"),
        (Certificate::from_pem(&fixture("modern.pfx")), "Certificate::from_pkcs12"),
    ] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}: {expected}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
    let error = CertificateFile::open_protected(format!("{FOLDER}modern.pfx"), Secret::new("marker")).unwrap_err();
    assert!(error.to_string().contains("password does not open"), "{error}");
}

/// A broken byte anywhere is an error or another certificate, never a panic.
#[test]
fn damaged_archives_do_not_panic() {
    let right = Secret::new("correct");
    let good = fixture("nokey.pfx");
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        assert!(Certificate::from_pkcs12(&bad, &right).is_err(), "byte {at}");
    }
}
