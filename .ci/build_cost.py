"""What each of the four crates costs who builds it: crates, CPU seconds, binary size, beside reqwest + tokio alone.

    python3 .ci/build_cost.py ../shared/perf/run6_build.py

Writes a hello-world a crate (default features, the built-in transport) into a temporary folder and hands each to the
script. Compiles everything anew for each: several minutes on two cores.
"""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES = ["entra-auth", "botframework-activity", "foundry-client", "teams-sso"]

HEAD = """use std::sync::Arc;
use entra_auth::{ConfidentialClient, HttpTransport, ReqwestTransport, Secret, TokenCredential, TokenRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = "11111111-1111-1111-1111-111111111111";
    let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new()?);
    let client = ConfidentialClient::builder(tenant.parse()?, tenant.parse()?, Secret::new("s")).build()?;
"""
CHANNEL = """
    use botframework_activity::{ChannelAuthenticator, ChannelKeys, ConnectorClient};
    let policy = entra_auth::TenantPolicy::Single(tenant.parse()?);
    let keys = ChannelKeys::fetched(Arc::clone(&transport));
    let authenticator = ChannelAuthenticator::builder(tenant.parse()?, policy, keys).build()?;
    println!("{:?}", authenticator.authenticate(&http::HeaderMap::new()).await.is_ok());
    let connector = ConnectorClient::builder(Arc::clone(&transport), Arc::new(client.clone())).build()?;
"""
BODIES = {
    "entra-auth": """
    let request = TokenRequest::new("https://graph.microsoft.com/.default".parse()?);
    println!("{:?} {transport:?}", client.get_token(&request).await.is_ok());
""",
    "botframework-activity": CHANNEL + """
    use botframework_activity::{Activity, ServiceUrl};
    let at = ServiceUrl::loopback_dev("http://localhost:1/_connector")?;
    println!("{:?}", connector.send(&at, &Activity::message("Hello.")).await.is_ok());
""",
    "foundry-client": """
    use foundry_client::{CreateResponse, FoundryClient};
    let foundry = FoundryClient::builder("https://resource.services.ai.azure.com/api/projects/project")
        .credential(Arc::new(client)).transport(transport).build()?;
    println!("{:?}", foundry.responses().stream(CreateResponse::new().text("Hi")).await.is_ok());
""",
    "teams-sso": CHANNEL + """
    use teams_sso::{Connection, SignIn, TokenServiceClient};
    let cloud = botframework_activity::ChannelCloud::Public;
    let tokens = TokenServiceClient::builder(cloud, Arc::new(client), transport).build()?;
    let sign_in = SignIn::builder(tokens, connector, authenticator.policy().clone())
        .connection(Connection::opaque("jira")).build()?;
    println!("{}", sign_in.connections().count());
""",
}


def consumer(folder, crate):
    """Writes the package and gives its folder."""
    names = sorted({"entra-auth", crate, *(["botframework-activity"] if crate == "teams-sso" else [])})
    needs = "".join(f'{name} = {{ path = "{ROOT / name}" }}\n' for name in names)
    package = folder / crate
    (package / "src").mkdir(parents=True)
    (package / "Cargo.toml").write_text(
        f'[package]\nname = "consumer"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n{needs}'
        'http = "1"\ntokio = { version = "1", features = ["rt-multi-thread", "macros"] }\n'
    )
    (package / "src" / "main.rs").write_text("#![allow(unused)]\n" + HEAD + BODIES[crate] + "    Ok(())\n}\n")
    # The versions that the workspace was tested with.
    (package / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    return package


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    wanted = sys.argv[2:] or CRATES
    with tempfile.TemporaryDirectory() as folder:
        for number, crate in enumerate(wanted):
            only = "baseline" if number == 0 else "none"
            package = consumer(pathlib.Path(folder), crate)
            print(f"\n{crate}:", flush=True)
            command = [sys.executable, sys.argv[1], "--only", only, "--ours", str(package)]
            subprocess.run(command, check=True)
            tree = ["cargo", "tree", "-d", "-e", "normal", "--manifest-path", str(package / "Cargo.toml")]
            print(subprocess.run(tree, check=True, capture_output=True, text=True).stdout)


main()
