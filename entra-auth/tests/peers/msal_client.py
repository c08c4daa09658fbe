"""Asks MSAL Python for one token: python msal_client.py SCENARIO < settings.json; prints what came as one JSON line."""

import json
import sys

import msal
import requests

scenario = sys.argv[1]
s = json.load(sys.stdin)
EXCHANGE = "api://AzureADTokenExchange/.default"


def application(credential, client_id=None):
    return msal.ConfidentialClientApplication(
        client_id or s["client_id"],
        client_credential=credential,
        authority=f"{s['base']}/{s['tenant']}",
        instance_discovery=False,
        verify=s["ca"],
        client_capabilities=s.get("capabilities"),
    )


def certificate(chain):
    pem = open(s["certificate"]).read()
    key = pem[pem.index("-----BEGIN PRIVATE KEY") :][: pem.index("-----END PRIVATE KEY-----") + 26]
    leaf = pem[pem.index("-----BEGIN CERTIFICATE") :]
    credential = {"private_key": key, "public_certificate": leaf} if chain else {"private_key": key, "thumbprint": s["thumbprint"]}
    if chain == "sha256":
        credential = {"private_key": key, "public_certificate": leaf}
    return credential


def code():
    client = application(s["secret"])
    flow = client.initiate_auth_code_flow(s["scopes"], redirect_uri=s["redirect_uri"])
    # The browser's part.
    answer = requests.get(flow["auth_uri"], verify=s["ca"], timeout=20).json()
    return client.acquire_token_by_auth_code_flow(flow, answer)


def device():
    client = msal.PublicClientApplication(
        s["client_id"], authority=f"{s['base']}/{s['tenant']}", instance_discovery=False, verify=s["ca"]
    )
    return client.acquire_token_by_device_flow(client.initiate_device_flow(s["scopes"]))


def agent_user():
    blueprint = application(s["secret"])
    t1 = blueprint.acquire_token_for_client([EXCHANGE], fmi_path=s["agent"])["access_token"]
    agent = application({"client_assertion": t1}, s["agent"])
    t2 = agent.acquire_token_for_client([EXCHANGE])["access_token"]
    return agent.acquire_token_by_user_federated_identity_credential(s["scopes"], t2, user_object_id=s["user"])


def agent_on_behalf_of():
    blueprint = application(s["secret"])
    t1 = blueprint.acquire_token_for_client([EXCHANGE], fmi_path=s["agent"])["access_token"]
    return application({"client_assertion": t1}, s["agent"]).acquire_token_on_behalf_of(s["assertion"], s["scopes"])


def managed_identity():
    selector = s.get("selector", {})
    identity = msal.UserAssignedManagedIdentity(**selector) if selector else msal.SystemAssignedManagedIdentity()
    session = requests.Session()
    session.trust_env = False
    return msal.ManagedIdentityClient(identity, http_client=session).acquire_token_for_client(resource=s["resource"])


def twice(ask):
    ask()
    return ask()


answer = {
    "secret": lambda: application(s["secret"]).acquire_token_for_client(s["scopes"]),
    "challenge": lambda: application(s["secret"]).acquire_token_for_client(s["scopes"], claims_challenge=s["claims"]),
    "certificate": lambda: application(certificate(True)).acquire_token_for_client(s["scopes"]),
    "certificate_sha1": lambda: application(certificate(False)).acquire_token_for_client(s["scopes"]),
    "assertion": lambda: application({"client_assertion": lambda: open(s["token_file"]).read()}).acquire_token_for_client(s["scopes"]),
    "on_behalf_of": lambda: application(s["secret"]).acquire_token_on_behalf_of(s["assertion"], s["scopes"]),
    "code": code,
    "refresh": lambda: application(s["secret"]).acquire_token_by_refresh_token(s["refresh_token"], s["scopes"]),
    "device": device,
    "agent_user": agent_user,
    "agent_on_behalf_of": agent_on_behalf_of,
    "managed_identity": managed_identity,
}[scenario]()
print(json.dumps({"token": answer.get("access_token"), "error": answer.get("error_description") or answer.get("error")}))
