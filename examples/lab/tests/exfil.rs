//! The goal about addresses, and doors that let tokens out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;

use async_trait::async_trait;
use entra_auth::{Body, HttpTransport, TransportError, TransportErrorKind};
use http::{Request, Response};
use lab::{
    Fault, Options, Outcome,
    inbound::exfil::{self, DOORS, Door, Log, Recorder, Row},
};

fn row(name: &str) -> Row {
    *DOORS.iter().find(|row| row.name == name).unwrap()
}

#[track_caller]
fn fails(row: Row, why: &str) {
    let outcome: Outcome = exfil::check(&Options::short(), &[row]).unwrap();
    assert!(outcome.failed().iter().any(|failed| failed.contains(why)), "not caught: {}", outcome.line("exfil"));
}

#[test]
fn exfil_passes() {
    let outcome = exfil::run(&Options::short()).unwrap();
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("exfil"));
}

/// Sends its token to whatever looks like an address.
struct Trusting(Recorder);

#[async_trait]
impl Door for Trusting {
    async fn offer(&mut self, url: &str) {
        if let Ok(request) = Request::post(url).header("authorization", "Bearer canary-of-this-run").body(Body::empty())
        {
            let _ = self.0.send(request).await;
        }
    }
}

fn trusting(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    Ok(Box::new(Trusting(Recorder(log))))
}

/// Trusts whatever ends like a host that it knows.
struct Suffix(Recorder);

#[async_trait]
impl Door for Suffix {
    async fn offer(&mut self, url: &str) {
        let Ok(request) = Request::get(url).header("authorization", "Bearer canary-of-this-run").body(Body::empty())
        else {
            return;
        };
        if request.uri().host().is_some_and(|host| host.ends_with("trafficmanager.net")) {
            let _ = self.0.send(request).await;
        }
    }
}

fn suffix(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    Ok(Box::new(Suffix(Recorder(log))))
}

/// A transport that follows redirects.
#[derive(Debug)]
struct Follows(reqwest::Client);

#[async_trait]
impl HttpTransport for Follows {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (parts, body) = request.into_parts();
        let body = body.collect(1 << 20).await?;
        let request = self.0.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let answer = request.send().await.map_err(|_| TransportErrorKind::Other)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|_| TransportErrorKind::Other)?;
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() = status;
        Ok(answer)
    }
}

fn follows(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    exfil::redirected(log, |builder| Ok(Arc::new(Follows(builder.build()?))))
}

struct Shut;

#[async_trait]
impl Door for Shut {
    async fn offer(&mut self, _: &str) {}
}

#[test]
fn exfil_sees_tokens_that_go_astray() {
    fails(Row { make: trusting, ..row("service_url") }, "no credential leaves");
    fails(Row { make: suffix, ..row("service_url") }, "no request leaves");
    fails(Row { make: follows, ..row("redirect") }, "no request leaves");
    fails(Row { make: |_| Ok(Box::new(Shut)), ..row("project") }, "every door opens");
}
