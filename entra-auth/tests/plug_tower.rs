//! The layer of feature `tower`, around a service of any kind.
#![cfg(all(feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use entra_auth::{AllowedCallers, BearerLayer, Body, RequestIdentity, ValidatedToken};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tower_layer::Layer;
use tower_service::Service;
use validate_support::*;

fn layer() -> BearerLayer {
    let callers = AllowedCallers::only([CALLER.parse().unwrap()]);
    BearerLayer::new(builder(single()).app_callers(callers).build().unwrap())
}

fn request(token: &str) -> Request<Body> {
    Request::get("/")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from("content".to_owned()))
        .unwrap()
}

/// Says who calls; its error and its panic come from the request's path.
#[derive(Clone, Default)]
struct Echo {
    calls: Arc<AtomicUsize>,
}

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, &'static str>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let at_call = RequestIdentity::current().is_some();
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert!(at_call, "also before the first await");
            assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
            let identity = RequestIdentity::current().unwrap();
            let extension = request.extensions().get::<RequestIdentity>().unwrap();
            assert_eq!(extension.user_key(), identity.user_key());
            match request.uri().path() {
                "/error" => return Err("the service fails"),
                "/panic" => panic!("the service panics"),
                _ => {}
            }
            assert_eq!(request.into_body().collect(100).await.unwrap(), Bytes::from("content"));
            let kind = match identity.token() {
                ValidatedToken::User(_) => "user",
                ValidatedToken::App(_) => "app",
            };
            Ok(Response::new(Body::from(kind.to_owned())))
        })
    }
}

async fn call<S: Service<Request<Body>>>(service: &mut S, request: Request<Body>) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

async fn answer(layer: &BearerLayer, token: &str) -> (StatusCode, Option<String>, Bytes, usize) {
    let echo = Echo::default();
    let response = call(&mut layer.layer(echo.clone()), request(token)).await.unwrap();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    assert!(status == StatusCode::OK || response.headers().len() == 1, "{:?}", response.headers());
    let body = response.into_body().collect(1000).await.unwrap();
    assert!(RequestIdentity::current().is_none());
    (status, challenge, body, echo.calls.load(Ordering::SeqCst))
}

#[tokio::test]
async fn good_tokens_get_through_with_their_identity() {
    for (claims, kind) in [(user_claims(), "user"), (app_claims(), "app"), (v1_claims(), "user")] {
        let (status, challenge, body, calls) = answer(&layer(), &ENTRA.sign(&claims)).await;
        assert_eq!((status, challenge, body, calls), (StatusCode::OK, None, Bytes::from(kind), 1));
    }
}

#[tokio::test]
async fn others_get_an_answer_without_detail_and_never_reach_the_service() {
    let expired = with(user_claims(), &[("exp", json!(NOW - 100))]);
    let foreign = with(
        user_claims(),
        &[
            ("tid", json!(OTHER_TENANT)),
            ("iss", json!(format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"))),
        ],
    );
    let invalid = Some("Bearer error=\"invalid_token\"".to_owned());
    let forbidden = Some("Bearer error=\"insufficient_scope\"".to_owned());
    for (token, status, challenge) in [
        (ENTRA.sign(&expired), 401, &invalid),
        (EVIL.sign(&user_claims()), 401, &invalid),
        (ENTRA.sign(&with(user_claims(), &[("aud", json!("other"))])), 401, &invalid),
        ("no-token".to_owned(), 401, &invalid),
        (ENTRA.sign(&foreign), 403, &forbidden),
        (ENTRA.sign(&with(app_claims(), &[("azp", json!(OTHER_TENANT))])), 403, &forbidden),
    ] {
        let got = answer(&layer(), &token).await;
        assert_eq!(got, (StatusCode::from_u16(status).unwrap(), challenge.clone(), Bytes::new(), 0), "{token}");
    }
    let echo = Echo::default();
    let mut service = layer().layer(echo.clone());
    let bare = Request::get("/").body(Body::empty()).unwrap();
    let response = call(&mut service, bare).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let mut twice = request(&ENTRA.sign(&user_claims()));
    twice.headers_mut().append(header::AUTHORIZATION, "Bearer x".parse().unwrap());
    assert_eq!(call(&mut service, twice).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn scope_and_role_that_everyone_must_have() {
    let strict = layer().user_scope("access_as_user").app_role("Jobs.Run");
    for (claims, status) in [
        (user_claims(), 200),
        (app_claims(), 200),
        (with(user_claims(), &[("scp", json!("access_as_user2 Access_as_user"))]), 403),
        (with(app_claims(), &[("roles", json!(["Jobs.Read"]))]), 403),
        // A role of the user is no scope, and the other way round.
        (with(user_claims(), &[("scp", json!("other")), ("roles", json!(["access_as_user", "Jobs.Run"]))]), 403),
    ] {
        let (got, ..) = answer(&strict, &ENTRA.sign(&claims)).await;
        assert_eq!(got.as_u16(), status, "{claims}");
    }
}

#[tokio::test]
async fn the_identity_is_gone_after_errors_and_panics() {
    let token = ENTRA.sign(&user_claims());
    let mut service = layer().layer(Echo::default());
    let to = |path: &str| {
        let mut request = request(&token);
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    assert_eq!(call(&mut service, to("/error")).await.unwrap_err(), "the service fails");
    assert!(RequestIdentity::current().is_none());
    let panicking = AssertUnwindSafe(call(&mut service, to("/panic"))).catch_unwind().await;
    assert!(panicking.is_err());
    assert!(RequestIdentity::current().is_none());
    assert_eq!(call(&mut service, to("/")).await.unwrap().status(), StatusCode::OK);
}

/// A service that answers only when it was asked whether it is ready.
struct Picky {
    ready: bool,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<Body>> for Picky {
    type Response = Response<Vec<u8>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Vec<u8>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "the one that is ready gets the request");
        ready(Ok(Response::new(Vec::new())))
    }
}

#[tokio::test]
async fn the_service_that_is_ready_gets_the_request() {
    let mut service = layer().layer(Picky { ready: false });
    for _ in 0..3 {
        let response = call(&mut service, request(&ENTRA.sign(&user_claims()))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[test]
fn nothing_of_a_token_is_shown() {
    let claims: Value = user_claims();
    let shown = format!("{:?} {:?}", layer(), layer().layer(()));
    assert!(!shown.contains(claims["oid"].as_str().unwrap()));
}
