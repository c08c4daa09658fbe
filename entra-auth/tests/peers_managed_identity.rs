//! Every source of managed identity next to MSAL Python, MSAL Node and azure-identity, unmodified, on loopback.
//!
//! Service Fabric is left out of this crate (docs: Clouds, hosts and identities). AKS has workload identity, which
//! `peers_grants` compares, and the identity of its nodes, which is IMDS.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod peers_support;

use std::{fs, path::Path};

use entra_auth::{
    ClaimsChallenge, ManagedIdentityCredential, ManagedIdentityId, TokenCredential, TokenRequest, settings::Settings,
};
use serde_json::{Value, json};

use self::peers_support::{
    Peer,
    compare::{Difference, differs, only_ours, only_theirs, problems},
    recorder::{CLIENT, Recorder, USER},
};

const RESOURCE: &str = "https://graph.microsoft.com";
const RESOURCE_ID: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/\
                           Microsoft.ManagedIdentity/userAssignedIdentities/name";

// What each library does at every request.

const ACCEPT: Difference = differs("* header accept", "application/json", "*/*", "nothing but JSON can be read");

const ID: Difference = only_theirs("* header x-ms-client-request-id", "(uuid)", "no platform documents it");

const METADATA: Difference =
    only_theirs("* header metadata", "true", "the header of IMDS, which this platform does not have");

const FORM: Difference =
    only_theirs("* header content-type", "application/x-www-form-urlencoded;charset=utf-8", "a GET has no content");

type Variables = Vec<(&'static str, String)>;

struct Host<'a> {
    recorder: &'a Recorder,
    variables: &'a Variables,
    arc_keys: Option<&'a Path>,
    /// Whether the token is refused afterwards, with a challenge.
    refused: bool,
}

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}"#;

impl Host<'_> {
    /// Asks this crate, then each library.
    async fn compare(&self, (id, selector): (ManagedIdentityId, Value), peers: &[(Peer, Vec<Difference>)]) {
        let known = |name: &str| self.variables.iter().find(|(known, _)| *known == name);
        let settings = Settings::from_lookup(|name: &str| known(name).map(|(_, value)| value.clone()));
        let mut builder = ManagedIdentityCredential::builder(id.clone()).settings(&settings);
        if let Some(folder) = self.arc_keys {
            builder = builder.arc_key_directory(folder);
        }
        let mut asked = json!({"resource": RESOURCE, "selector": selector});
        if self.refused {
            builder = builder.handles_claims_challenges();
            asked["capabilities"] = json!(["cp1"]);
            asked["claims"] = json!(CLAIMS);
        }
        let identity = builder.build().unwrap();
        let request = TokenRequest::new(format!("{RESOURCE}/.default").parse().unwrap());
        assert_eq!(identity.get_token(&request).await.unwrap().expose(), "token");
        if self.refused {
            let challenge = ClaimsChallenge::from_json(CLAIMS).unwrap();
            identity.get_token(&request.with_claims(challenge)).await.unwrap();
        }
        let ours = self.recorder.take();
        let mut all = Vec::new();
        for (peer, differences) in peers {
            let Some(theirs) = peer.token("managed_identity", &asked, self.variables).await else { continue };
            assert_eq!(theirs, "token");
            all.extend(problems(&format!("{id:?}, {peer:?}"), &ours, &self.recorder.take(), &[], differences));
        }
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
}

async fn compare(
    recorder: &Recorder,
    variables: &Variables,
    identity: (ManagedIdentityId, Value),
    arc_keys: Option<&Path>,
    peers: &[(Peer, Vec<Difference>)],
) {
    Host { recorder, variables, arc_keys, refused: false }.compare(identity, peers).await;
}

fn system() -> (ManagedIdentityId, Value) {
    (ManagedIdentityId::SystemAssigned, json!({}))
}

fn client_id() -> (ManagedIdentityId, Value) {
    (ManagedIdentityId::ClientId(CLIENT.parse().unwrap()), json!({"client_id": CLIENT}))
}

fn object_id() -> (ManagedIdentityId, Value) {
    (ManagedIdentityId::ObjectId(USER.parse().unwrap()), json!({"object_id": USER}))
}

fn resource_id() -> (ManagedIdentityId, Value) {
    (ManagedIdentityId::ResourceId(RESOURCE_ID.to_owned()), json!({"resource_id": RESOURCE_ID}))
}

