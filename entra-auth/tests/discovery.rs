//! Discovery over sockets: one request for many, bounded, remembered, and believed only when it is the right one's.

#![cfg(all(feature = "acquire", feature = "reqwest"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod local_server;

use std::sync::Arc;

use entra_auth::{Authority, Cloud, Discovery, ErrorKind, ReqwestTransport};
use local_server::{LocalServer, answer};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";

fn discovery(judge: Authority) -> Discovery {
    Discovery::judged_by(Arc::new(ReqwestTransport::new().unwrap()), judge)
}

/// A server whose document names its own address.
async fn server(edit: fn(&mut serde_json::Value)) -> (LocalServer, Authority) {
    // The address is not known before the server listens, and the document must name it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut document = json!({
        "issuer": format!("{base}/{TENANT}/v2.0"),
        "authorization_endpoint": format!("{base}/{TENANT}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{TENANT}/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}/{TENANT}/discovery/v2.0/keys"),
    });
    edit(&mut document);
    let server = LocalServer::on(listener, [answer(200, "", &document.to_string())]);
    (server, base.parse().unwrap())
}

#[tokio::test]
async fn one_request_serves_all_who_ask() {
    let (server, authority) = server(|_| {}).await;
    let discovery = discovery(Authority::default());
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (discovery, authority) = (discovery.clone(), authority.clone());
            tokio::spawn(async move { discovery.openid_configuration(&authority, &TENANT.parse().unwrap()).await })
        })
        .collect();
    for caller in callers {
        let document = caller.await.unwrap().unwrap();
        assert_eq!(document.token_endpoint, authority.token_endpoint(&TENANT.parse().unwrap()));
    }
    let sent = server.only();
    assert_eq!(sent.line, format!("GET /{TENANT}/v2.0/.well-known/openid-configuration HTTP/1.1"));
    assert_eq!(sent.header("accept"), Some("application/json"));
}

#[tokio::test]
async fn documents_of_others_are_refused_and_the_refusal_is_remembered() {
    for edit in [
        (|document| document["issuer"] = json!("https://login.microsoftonline.com/x/v2.0"))
            as fn(&mut serde_json::Value),
        |document| document["token_endpoint"] = json!("https://evil.example/token"),
        |document| document["jwks_uri"] = json!("http://127.0.0.1:1/keys"),
        |document| *document = json!([]),
        |document| document["padding"] = json!("x".repeat(300_000)),
    ] {
        let (server, authority) = server(edit).await;
        let discovery = discovery(Authority::default());
        for _ in 0..3 {
            let error = discovery.openid_configuration(&authority, &TENANT.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
        server.only();
    }
}

#[tokio::test]
async fn statuses_become_kinds() {
    for (status, body, kind, requests) in [
        (400, r#"{"error":"invalid_tenant","error_codes":[90002]}"#, ErrorKind::Configuration, 1),
        (404, "", ErrorKind::Protocol, 1),
        (302, "", ErrorKind::Protocol, 1),
        (503, "", ErrorKind::Transient, 2),
    ] {
        let server = LocalServer::start([answer(status, "location: https://evil.example/\r\n", body)]).await;
        let authority: Authority = server.url.parse().unwrap();
        let error = discovery(Authority::default())
            .openid_configuration(&authority, &TENANT.parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (kind, requests), "{status}");
    }
}

#[tokio::test]
async fn a_host_is_microsofts_when_it_is_known_or_vouched_for() {
    let body = json!({"tenant_discovery_endpoint": "x", "metadata": [
        {"preferred_network": "login.new-cloud.example", "preferred_cache": "login.new-cloud.example",
         "aliases": ["login.new-cloud.example", "old.new-cloud.example"]}]});
    let server = LocalServer::start([answer(200, "", &body.to_string())]).await;
    let discovery = discovery(server.url.parse().unwrap());
    // Known hosts need no request.
    let known = discovery.authority_of_host("login.chinacloudapi.cn").await.unwrap();
    assert_eq!(known, Cloud::China.into());
    for bad in ["", "evil.example/x", "a b", "127.0.0.1"] {
        assert_eq!(discovery.authority_of_host(bad).await.unwrap_err().kind(), ErrorKind::Configuration);
    }
    assert!(server.seen().is_empty());
    for _ in 0..3 {
        let found = discovery.authority_of_host("old.new-cloud.example").await.unwrap();
        assert_eq!(found.url().as_str(), "https://login.new-cloud.example/");
    }
    let sent = server.only();
    assert_eq!(sent.path(), "/common/discovery/instance");
    let expected = [
        ("api-version", "1.1"),
        ("authorization_endpoint", "https://old.new-cloud.example/common/oauth2/v2.0/authorize"),
    ];
    assert_eq!(sent.query(), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert!(discovery.authority_of_host("evil.example").await.is_err());

    let refusing = LocalServer::start([answer(400, "", r#"{"error":"invalid_instance"}"#)]).await;
    let discovery = self::discovery(refusing.url.parse().unwrap());
    let error = discovery.authority_of_host("login.evil.example").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_a_transport_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority: Authority = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"SSH-2.0-OpenSSH\r\n").await;
        }
    });
    let error =
        discovery(Authority::default()).openid_configuration(&authority, &TENANT.parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
}
