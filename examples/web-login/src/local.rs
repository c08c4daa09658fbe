//! The application beside a sandbox cloud in the same process.

use std::{collections::HashMap, process::ExitCode};

use entra_auth::settings::Settings;
use m365_sandbox::{
    Sandbox,
    constants::{
        HOME_TENANT, RESOURCE_TENANT, SERVICE_APP_ID, SERVICE_APP_SECRET, SERVICE_RESOURCE, WEB_APP_ID, WEB_APP_SECRET,
    },
};

use crate::{Arguments, fail, misconfigured, serve, settings};

/// Whether the sandbox stands in: nothing is set, nothing real is to be served, and the port is on this machine only.
pub(crate) fn wanted(arguments: &Arguments) -> Result<bool, String> {
    let mut environment = Settings::from_env();
    if arguments.serve || !settings::is_blank(&environment) {
        return Ok(false);
    }
    let Some(listen) = settings::listen(&mut environment) else {
        return Err(environment.finish(|| Some(())).err().map_or_else(String::new, |error| error.to_string()));
    };
    if !listen.ip().is_loopback() {
        return Err(format!(
            "BIND is {}: the sandbox runs on a loopback address only; set WEB_CLIENT_ID and SERVICE_CLIENT_ID for a real application",
            listen.ip()
        ));
    }
    Ok(true)
}

/// Starts the cloud, serves until Ctrl-C, and stops both.
pub(crate) async fn run() -> ExitCode {
    let sandbox = match Sandbox::builder().start().await {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(&format!("the sandbox could not be started: {error}")),
    };
    let mut stand_in: HashMap<&str, String> = sandbox.settings().into_iter().collect();
    stand_in.extend([
        ("WEB_CLIENT_ID", WEB_APP_ID.to_owned()),
        ("WEB_CLIENT_SECRET", WEB_APP_SECRET.to_owned()),
        ("SERVICE_CLIENT_ID", SERVICE_APP_ID.to_owned()),
        ("SERVICE_CLIENT_SECRET", SERVICE_APP_SECRET.to_owned()),
        ("SERVICE_API_SCOPE", format!("{SERVICE_RESOURCE}/access_as_user")),
        ("ALLOWED_TENANT_IDS", format!("{HOME_TENANT} {RESOURCE_TENANT}")),
    ]);
    let environment = Settings::from_env();
    // What is set outside wins, so that a single setting can be tried out.
    let lookup = |name: &str| environment.lookup(name).or_else(|| stand_in.get(name).cloned());
    let config = match settings::read(Settings::from_lookup(lookup)) {
        Ok(config) => config,
        Err(problems) => return misconfigured(&problems.to_string()),
    };
    eprintln!("sandbox: a Microsoft cloud on {}, for trying out only", sandbox.base_url());
    let code = serve(config, true).await;
    sandbox.stop().await;
    code
}
