"""What each of the four crates costs who builds it: crates, CPU seconds, binary size, beside reqwest + tokio alone.

    python3 .ci/build_cost.py ../shared/perf/run6_build.py [--rounds N] [CONSUMER ...]

Writes a hello-world for each crate (default features, the built-in transport, nothing of entra-auth that the crate does
not need) and two for the types alone into a temporary folder and hands each to the script, in turn with the baseline.
Prints the medians of the rounds (3 unless told) at the end. Compiles everything anew each time: about six minutes a round
and consumer on two cores, so leave the machine alone meanwhile.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES = ["entra-auth", "botframework-activity", "foundry-client", "teams-sso"]
TYPES = ["botframework-activity types", "foundry-client types"]

PREAMBLE = """use std::sync::Arc;
use entra_auth::{HttpTransport, ReqwestTransport, TokenCredential};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = "11111111-1111-1111-1111-111111111111";
    let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new()?);
"""
ACQUIRE = """
    use entra_auth::{ConfidentialClient, Secret};
    let credential = Arc::new(
        ConfidentialClient::builder(tenant.parse()?, tenant.parse()?, Secret::new("s")).build()?);
"""
FIXED = """
    let credential = Arc::new(entra_auth::StaticCredential::new("token")?);
"""
CHANNEL = """
    use botframework_activity::{ChannelAuthenticator, ChannelKeys, ConnectorClient};
    let policy = entra_auth::TenantPolicy::Single(tenant.parse()?);
    let keys = ChannelKeys::fetched(Arc::clone(&transport));
    let authenticator = ChannelAuthenticator::builder(tenant.parse()?, policy, keys).build()?;
    println!("{:?}", authenticator.authenticate(&http::HeaderMap::new()).await.is_ok());
    let connector = ConnectorClient::builder(Arc::clone(&transport), credential.clone()).build()?;
"""
BODIES = {
    "entra-auth": PREAMBLE + ACQUIRE + """
    use entra_auth::TokenRequest;
    let request = TokenRequest::new("https://graph.microsoft.com/.default".parse()?);
    println!("{:?} {transport:?}", credential.get_token(&request).await.is_ok());
    Ok(())
}
""",
    "botframework-activity": PREAMBLE + FIXED + CHANNEL + """
    use botframework_activity::{Activity, ServiceUrl};
    let at = ServiceUrl::loopback_dev("http://localhost:1/_connector")?;
    println!("{:?}", connector.send(&at, &Activity::message("Hello.")).await.is_ok());
    Ok(())
}
""",
    "foundry-client": PREAMBLE + FIXED + """
    use foundry_client::{CreateResponse, FoundryClient};
    let foundry = FoundryClient::builder("https://resource.services.ai.azure.com/api/projects/project")
        .credential(credential).transport(transport).build()?;
    println!("{:?}", foundry.responses().stream(CreateResponse::new().text("Hi")).await.is_ok());
    Ok(())
}
""",
    "teams-sso": PREAMBLE + ACQUIRE + CHANNEL + """
    use teams_sso::{Connection, SignIn, TokenServiceClient};
    let cloud = botframework_activity::ChannelCloud::Public;
    let tokens = TokenServiceClient::builder(cloud, credential, transport).build()?;
    let sign_in = SignIn::builder(tokens, connector, authenticator.policy().clone())
        .connection(Connection::opaque("jira")).build()?;
    println!("{}", sign_in.connections().count());
    Ok(())
}
""",
    "botframework-activity types": """
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let activity = botframework_activity::Activity::from_json(br#"{"type":"message"}"#)?;
    println!("{}", activity.to_json()?.len());
    Ok(())
}
""",
    "foundry-client types": """
use foundry_client::{ResponseEvent, SseFrame};

fn main() {
    let frame = SseFrame::new(Some("response.done"), bytes::Bytes::from_static(b"{}"));
    println!("{}", ResponseEvent::from_frame(frame).is_ok());
}
""",
}


def needs(name):
    """The crates that a consumer names, and whether with their default features."""
    crate, _, types = name.partition(" ")
    if types:
        return {crate: "default-features = false"}
    fixed = crate in ("botframework-activity", "foundry-client")
    crates = {"entra-auth": 'default-features = false, features = ["reqwest"]' if fixed else "", crate: ""}
    if crate == "teams-sso":
        crates["botframework-activity"] = ""
    return crates


def consumer(folder, name):
    """Writes the package and gives its folder."""
    lines = [f'{crate} = {{ path = "{ROOT / crate}"{how and ", " + how} }}\n' for crate, how in needs(name).items()]
    if name in CRATES:
        lines += ['http = "1"\n', 'tokio = { version = "1", features = ["rt-multi-thread", "macros"] }\n']
    if name == "foundry-client types":
        lines.append('bytes = "1"\n')
    package = folder / name.replace(" ", "-")
    (package / "src").mkdir(parents=True)
    (package / "Cargo.toml").write_text(
        '[package]\nname = "consumer"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n' + "".join(lines)
    )
    (package / "src" / "main.rs").write_text("#![allow(unused)]\n" + BODIES[name])
    # The versions that the workspace was tested with.
    (package / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    return package


def measure(script, package, rows):
    """One build of the baseline, one of the package."""
    rows.unlink(missing_ok=True)
    command = [sys.executable, script, "--only", "baseline", "--ours", str(package), "--json", str(rows)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    baseline, ours = map(json.loads, rows.read_text().splitlines())
    if "error" in ours:
        sys.exit(f"{package.name}: {ours['error']}")
    return baseline, ours


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("script")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("consumers", nargs="*", default=CRATES + TYPES)
    chosen = arguments.parse_intermixed_args()
    print("| consumer | crates | CPU s | of the baseline | stripped KB over it |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in chosen.consumers:
            package = consumer(folder, name)
            tree = ["cargo", "tree", "-d", "-e", "normal", "--manifest-path", str(package / "Cargo.toml")]
            twice = subprocess.run(tree, check=True, capture_output=True, text=True).stdout
            if "nothing to print" not in twice and twice.strip():
                sys.exit(f"{name} builds a crate twice:\n{twice}")
            pairs = [measure(chosen.script, package, folder / "rows.json") for _ in range(chosen.rounds)]
            ratio = statistics.median(ours["cpu_s"] / base["cpu_s"] for base, ours in pairs)
            cpu = statistics.median(ours["cpu_s"] for _, ours in pairs)
            base, ours = pairs[0]
            over = ours["stripped_kb"] - base["stripped_kb"]
            print(f"| {name} | {ours['crates']} of {base['crates']} | {cpu:.1f} | {ratio:.2f} | {over} |", flush=True)


main()
