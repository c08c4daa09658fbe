//! A sandbox and a client of its project.

use std::sync::Arc;

use entra_auth::{Body, HttpTransport, ReqwestTransport, StaticCredential, TokenCredential};
use foundry_client::{FoundryClient, FoundryClientBuilder};
use m365_sandbox::{Sandbox, constants};

pub(crate) struct Cloud {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: FoundryClient,
    pub(crate) credential: Arc<dyn TokenCredential>,
}

pub(crate) async fn cloud() -> Cloud {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let token = token(&sandbox, constants::BOT_APP_ID, constants::BOT_APP_SECRET).await;
    let credential: Arc<dyn TokenCredential> = Arc::new(StaticCredential::new(token).unwrap());
    let client = builder(&sandbox).credential(Arc::clone(&credential)).build().unwrap();
    Cloud { sandbox, client, credential }
}

/// A client of the project, without a credential.
pub(crate) fn builder(sandbox: &Sandbox) -> FoundryClientBuilder {
    let settings = sandbox.settings();
    let endpoint = settings.iter().find(|(name, _)| *name == "FOUNDRY_PROJECT_ENDPOINT").unwrap().1.clone();
    FoundryClient::builder(endpoint).transport(Arc::new(ReqwestTransport::new().unwrap()))
}

/// An app-only token, in the way any client gets one.
pub(crate) async fn token(sandbox: &Sandbox, app: &str, secret: &str) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let form = format!(
        "grant_type=client_credentials&client_id={app}&client_secret={}&scope={}",
        encode(secret),
        encode(&format!("{}/.default", constants::FOUNDRY_RESOURCE)),
    );
    let url = format!("{}/entra/{}/oauth2/v2.0/token", sandbox.base_url(), constants::RESOURCE_TENANT);
    let request = http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Body::from(bytes::Bytes::from(form))).unwrap();
    let reply = ReqwestTransport::new().unwrap().send(request).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&reply.into_body().collect(65_536).await.unwrap()).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}
