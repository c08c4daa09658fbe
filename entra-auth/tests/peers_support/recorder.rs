//! A token service on loopback that answers everybody and keeps what each of them sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use entra_auth::{Clock as _, StaticKeys, SystemClock};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
pub const AGENT: &str = "33333333-3333-3333-3333-333333333333";
pub const USER: &str = "44444444-4444-4444-4444-444444444444";

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub form: Vec<(String, String)>,
}

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| &**value)
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().chain(&self.query).find(|(field, _)| field == name).map(|(_, value)| &**value)
    }
}

pub struct Recorder {
    /// Without a path and without a slash at the end.
    pub base: String,
    /// The certificate to trust, when it speaks TLS.
    pub certificate: Option<String>,
    pub keys: Arc<StaticKeys>,
    state: Arc<State>,
}

struct State {
    base: String,
    signer: rcgen::KeyPair,
    sent: Mutex<Vec<Sent>>,
    /// `nonce` and `code_challenge` of the last sign-in.
    sign_in: Mutex<(Option<String>, Option<String>)>,
    /// The file that Azure Arc's challenge names.
    arc_key: Mutex<Option<String>>,
}

impl Recorder {
    /// With TLS, as the MSALs insist.
    pub async fn tls() -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(Some(acceptor), Some(certified.cert.pem())).await
    }

    /// Without, as the identity endpoints of platforms are.
    pub async fn plain() -> Self {
        Self::start(None, None).await
    }

    async fn start(tls: Option<TlsAcceptor>, certificate: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let signer = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let der = rcgen::PublicKeyData::der_bytes(&signer);
        let (n, e) = (&der[der.len() - 5 - 256..der.len() - 5], &der[der.len() - 3..]);
        let jwk = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": URL_SAFE_NO_PAD.encode(n),
            "e": URL_SAFE_NO_PAD.encode(e), "issuer": format!("{base}/{TENANT}/v2.0")});
        let keys = Arc::new(StaticKeys::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap());
        let state = Arc::new(State {
            base: base.clone(),
            signer,
            sent: Mutex::default(),
            sign_in: Mutex::default(),
            arc_key: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, &state).await;
                            }
                        }
                        None => serve(socket, &state).await,
                    }
                });
            }
        });
        Self { base, certificate, keys, state }
    }

    pub fn arc_key_is(&self, path: &str) {
        *self.state.arc_key.lock().unwrap() = Some(path.to_owned());
    }

    /// What was sent since the last call, without the reading of documents that say where things are.
    pub fn take(&self) -> Vec<Sent> {
        let mut sent = std::mem::take(&mut *self.state.sent.lock().unwrap());
        sent.retain(|sent| !sent.path.contains("/.well-known/") && !sent.path.contains("/discovery/"));
        sent
    }

    /// A token of a user for `audience`, for On-Behalf-Of.
    pub fn user_token(&self, audience: &str) -> (Value, String) {
        let mut claims = self.state.user_claims(audience);
        claims["scp"] = json!("access_as_user");
        let token = self.state.sign(&claims);
        (claims, token)
    }
}

async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    let sent = loop {
        match socket.read(&mut chunk).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
            _ => return,
        }
        if let Some(sent) = parse(&bytes) {
            break sent;
        }
    };
    let (status, headers, body) = state.answer(&sent);
    state.sent.lock().unwrap().push(sent);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\
         {headers}\r\n{body}"
    );
    let _ = socket.write_all(text.as_bytes()).await;
    let _ = socket.shutdown().await;
}