#[tokio::test]
async fn imds() {
    let recorder = Recorder::plain().await;
    let path = "/metadata/identity/oauth2/token";
    let slash = differs("1 path", path, "/metadata/identity/oauth2/token/", "the documented path ends without a slash");
    let variables = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", recorder.base.clone())];
    for identity in [system(), client_id(), object_id(), resource_id()] {
        let peers = [
            (Peer::MsalPython, vec![ACCEPT, ID]),
            (Peer::MsalNode, vec![ACCEPT, ID, FORM, slash]),
            (Peer::AzureIdentity, vec![ACCEPT, ID]),
        ];
        compare(&recorder, &variables, identity, None, &peers).await;
    }
}

#[tokio::test]
async fn app_service_and_container_apps() {
    let recorder = Recorder::plain().await;
    let variables =
        vec![("IDENTITY_ENDPOINT", format!("{}/msi/token", recorder.base)), ("IDENTITY_HEADER", "header-1".to_owned())];
    for identity in [system(), client_id(), object_id(), resource_id()] {
        let peers = [
            (Peer::MsalPython, vec![ACCEPT, METADATA]),
            (Peer::MsalNode, vec![ACCEPT, FORM]),
            (Peer::AzureIdentity, vec![ACCEPT, METADATA, ID]),
        ];
        compare(&recorder, &variables, identity, None, &peers).await;
    }
}

/// App Service learns which token was refused, and what the caller can do. Of the libraries MSAL Node has fields for that.
#[tokio::test]
async fn app_service_after_a_refusal() {
    let recorder = Recorder::plain().await;
    let variables =
        vec![("IDENTITY_ENDPOINT", format!("{}/msi/token", recorder.base)), ("IDENTITY_HEADER", "header-1".to_owned())];
    let host = Host { recorder: &recorder, variables: &variables, arc_keys: None, refused: true };
    let refused = only_ours(
        "2 query token_sha256_to_refresh",
        "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0", // SHA-256 of "token"
        "the platform can renew only what it is told of; MSAL Node knows the field, and does not send it here",
    );
    host.compare(system(), &[(Peer::MsalNode, vec![ACCEPT, FORM, refused])]).await;
}

#[tokio::test]
async fn azure_ml() {
    let recorder = Recorder::plain().await;
    let variables =
        vec![("MSI_ENDPOINT", format!("{}/MSI/auth", recorder.base)), ("MSI_SECRET", "secret-1".to_owned())];
    for identity in [system(), client_id()] {
        let peers = [
            (Peer::MsalPython, vec![ACCEPT]),
            (Peer::MsalNode, vec![ACCEPT, FORM, METADATA]),
            (Peer::AzureIdentity, vec![ACCEPT, ID]),
        ];
        compare(&recorder, &variables, identity, None, &peers).await;
    }
}

#[tokio::test]
async fn cloud_shell() {
    let recorder = Recorder::plain().await;
    let variables = vec![("MSI_ENDPOINT", format!("{}/oauth2/token", recorder.base))];
    let plain = "application/x-www-form-urlencoded";
    let form = Difference { ours: Some(plain), reason: "this media type has no parameters", ..FORM };
    let peers = [(Peer::MsalNode, vec![ACCEPT, form]), (Peer::AzureIdentity, vec![ACCEPT, ID])];
    compare(&recorder, &variables, system(), None, &peers).await;
}

/// The libraries read the agent's key in its own folder only, so the folder must be there, or makeable.
struct AgentKey(std::path::PathBuf);

impl AgentKey {
    const FOLDER: &'static str = "/var/opt/azcmagent/tokens";

    fn new() -> Option<Self> {
        let path = Path::new(Self::FOLDER).join(format!("peers-{}.key", std::process::id()));
        let made = fs::create_dir_all(Self::FOLDER).and_then(|()| fs::write(&path, "key-1"));
        if let Err(error) = made {
            println!("skipped: the libraries read keys in {} only, which cannot be made here: {error}", Self::FOLDER);
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for AgentKey {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        // Only while they are empty.
        let _ = fs::remove_dir(Self::FOLDER).and_then(|()| fs::remove_dir("/var/opt/azcmagent"));
    }
}

#[tokio::test]
async fn azure_arc() {
    let Some(key) = AgentKey::new() else { return };
    let recorder = Recorder::plain().await;
    recorder.arc_key_is(key.0.to_str().unwrap());
    let variables = vec![
        ("IDENTITY_ENDPOINT", format!("{}/metadata/identity/oauth2/token", recorder.base)),
        ("IMDS_ENDPOINT", recorder.base.clone()),
    ];
    let folder = Some(Path::new(AgentKey::FOLDER));
    for identity in [system(), client_id(), object_id(), resource_id()] {
        let peers = [
            (Peer::MsalPython, vec![ACCEPT]),
            (Peer::MsalNode, vec![ACCEPT, FORM]),
            (Peer::AzureIdentity, vec![ACCEPT, ID]),
        ];
        compare(&recorder, &variables, identity, folder, &peers).await;
    }
}
