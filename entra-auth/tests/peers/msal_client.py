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


def public():
    return msal.PublicClientApplication(
        s["client_id"], authority=f"{s['base']}/{s['tenant']}", instance_discovery=False, verify=s["ca"]
    )


def certificate(chain):
    pem = open(s["certificate"]).read()
    at = pem.index("-----BEGIN CERTIFICATE")
    named = {"public_certificate": pem[at:]} if chain else {"thumbprint": s["thumbprint"]}
    return {"private_key": pem[:at], **named}


def code():
    client = application(s["secret"]) if s["secret"] else public()
    flow = client.initiate_auth_code_flow(s["scopes"], redirect_uri=s["redirect_uri"])
    # The browser's part.
    answer = requests.get(flow["auth_uri"], verify=s["ca"], timeout=20).json()
    return client.acquire_token_by_auth_code_flow(flow, answer)


def device():
    client = public()
    return client.acquire_token_by_device_flow(client.initiate_device_flow(s["scopes"]))


def agent():
    vouched = application(s["secret"]).acquire_token_for_client([EXCHANGE], fmi_path=s["agent"])["access_token"]
    return application({"client_assertion": vouched}, s["agent"])


def agent_user():
    client = agent()
    own = client.acquire_token_for_client([EXCHANGE])["access_token"]
    user = {"user_object_id": s["user"]} if "user" in s else {"username": s["username"]}
    return client.acquire_token_by_user_federated_identity_credential(s["scopes"], own, **user)


def managed_identity():
    selector = s.get("selector", {})
    identity = msal.UserAssignedManagedIdentity(**selector) if selector else msal.SystemAssignedManagedIdentity()
    session = requests.Session()
    session.trust_env = False
    return msal.ManagedIdentityClient(identity, http_client=session).acquire_token_for_client(resource=s["resource"])


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
    "agent_app": lambda: agent().acquire_token_for_client(s["scopes"]),
    "agent_on_behalf_of": lambda: agent().acquire_token_on_behalf_of(s["assertion"], s["scopes"]),
    "managed_identity": managed_identity,
}[scenario]()
print(json.dumps({"token": answer.get("access_token"), "error": answer.get("error_description") or answer.get("error")}))