fn parse(bytes: &[u8]) -> Option<Sent> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut line = lines.next()?.split(' ');
    let (method, target) = (line.next()?.to_owned(), line.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    if body.len() < length {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = |text: &str| url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    Some(Sent { method, path: path.to_owned(), query: pairs(query), headers, form: pairs(body) })
}

impl State {
    fn answer(&self, sent: &Sent) -> (u16, String, String) {
        let ok = |body: Value| (200, String::new(), body.to_string());
        match sent.path.trim_end_matches('/') {
            path if path.ends_with("/.well-known/openid-configuration") => ok(self.discovery()),
            path if path.ends_with("/oauth2/v2.0/authorize") => ok(self.authorized(sent)),
            path if path.ends_with("/devicecode") => ok(json!({
                "device_code": "device", "user_code": "USER", "verification_uri": "https://microsoft.com/devicelogin",
                "expires_in": 900, "interval": 1, "message": "sign in",
            })),
            path if path.ends_with("/oauth2/v2.0/token") => ok(self.token(sent)),
            // Azure Arc proves that it is asked on its own machine.
            _ if self.arc_key.lock().unwrap().is_some() && sent.header("authorization").is_none() => {
                let file = self.arc_key.lock().unwrap().clone().unwrap();
                (401, format!("www-authenticate: Basic realm={file}\r\n"), json!({"error": "challenge"}).to_string())
            }
            _ => ok(self.platform_token(sent)),
        }
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}/{TENANT}/{path}", self.base);
        json!({
            "issuer": at("v2.0"), "authorization_endpoint": at("oauth2/v2.0/authorize"),
            "token_endpoint": at("oauth2/v2.0/token"), "device_authorization_endpoint": at("oauth2/v2.0/devicecode"),
            "jwks_uri": at("discovery/v2.0/keys"), "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"], "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// The browser: signs in and comes back with what the application would get.
    fn authorized(&self, sent: &Sent) -> Value {
        let text = |name: &str| sent.field(name).map(str::to_owned);
        *self.sign_in.lock().unwrap() = (text("nonce"), text("code_challenge"));
        json!({"code": "the-code", "state": text("state")})
    }

    fn token(&self, sent: &Sent) -> Value {
        let grant = sent.field("grant_type").unwrap_or_default();
        let client = sent.field("client_id").unwrap_or_default();
        let (nonce, challenge) = std::mem::take(&mut *self.sign_in.lock().unwrap());
        if let (Some(challenge), Some(verifier)) = (&challenge, sent.field("code_verifier")) {
            let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, verifier.as_bytes());
            assert_eq!(&URL_SAFE_NO_PAD.encode(digest), challenge, "PKCE, RFC 7636");
        }
        // The legs of an agent are told apart by what they hold, so that both sides send the same.
        let token = match (grant, sent.field("fmi_path")) {
            ("client_credentials", Some(_)) => "vouched",
            ("client_credentials", None) if client == AGENT => "agent",
            _ => "token",
        };
        let mut answer =
            json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token});
        if grant != "client_credentials" {
            let mut claims = self.user_claims(client);
            if let Some(nonce) = nonce {
                claims["nonce"] = json!(nonce);
            }
            let info = json!({"uid": USER, "utid": TENANT}).to_string();
            answer["scope"] = json!(sent.field("scope").unwrap_or_default());
            answer["refresh_token"] = json!("refresh-2");
            answer["id_token"] = json!(self.sign(&claims));
            answer["client_info"] = json!(URL_SAFE_NO_PAD.encode(info));
        }
        answer
    }

    fn platform_token(&self, sent: &Sent) -> Value {
        let resource = sent.field("resource").unwrap_or_default();
        let mut answer = json!({
            "access_token": "token", "token_type": "Bearer", "resource": resource, "client_id": CLIENT,
            "expires_on": (SystemClock.now().unix_timestamp() + 86399).to_string(), "expires_in": "86399",
        });
        for name in ["object_id", "msi_res_id"] {
            if let Some(value) = sent.field(name) {
                answer[name] = json!(value);
            }
        }
        answer
    }

    fn user_claims(&self, audience: &str) -> Value {
        let now = SystemClock.now().unix_timestamp();
        json!({
            "aud": audience, "iss": format!("{}/{TENANT}/v2.0", self.base), "iat": now - 5, "nbf": now - 5,
            "exp": now + 3600, "tid": TENANT, "oid": USER, "sub": "subject", "ver": "2.0", "name": "Ada",
            "preferred_username": "ada@contoso.example", "azp": CLIENT,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        use rcgen::SigningKey as _;
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": "k"}).to_string();
        let mut jwt = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.signer.sign(jwt.as_bytes()).unwrap();
        jwt.push('.');
        jwt.push_str(&URL_SAFE_NO_PAD.encode(signature));
        jwt
    }
}

/// The certificate as `x5c` writes it.
pub fn der_text(der: &[u8]) -> String {
    STANDARD.encode(der)
}

/// Fields by name; a name that occurs twice is an error.
pub fn by_name(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter was sent twice: {pairs:?}");
    map
}
