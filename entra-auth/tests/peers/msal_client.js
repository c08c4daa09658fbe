// Asks MSAL Node for one token: node msal_client.js SCENARIO < settings.json; prints what came as one JSON line.
"use strict";

const fs = require("node:fs");
const msal = require(`${process.env.PEERS_NODE_MODULES}/@azure/msal-node`);

const scenario = process.argv[2];
const s = JSON.parse(fs.readFileSync(0, "utf8"));
const EXCHANGE = "api://AzureADTokenExchange/.default";

function configuration(credential, clientId = s.client_id) {
  const auth = {
    clientId,
    authority: `${s.base}/${s.tenant}`,
    knownAuthorities: [new URL(s.base).host],
    clientCapabilities: s.capabilities,
    ...credential,
  };
  return { auth };
}

const application = (credential, clientId) => new msal.ConfidentialClientApplication(configuration(credential, clientId));
const secret = () => application({ clientSecret: s.secret });

function certificate() {
  const pem = fs.readFileSync(s.certificate, "utf8");
  const part = (name) => pem.match(new RegExp(`-----BEGIN ${name}-----[^-]*-----END ${name}-----\n`))[0];
  return {
    clientCertificate: {
      thumbprintSha256: s.thumbprint_sha256,
      privateKey: part("PRIVATE KEY"),
      x5c: part("CERTIFICATE"),
    },
  };
}

const open = () => new msal.PublicClientApplication(configuration({}));

async function code() {
  const client = s.secret ? secret() : open();
  const pkce = await new msal.CryptoProvider().generatePkceCodes();
  const request = { scopes: s.scopes, redirectUri: s.redirect_uri, nonce: new msal.CryptoProvider().createNewGuid() };
  const url = await client.getAuthCodeUrl({
    ...request,
    state: new msal.CryptoProvider().createNewGuid(),
    codeChallenge: pkce.challenge,
    codeChallengeMethod: "S256",
  });
  // The browser's part.
  const answer = await (await fetch(url)).json();
  return client.acquireTokenByCode({ ...request, code: answer.code, codeVerifier: pkce.verifier });
}

async function agent() {
  const vouched = await secret().acquireTokenByClientCredential({ scopes: [EXCHANGE], fmiPath: s.agent });
  return application({ clientAssertion: vouched.accessToken }, s.agent);
}

async function agentUser() {
  const client = await agent();
  const own = await client.acquireTokenByClientCredential({ scopes: [EXCHANGE] });
  return client.acquireTokenByUserFederatedIdentityCredential({
    scopes: s.scopes,
    userObjectId: s.user,
    username: s.username,
    assertion: own.accessToken,
  });
}

async function managedIdentity() {
  const names = { client_id: "userAssignedClientId", object_id: "userAssignedObjectId", resource_id: "userAssignedResourceId" };
  const ids = Object.fromEntries(Object.entries(s.selector ?? {}).map(([name, value]) => [names[name], value]));
  const client = new msal.ManagedIdentityApplication({
    managedIdentityIdParams: Object.keys(ids).length ? ids : undefined,
    clientCapabilities: s.capabilities,
  });
  const answer = await client.acquireToken({ resource: s.resource });
  return s.claims ? client.acquireToken({ resource: s.resource, claims: s.claims }) : answer;
}

const scenarios = {
  secret: () => secret().acquireTokenByClientCredential({ scopes: s.scopes }),
  challenge: () => secret().acquireTokenByClientCredential({ scopes: s.scopes, claims: s.claims }),
  certificate: () => application(certificate()).acquireTokenByClientCredential({ scopes: s.scopes }),
  assertion: () =>
    application({ clientAssertion: async () => fs.readFileSync(s.token_file, "utf8") }).acquireTokenByClientCredential({
      scopes: s.scopes,
    }),
  on_behalf_of: () => secret().acquireTokenOnBehalfOf({ scopes: s.scopes, oboAssertion: s.assertion }),
  code,
  refresh: () => secret().acquireTokenByRefreshToken({ scopes: s.scopes, refreshToken: s.refresh_token }),
  device: () => open().acquireTokenByDeviceCode({ scopes: s.scopes, deviceCodeCallback: () => {} }),
  agent_user: agentUser,
  agent_app: async () => (await agent()).acquireTokenByClientCredential({ scopes: s.scopes }),
  agent_on_behalf_of: async () =>
    (await agent()).acquireTokenOnBehalfOf({ scopes: s.scopes, oboAssertion: s.assertion }),
  managed_identity: managedIdentity,
};

scenarios[scenario]().then(
  (answer) => console.log(JSON.stringify({ token: answer?.accessToken })),
  (error) => console.log(JSON.stringify({ error: `${error.name} ${error.errorCode} ${error.message}` })),
);
