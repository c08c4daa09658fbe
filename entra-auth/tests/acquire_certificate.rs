//! Certificates: the form for AD FS, keys that stay elsewhere, files that are renewed, and what is wrong with bad ones.

#![cfg(all(feature = "acquire", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acquire_certificate_support;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use acquire_certificate_support::*;
use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    Certificate, CertificateFile, Error, ErrorKind, SignRequest, SignatureAlgorithm, TokenCredential as _,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;

const RELOAD_CODES: [u32; 6] = [700_027, 700_024, 7_000_214, 1_000_502, 7_000_274, 7_000_277];

#[tokio::test]
async fn ad_fs_gets_rs256_and_a_sha1_thumbprint() {
    let pair = Pair::new();
    let server = endpoint(success()).await;
    let certificate = Certificate::from_pem(pair.pem().as_bytes()).unwrap().for_ad_fs();
    client(&server, certificate).get_token(&request(1)).await.unwrap();
    let assertion = &forms(&server).await[0]["client_assertion"];
    let der = CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap();
    let sha1 = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der));
    assert_eq!(part(assertion, 0), json!({"alg": "RS256", "typ": "JWT", "x5t": sha1}));
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key())
        .unwrap()
        .verify_sig(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
}

/// A vault: it has the key, we have the certificate.
fn vault(pair: &Pair, asked: &Arc<Mutex<Vec<SignRequest>>>) -> Certificate {
    let key = Arc::new(aws_lc_rs::rsa::KeyPair::from_pkcs8(&pair.key.serialize_der()).unwrap());
    let asked = Arc::clone(asked);
    Certificate::with_signer(pair.certificate_pem.as_bytes(), move |request: SignRequest| {
        let (key, asked) = (Arc::clone(&key), Arc::clone(&asked));
        async move {
            tokio::task::yield_now().await;
            let mut signature = vec![0; key.public_modulus_len()];
            let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match request.algorithm() {
                SignatureAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
                _ => &RSA_PSS_SHA256,
            };
            key.sign(padding, &SystemRandom::new(), request.signing_input(), &mut signature).unwrap();
            asked.lock().unwrap().push(request);
            Ok(signature)
        }
    })
    .unwrap()
}

#[tokio::test]
async fn a_key_that_stays_in_a_vault_signs() {
    let (pair, asked) = (Pair::new(), Arc::default());
    let server = endpoint(success()).await;
    let certificate = vault(&pair, &asked);
    client(&server, certificate.clone()).get_token(&request(1)).await.unwrap();
    client(&server, certificate.for_ad_fs().send_chain()).get_token(&request(1)).await.unwrap();
    let (forms, asked) = (forms(&server).await, asked.lock().unwrap());
    assert_eq!((forms.len(), asked.len()), (2, 2));
    for (form, asked) in forms.iter().zip(asked.iter()) {
        let (signed, _) = form["client_assertion"].rsplit_once('.').unwrap();
        assert_eq!(asked.signing_input(), signed.as_bytes());
        assert_eq!(asked.digest(), digest(&SHA256, signed.as_bytes()).as_ref());
        assert_eq!(form["client_assertion_type"], ASSERTION_TYPE);
        assert_eq!(part(&form["client_assertion"], 0)["alg"], asked.algorithm().as_str());
        assert!(!format!("{asked:?}").contains(signed), "{asked:?}");
    }
    assert_eq!(asked[0].algorithm(), SignatureAlgorithm::Ps256);
    assert_eq!(asked[1].algorithm(), SignatureAlgorithm::Rs256);
}

