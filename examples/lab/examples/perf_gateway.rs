//! A whole gateway turn: the request judged, a token on behalf of the user, a call to the agent, the reply.
//!
//! Long-running: `POST /api/messages` on `PERF_PORT`; `PERF_STUB` is authority, agent and connector. One thread.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a driver stops at the first surprise

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use botframework_activity::{
    Activity, ChannelAuthenticator, ChannelKeys, ConnectorClient, HandlerError, MemoryTurnQueue, Outcome, Turn,
    TurnRunner,
};
use bytes::Bytes;
use entra_auth::{
    Audience, Authority, Body, ClientId, Clock, ConfidentialClient, HttpTransport, OnBehalfOf, ReqwestTransport,
    Scopes, Secret, StaticCredential, StaticKeys, SystemClock, TenantId, TenantPolicy, TokenCredential, TokenRequest,
    UserToken,
};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lab::{fixture, number, variable};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

/// What a turn needs.
struct Gateway {
    transport: Arc<dyn HttpTransport>,
    client: ConfidentialClient,
    tenant: TenantId,
    app: ClientId,
    agent: Uri,
    audience: Audience,
    request: TokenRequest,
    users: Mutex<HashMap<String, OnBehalfOf>>,
}

#[derive(Deserialize)]
struct Answer {
    output: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    content: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    text: String,
}

impl Gateway {
    /// What acts for the user; its assertion stands for the one that the platform would bring.
    fn user(&self, id: &str) -> OnBehalfOf {
        let mut users = self.users.lock().unwrap();
        if let Some(known) = users.get(id) {
            return known.clone();
        }
        let now = SystemClock.now().unix_timestamp();
        let number = u64::from_str_radix(&format!("{:x}", id.bytes().map(u64::from).sum::<u64>()), 16).unwrap();
        let claims = json!({
            "tid": self.tenant, "oid": format!("00000000-0000-0000-0000-{number:012}"), "aud": self.app, "ver": "2.0",
            "iss": format!("https://login.microsoftonline.com/{}/v2.0", self.tenant.as_str()), "sub": id,
            "iat": now, "nbf": now, "exp": now + 86_000, "scp": "access_as_user",
        });
        let token = UserToken::trusted(&claims, format!("{id}.{}", "a".repeat(1500))).unwrap();
        let credential = self.client.on_behalf_of(token.assertion_for(&self.app, &[""; 0]).unwrap());
        users.insert(id.to_owned(), credential.clone());
        credential
    }

    async fn answer(&self, turn: &Turn) -> Result<Outcome, HandlerError> {
        let activity = turn.activity();
        let user = activity.from.as_ref().and_then(|from| from.id.as_deref()).unwrap_or_default();
        let token = self.user(user).get_token(&self.request).await?;
        let body = serde_json::to_vec(&json!({ "input": activity.text }))?;
        let mut request = Request::post(self.agent.clone()).body(Body::from(Bytes::from(body)))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        token.authorize(&mut request, &self.audience)?;
        let response = self.transport.send(request).await?.into_body().collect(1 << 20).await?;
        let answer: Answer = serde_json::from_slice(&response)?;
        let text = answer.output.into_iter().next().and_then(|item| item.content.into_iter().next());
        Ok(Outcome::answer(Activity::message(text.map(|part| part.text).unwrap_or_default())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let stub: Url = variable("PERF_STUB").unwrap().parse().unwrap();
    let tenant: TenantId = variable("PERF_TENANT").unwrap().parse().unwrap();
    let app: ClientId = variable("PERF_APP_ID").unwrap().parse().unwrap();
    let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new().unwrap());

    let keys = ChannelKeys::source(Arc::new(StaticKeys::from_jwks(&fixture("auth/jwks.json")).unwrap()));
    let tenants = TenantPolicy::Single(tenant.clone());
    let authenticator =
        ChannelAuthenticator::builder(app.clone(), tenants, keys).loopback_connectors().build().unwrap();

    let authority: Authority = stub.as_str().parse().unwrap();
    let client = ConfidentialClient::builder(tenant.clone(), app.clone(), Secret::new("s"))
        .authority(authority)
        .transport(Arc::clone(&transport))
        .build()
        .unwrap();
    let scopes: Scopes = "https://ai.azure.com/.default".parse().unwrap();
    let gateway = Arc::new(Gateway {
        agent: stub.join("/agent/responses").unwrap().as_str().parse().unwrap(),
        audience: Audience::new(scopes.clone(), [&stub]).unwrap(),
        request: TokenRequest::new(scopes),
        users: Mutex::default(),
        transport: Arc::clone(&transport),
        client,
        tenant,
        app,
    });
    let credential = Arc::new(StaticCredential::new("e".repeat(1600)).unwrap());
    let connector = ConnectorClient::builder(transport, credential).build().unwrap();
    let runner = TurnRunner::in_memory(MemoryTurnQueue::default(), authenticator.policy().clone(), connector).start(
        move |turn| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.answer(&turn).await }
        },
        |_, _| None,
    );

    let port = u16::try_from(number("PERF_PORT", 18_081)).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (authenticator, runner) = (authenticator.clone(), runner.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| receive(&authenticator, &runner, request));
            // A client that goes away is its own affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn receive(
    authenticator: &ChannelAuthenticator,
    runner: &TurnRunner,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    Ok(match accept(authenticator, runner, &parts, body).await {
        Ok(()) => answer(StatusCode::ACCEPTED),
        Err(status) => answer(status),
    })
}

async fn accept(
    authenticator: &ChannelAuthenticator,
    runner: &TurnRunner,
    parts: &http::request::Parts,
    body: Incoming,
) -> Result<(), StatusCode> {
    let token = authenticator.authenticate(&parts.headers).await.map_err(|error| error.status())?;
    let body = Limited::new(body, token.body_limit()).collect().await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let activity = token.open(&body.to_bytes()).map_err(|error| error.status())?;
    runner.accept(&activity).await.map(drop).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
