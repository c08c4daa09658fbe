//! A certificate that a function fetches: renewed, refused, not to be had. No caller sees an error that another
//! certificate can prevent.
#![cfg(all(feature = "acquire", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod acquire_certificate_support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use acquire_certificate_support::*;
use entra_auth::{Certificate, CertificateSource, Error, ErrorKind, SignRequest, TokenCredential as _};
use wiremock::MockServer;

const RELOAD_CODES: [u32; 6] = [700_027, 700_024, 7_000_214, 1_000_502, 7_000_274, 7_000_277];
const LONG: Duration = Duration::from_secs(3600);

/// A vault with the pairs' certificates, of which one is current, and the registration that knows some of them.
#[derive(Clone, Default)]
struct World(Arc<Parts>);

#[derive(Default)]
struct Parts {
    current: Mutex<Option<Certificate>>,
    fetches: AtomicUsize,
    registered: Mutex<BTreeSet<String>>,
    code: AtomicUsize,
}

impl World {
    fn with(pair: &Pair) -> Self {
        let world = Self::default();
        world.0.code.store(700_027, Ordering::SeqCst);
        world.renew(pair);
        world.register(pair);
        world
    }

    fn renew(&self, pair: &Pair) {
        *self.0.current.lock().unwrap() = Some(Certificate::from_pem(pair.pem().as_bytes()).unwrap());
    }

    fn register(&self, pair: &Pair) {
        self.0.registered.lock().unwrap().insert(pair.thumbprint.clone());
    }

    fn unregister(&self, pair: &Pair) {
        self.0.registered.lock().unwrap().remove(&pair.thumbprint);
    }

    fn close(&self) {
        *self.0.current.lock().unwrap() = None;
    }

    fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    async fn entra(&self) -> MockServer {
        let parts = Arc::clone(&self.0);
        endpoint(move |sent: &wiremock::Request| {
            let header = part(&form(sent)["client_assertion"], 0);
            match parts.registered.lock().unwrap().contains(header["x5t#S256"].as_str().unwrap()) {
                true => success(),
                false => refusal(u32::try_from(parts.code.load(Ordering::SeqCst)).unwrap()),
            }
        })
        .await
    }

    fn source(&self, period: Duration) -> CertificateSource {
        let first = self.0.current.lock().unwrap().clone().unwrap();
        let parts = Arc::clone(&self.0);
        CertificateSource::new(first, period, move || {
            let parts = Arc::clone(&parts);
            async move {
                parts.fetches.fetch_add(1, Ordering::SeqCst);
                let current = parts.current.lock().unwrap().clone();
                current.ok_or_else(|| Error::new(ErrorKind::Transport, "the vault is closed"))
            }
        })
    }
}

/// The certificate is renewed in the vault and in the registration while a hundred callers wait.
#[tokio::test]
async fn a_renewal_costs_one_refused_request_and_no_caller_anything() {
    let (old, new) = (Pair::new(), Pair::new());
    for code in RELOAD_CODES {
        let world = World::with(&old);
        world.0.code.store(code as usize, Ordering::SeqCst);
        let server = world.entra().await;
        let client = client(&server, world.source(LONG));
        client.get_token(&request(1)).await.unwrap();
        assert_eq!(world.fetches(), 0, "the first certificate is used as it is given");

        world.renew(&new);
        world.register(&new);
        world.unregister(&old);
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.get_token(&request(2)).await })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().expose(), "t", "AADSTS{code}");
        }
        client.get_token(&request(3)).await.unwrap();
        let expected = [&old, &old, &new, &new].map(|pair| &*pair.thumbprint);
        assert_eq!(thumbprints(&server).await, expected, "AADSTS{code}");
        assert_eq!(world.fetches(), 1, "AADSTS{code}");
    }
}

#[tokio::test]
async fn a_renewal_is_found_by_time_too() {
    let (old, new) = (Pair::new(), Pair::new());
    let world = World::with(&old);
    world.register(&new);
    let server = world.entra().await;
    let client = client(&server, world.source(Duration::ZERO));
    client.get_token(&request(1)).await.unwrap();
    world.renew(&new);
    client.get_token(&request(2)).await.unwrap();
    // A vault that does not answer changes nothing.
    world.close();
    client.get_token(&request(3)).await.unwrap();
    assert_eq!(thumbprints(&server).await, [&old, &new, &new].map(|pair| &*pair.thumbprint));
    assert_eq!(world.fetches(), 3);
}