#[tokio::test]
async fn a_signer_with_another_key_or_an_error_sends_nothing() {
    let (pair, other) = (Pair::new(), Pair::new());
    let server = endpoint(success()).await;
    let key = Arc::new(aws_lc_rs::rsa::KeyPair::from_pkcs8(&other.key.serialize_der()).unwrap());
    let wrong = Certificate::with_signer(pair.certificate_pem.as_bytes(), move |request: SignRequest| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), request.signing_input(), &mut signature).unwrap();
        async move { Ok(signature) }
    });
    let error = client(&server, wrong.unwrap()).get_token(&request(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert!(error.to_string().contains("does not belong to the certificate"), "{error}");
    let closed = Certificate::with_signer(pair.certificate_pem.as_bytes(), |_| async {
        Err(Error::new(ErrorKind::PolicyBlocked, "the vault is closed"))
    });
    let error = client(&server, closed.unwrap()).get_token(&request(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::PolicyBlocked, "the vault is closed"));
    assert!(forms(&server).await.is_empty());

    let elliptic = rcgen::KeyPair::generate().unwrap();
    let elliptic = rcgen::CertificateParams::new(vec!["bot".to_owned()]).unwrap().self_signed(&elliptic).unwrap().pem();
    for (chain, expected) in
        [("", "no certificate"), (&*pair.key_pem, "no certificate"), (&*elliptic, "not for an RSA")]
    {
        let error = Certificate::with_signer(chain.as_bytes(), |_| async { Ok(Vec::new()) }).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_named_and_not_sent() {
    let server = endpoint(success()).await;
    let certificate = Certificate::from_pem(Pair::ending(2026).pem().as_bytes()).unwrap();
    assert_eq!(certificate.expires_on().unix_timestamp(), 1_767_225_600);
    let error = client(&server, certificate).get_token(&request(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert!(error.to_string().contains("ended on 2026-01-01; register its successor"), "{error}");
    assert!(forms(&server).await.is_empty());
}

#[tokio::test]
async fn a_renewed_file_is_used_from_the_next_request_on() {
    let (old, new, folder) = (Pair::new(), Pair::new(), Folder::new());
    let path = folder.write("bot.pem", old.pem());
    let server = endpoint(success()).await;
    let client = client(&server, CertificateFile::open(&path).unwrap());
    client.get_token(&request(1)).await.unwrap();
    fs::write(&path, new.pem()).unwrap();
    client.get_token(&request(2)).await.unwrap();
    // Broken, half written, empty, gone: the last good one is used.
    for broken in ["marker", &new.key_pem, &format!("{}{}", old.key_pem, new.certificate_pem), ""] {
        fs::write(&path, broken).unwrap();
        client.get_token(&request(10 + u32::try_from(broken.len()).unwrap())).await.unwrap();
    }
    fs::remove_file(&path).unwrap();
    client.get_token(&request(3)).await.unwrap();
    fs::write(&path, old.pem()).unwrap();
    client.get_token(&request(4)).await.unwrap();
    let mut expected = vec![&old.thumbprint];
    expected.extend([&new.thumbprint; 6]);
    expected.push(&old.thumbprint);
    assert_eq!(thumbprints(&server).await.iter().collect::<Vec<_>>(), expected);
}

/// The certificate is swapped in the registration and in the file while a hundred callers wait.
#[tokio::test]
async fn rotating_mid_run_costs_one_refused_request_and_no_caller_anything() {
    for code in RELOAD_CODES {
        let (old, new, folder) = (Pair::new(), Pair::new(), Folder::new());
        let path = folder.write("bot.pem", old.pem());
        let (successor, file, refused) = (new.pem(), path.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&refused);
        let wanted = new.thumbprint.clone();
        let server = endpoint(move |sent: &wiremock::Request| {
            if part(&form(sent)["client_assertion"], 0)["x5t#S256"] == wanted.as_str() {
                return success();
            }
            fs::write(&file, &successor).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            refusal(code)
        })
        .await;
        let client = client(&server, CertificateFile::open(&path).unwrap());
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.get_token(&request(1)).await })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().expose(), "t", "AADSTS{code}");
        }
        client.get_token(&request(2)).await.unwrap();
        assert_eq!(refused.load(Ordering::SeqCst), 1, "AADSTS{code}");
        let sent = thumbprints(&server).await;
        assert_eq!(sent, [&*old.thumbprint, &*new.thumbprint, &*new.thumbprint], "AADSTS{code}");
    }
}

#[tokio::test]
async fn nothing_is_repeated_in_vain() {
    let (old, new, folder) = (Pair::new(), Pair::new(), Folder::new());
    let path = folder.write("bot.pem", old.pem());
    // The same certificate again would be refused again.
    let server = endpoint(refusal(700_027)).await;
    let error = client(&server, CertificateFile::open(&path).unwrap()).get_token(&request(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    assert_eq!(forms(&server).await.len(), 1);
    // Without a file there is nothing to reload.
    let fixed = Certificate::from_pem(old.pem().as_bytes()).unwrap();
    client(&server, fixed).get_token(&request(1)).await.unwrap_err();
    assert_eq!(forms(&server).await.len(), 2);
    // A new certificate is tried once, whatever becomes of it; other refusals are no reason to look at the file.
    for (code, requests) in [(700_027, 2), (7_000_215, 1), (700_016, 1), (7_000_222, 1), (50_012, 1)] {
        let (pems, file) = ([old.pem(), new.pem()], path.clone());
        let turn = AtomicUsize::new(0);
        fs::write(&path, old.pem()).unwrap();
        let server = endpoint(move |_: &wiremock::Request| {
            fs::write(&file, &pems[(turn.fetch_add(1, Ordering::SeqCst) + 1) % 2]).unwrap();
            refusal(code)
        })
        .await;
        client(&server, CertificateFile::open(&path).unwrap()).get_token(&request(1)).await.unwrap_err();
        assert_eq!(forms(&server).await.len(), requests, "AADSTS{code}");
    }
}

#[tokio::test]
async fn certificate_and_key_in_two_files() {
    let (old, new, folder) = (Pair::new(), Pair::new(), Folder::new());
    let (cert, key) = (folder.write("tls.crt", &old.certificate_pem), folder.write("tls.key", &old.key_pem));
    let server = endpoint(success()).await;
    let file = CertificateFile::open_pair(&cert, &key).unwrap().send_chain();
    let client = client(&server, file);
    client.get_token(&request(1)).await.unwrap();
    fs::write(&cert, &new.certificate_pem).unwrap();
    client.get_token(&request(2)).await.unwrap();
    fs::write(&key, &new.key_pem).unwrap();
    client.get_token(&request(3)).await.unwrap();
    assert_eq!(thumbprints(&server).await, [&*old.thumbprint, &*old.thumbprint, &*new.thumbprint]);
    for form in forms(&server).await {
        assert_eq!(part(&form["client_assertion"], 0)["x5c"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let (pair, folder) = (Pair::new(), Folder::new());
    for (path, expected) in [
        (folder.path("missing.pem"), "missing.pem does not exist; check path and mount"),
        (folder.path(""), "is no regular file"),
        (folder.write("empty.pem", ""), "empty.pem is empty"),
        (folder.write("large.pem", vec![b'x'; 300 << 10]), "larger than 262144 bytes"),
        (folder.write("alone.pem", &pair.certificate_pem), "no private key"),
        (folder.write("key.pem", &pair.key_pem), "no certificate"),
        (folder.write("bot.pfx", [0x30, 0x82, 0, 1, 0]), "openssl pkcs12 -in"),
        (folder.write("text.pem", "marker"), "no private key"),
    ] {
        let error = CertificateFile::open(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
    let short = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificates/rsa1024.pem");
    let error = CertificateFile::open(short).unwrap_err().to_string();
    assert!(error.contains("fewer than 2048 bits") && error.contains("openssl req"), "{error}");
}

#[test]
fn nothing_of_a_key_is_shown() {
    let (pair, folder) = (Pair::new(), Folder::new());
    let file = CertificateFile::open(folder.write("bot.pem", pair.pem())).unwrap();
    let certificate = Certificate::from_pem(pair.pem().as_bytes()).unwrap();
    let shown = format!("{file:?} {certificate:#?} {:?}", vault(&pair, &Arc::default()));
    assert!(shown.contains(&pair.thumbprint) && shown.contains("bot.pem"), "{shown}");
    for line in pair.key_pem.lines().filter(|line| line.len() > 20 && !line.starts_with('-')) {
        assert!(!shown.contains(line), "{shown}");
    }
    assert!(shown.len() < 2_000, "no byte dumps: {shown}");
}
