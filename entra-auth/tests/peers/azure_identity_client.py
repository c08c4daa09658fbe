"""Asks azure-identity for one token: python azure_identity_client.py SCENARIO < settings.json; prints one JSON line."""

import json
import sys

import requests
from azure import identity
from azure.core.pipeline.transport import RequestsTransport

scenario = sys.argv[1]
s = json.load(sys.stdin)
options = {}
if "ca" in s:
    options = {"authority": s["base"], "disable_instance_discovery": True, "connection_verify": s["ca"]}
who = {"tenant_id": s.get("tenant"), "client_id": s.get("client_id")}


def token(credential):
    answer = credential.get_token(*s["scopes"], **({"enable_cae": True} if s.get("capabilities") else {}))
    return answer.token


def certificate(chain):
    return identity.CertificateCredential(
        certificate_path=s["certificate"], send_certificate_chain=chain, **who, **options
    )


def code():
    # This library has no authorize URL of its own; the browser's part is that of a plain web application.
    url = f"{s['base']}/{s['tenant']}/oauth2/v2.0/authorize"
    query = {"client_id": s["client_id"], "response_type": "code", "redirect_uri": s["redirect_uri"]}
    answer = requests.get(url, params={**query, "scope": " ".join(s["scopes"])}, verify=s["ca"], timeout=20).json()
    return token(
        identity.AuthorizationCodeCredential(
            authorization_code=answer["code"], redirect_uri=s["redirect_uri"], client_secret=s["secret"], **who, **options
        )
    )


def managed_identity():
    selector = dict(s.get("selector", {}))
    client_id = selector.pop("client_id", None)
    transport = RequestsTransport(session=requests.Session(), use_env_settings=False)
    transport.session.trust_env = False
    credential = identity.ManagedIdentityCredential(client_id=client_id, identity_config=selector or None, transport=transport)
    return credential.get_token(s["resource"] + "/.default").token


scenarios = {
    "secret": lambda: token(identity.ClientSecretCredential(client_secret=s["secret"], **who, **options)),
    "certificate": lambda: token(certificate(True)),
    "certificate_sha1": lambda: token(certificate(False)),
    "assertion": lambda: token(identity.WorkloadIdentityCredential(token_file_path=s["token_file"], **who, **options)),
    "on_behalf_of": lambda: token(
        identity.OnBehalfOfCredential(client_secret=s["secret"], user_assertion=s["assertion"], **who, **options)
    ),
    "code": code,
    "device": lambda: token(identity.DeviceCodeCredential(prompt_callback=lambda *_: None, **who, **options)),
    "managed_identity": managed_identity,
}
try:
    print(json.dumps({"token": scenarios[scenario]()}))
except Exception as error:  # whatever it is, the test shows it
    print(json.dumps({"error": f"{type(error).__name__} {error}"}))
