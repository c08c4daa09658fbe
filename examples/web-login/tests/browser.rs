//! The application in headless Chromium, unmodified, by npm `playwright-core`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use m365_sandbox::Sandbox;
use support::{Application, node, program};

#[tokio::test]
async fn people_sign_in_and_out_and_see_their_own_stories() {
    if program("chromium").is_none() {
        return;
    }
    let sandbox = Sandbox::builder().start().await.unwrap();
    let application = Application::serve(&sandbox, &[]).await;
    let Some(said) = node("stories.mjs", &[application.base.as_str()]).await else { return };
    let steps: Vec<&str> = said.lines().filter(|line| line.starts_with("{\"step\"")).collect();
    assert_eq!(steps.len(), 8, "{said}\n{}", application.log());
    let log = application.log();
    assert!(!log.contains("eyJ") && !log.contains("code="), "{log}");
}