/// First the vault, then the registration: the usual order where a vault renews by itself.
#[tokio::test]
async fn a_new_certificate_that_nobody_has_registered_yet_is_put_back() {
    let (old, new) = (Pair::new(), Pair::new());
    let world = World::with(&old);
    let server = world.entra().await;
    let client = client(&server, world.source(Duration::ZERO));
    world.renew(&new);
    for resource in 1..=3 {
        client.get_token(&request(resource)).await.unwrap();
    }
    world.register(&new);
    world.unregister(&old);
    client.get_token(&request(4)).await.unwrap();
    // The next look is not at once; the refusal of the old one brings the new one back.
    let expected = [&new, &old, &old, &old, &old, &new].map(|pair| &*pair.thumbprint);
    assert_eq!(thumbprints(&server).await, expected);
}

#[tokio::test]
async fn a_version_that_the_vault_disabled_is_replaced_before_anything_is_sent() {
    let (old, new) = (Pair::new(), Pair::new());
    let world = World::with(&old);
    world.register(&new);
    let disabled = Arc::new(AtomicBool::new(false));
    let (key, is_disabled) = (Arc::new(old.key_pem.clone()), Arc::clone(&disabled));
    let sign = move |request: SignRequest| {
        let (key, is_disabled) = (Arc::clone(&key), Arc::clone(&is_disabled));
        async move {
            if is_disabled.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Configuration, "this version of the key is disabled"));
            }
            let pair = rcgen::KeyPair::from_pem(&key).unwrap();
            let pair = aws_lc_rs::signature::RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            let random = aws_lc_rs::rand::SystemRandom::new();
            let padding = &aws_lc_rs::signature::RSA_PSS_SHA256;
            pair.sign(padding, &random, request.signing_input(), &mut signature).unwrap();
            Ok(signature)
        }
    };
    *world.0.current.lock().unwrap() = Some(Certificate::with_signer(old.certificate_pem.as_bytes(), sign).unwrap());
    let server = world.entra().await;
    let client = client(&server, world.source(LONG));
    client.get_token(&request(1)).await.unwrap();
    world.renew(&new);
    disabled.store(true, Ordering::SeqCst);
    client.get_token(&request(2)).await.unwrap();
    assert_eq!(thumbprints(&server).await, [&old, &new].map(|pair| &*pair.thumbprint));
}

#[tokio::test]
async fn an_ended_certificate_is_not_sent_when_there_is_another() {
    let (ended, new) = (Pair::ending(2020), Pair::new());
    let world = World::with(&ended);
    let server = world.entra().await;
    let client = client(&server, world.source(LONG));
    let error = client.get_token(&request(1)).await.unwrap_err();
    assert!(error.to_string().contains("the certificate ended on 2020-01-01"), "{error}");
    world.renew(&new);
    world.register(&new);
    // That there is none better is known for some seconds.
    let error = client.get_token(&request(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert!(world.fetches() <= 2, "{}", world.fetches());

    world.renew(&ended);
    let source = world.source(LONG);
    world.renew(&new);
    let client = acquire_certificate_support::client(&server, source);
    client.get_token(&request(3)).await.unwrap();
    assert_eq!(thumbprints(&server).await, [&*new.thumbprint]);
}

#[tokio::test]
async fn a_refusal_that_nothing_cures_is_asked_about_once_in_a_while() {
    let (pair, unknown) = (Pair::new(), Pair::new());
    let world = World::with(&pair);
    world.unregister(&pair);
    let server = world.entra().await;
    let client = client(&server, world.source(LONG));
    for resource in 0..20 {
        let error = client.get_token(&request(resource)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ClientCredential);
    }
    assert_eq!(world.fetches(), 1, "one question in five seconds");
    assert_eq!(forms(&server).await.len(), 20, "the same certificate is not sent twice");

    // Other refusals are no reason to ask at all.
    for code in [7_000_215, 700_016, 7_000_222, 50_012] {
        let world = World::with(&unknown);
        world.unregister(&unknown);
        world.0.code.store(code, Ordering::SeqCst);
        let server = world.entra().await;
        acquire_certificate_support::client(&server, world.source(LONG)).get_token(&request(1)).await.unwrap_err();
        assert_eq!((world.fetches(), forms(&server).await.len()), (0, 1), "AADSTS{code}");
    }
}

#[tokio::test]
async fn nothing_of_a_key_is_shown() {
    let pair = Pair::new();
    let shown = format!("{:?}", World::with(&pair).source(LONG));
    assert!(shown.contains(&pair.thumbprint) && shown.len() < 500, "{shown}");
}
