"""MSAL Python, unmodified, signs users in at the sandbox: python msal_sign_in.py < settings.json; one JSON line a step."""

import json
import sys
from urllib.parse import parse_qsl, urlsplit

import msal
import requests

s = json.load(sys.stdin)


def done(step, **more):
    print(json.dumps({"step": step, **more}), flush=True)


def choose(flow, user):
    """The browser's part: a button of the sign-in page."""
    address = urlsplit(flow["auth_uri"])
    fields = dict(parse_qsl(address.query), sandbox_user=user)
    page = address._replace(query="").geturl()
    answer = requests.post(page, fields, allow_redirects=False, verify=s["ca"], timeout=20)
    assert answer.status_code == 302, (answer.status_code, answer.text)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def claims(result):
    assert "access_token" in result, result
    return result["id_token_claims"]


def confidential(tenant):
    return msal.ConfidentialClientApplication(
        s["web"], client_credential=s["secret"], authority=f"{s['base']}/{tenant}", instance_discovery=False, verify=s["ca"]
    )


# Authorization code: one tenant, then the path for all.
app = confidential(s["tenant"])
flow = app.initiate_auth_code_flow(["User.Read"], redirect_uri=s["redirect_uri"])
answer = choose(flow, s["user"])
result = app.acquire_token_by_auth_code_flow(flow, answer)
assert claims(result)["oid"] == s["user"] and claims(result)["tid"] == s["tenant"], result
assert len(claims(result)["groups"]) == 2
again = app.acquire_token_by_auth_code_flow(flow, answer)
assert 54005 in again["error_codes"], again
done("code", scope=result["scope"])

account = app.get_accounts()[0]
silent = app.acquire_token_silent(["Files.Read"], account)
assert silent and "access_token" in silent, silent
done("refresh")

organizations = confidential("organizations")
flow = organizations.initiate_auth_code_flow(["User.Read"], redirect_uri=s["redirect_uri"])
result = organizations.acquire_token_by_auth_code_flow(flow, choose(flow, s["other_user"]))
assert claims(result)["tid"] == s["other_tenant"], result
done("organizations")

# Device code.
public = msal.PublicClientApplication(
    s["cli"], authority=f"{s['base']}/organizations", instance_discovery=False, verify=s["ca"]
)
flow = public.initiate_device_flow(["User.Read"])
assert flow["user_code"] in flow["message"], flow
fields = {"code": flow["user_code"], "user": s["user"]}
page = requests.post(flow["verification_uri"], fields, verify=s["ca"], timeout=20)
assert "You have signed in" in page.text, page.text
assert claims(public.acquire_token_by_device_flow(flow))["oid"] == s["user"]
done("device")
