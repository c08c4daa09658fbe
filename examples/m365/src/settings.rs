//! What `verdict` judges by.

use entra_auth::{ClientId, Clock, SystemClock, TenantId, settings::Settings};
use time::OffsetDateTime;
use url::Url;

/// The settings of both profiles. A profile without its settings is not configured.
#[derive(Debug)]
pub(crate) struct VerdictSettings {
    pub(crate) clock: VerdictClock,
    pub(crate) channel: Option<ChannelSettings>,
    pub(crate) entra: Option<EntraSettings>,
}

/// Profile `bf-channel`.
#[derive(Debug)]
pub(crate) struct ChannelSettings {
    pub(crate) app_id: ClientId,
    pub(crate) metadata_url: Option<Url>,
}

/// Profile `entra-v2`.
#[derive(Debug)]
pub(crate) struct EntraSettings {
    pub(crate) audience: String,
    pub(crate) tenant: TenantId,
    pub(crate) metadata_url: Option<Url>,
}

/// The time of `NOW`, or the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerdictClock(Option<OffsetDateTime>);

impl Clock for VerdictClock {
    fn now(&self) -> OffsetDateTime {
        self.0.unwrap_or_else(|| SystemClock.now())
    }
}

/// Reads the environment.
pub(crate) fn read() -> Result<VerdictSettings, String> {
    from(Settings::from_env())
}

fn from<L: Fn(&str) -> Option<String>>(mut settings: Settings<L>) -> Result<VerdictSettings, String> {
    let now = settings.lookup("NOW");
    let instant = now.map(|text| text.parse().ok().and_then(|now| OffsetDateTime::from_unix_timestamp(now).ok()));
    if instant == Some(None) {
        settings.problem("NOW is malformed: expected seconds since 1970, such as 1764000000");
    }
    let wants_channel = settings.is_set("BF_APP_ID") || settings.is_set("BF_METADATA_URL");
    let wants_entra = ["ENTRA_AUDIENCE", "ENTRA_TENANT", "ENTRA_METADATA_URL"].iter().any(|name| settings.is_set(name));
    if !wants_channel && !wants_entra {
        settings.problem("nothing to judge by: set BF_APP_ID for profile bf-channel (BF_METADATA_URL is optional)");
        settings.problem("or ENTRA_AUDIENCE and ENTRA_TENANT for profile entra-v2 (ENTRA_METADATA_URL is optional)");
    }
    let channel = wants_channel.then(|| {
        let app_id = settings.required("BF_APP_ID");
        let metadata_url = address(&mut settings, "BF_METADATA_URL");
        Some(ChannelSettings { app_id: app_id?, metadata_url: metadata_url? })
    });
    let entra = wants_entra.then(|| {
        let audience = settings.required("ENTRA_AUDIENCE");
        let tenant = settings.required("ENTRA_TENANT");
        let metadata_url = address(&mut settings, "ENTRA_METADATA_URL");
        Some(EntraSettings { audience: audience?, tenant: tenant?, metadata_url: metadata_url? })
    });
    let clock = VerdictClock(instant.flatten());
    settings
        .finish(|| Some(VerdictSettings { clock, channel: channel.flatten(), entra: entra.flatten() }))
        .map_err(|error| error.to_string())
}

/// Where keys are; the outer `None` means malformed.
#[allow(clippy::option_option)] // malformed and absent are different things
fn address<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, name: &str) -> Option<Option<Url>> {
    let Some(text) = settings.lookup(name) else { return Some(None) };
    let url = Url::parse(&text).ok();
    if url.is_none() {
        settings
            .problem(format!("{name} is malformed: expected a URL that begins with https://, or http:// on loopback"));
    }
    url.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<VerdictSettings, String> {
        let variables: Vec<_> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        from(Settings::from_lookup(move |name| variables.iter().find(|(key, _)| key == name).map(|(_, v)| v.clone())))
    }

    #[test]
    fn one_profile_is_enough_and_a_half_set_one_is_an_error() {
        let id = "22222222-2222-2222-2222-222222222222";
        let settings = read(&[("BF_APP_ID", id), ("NOW", "5")]).unwrap();
        assert!(settings.channel.is_some() && settings.entra.is_none());
        assert_eq!(settings.clock.now().unix_timestamp(), 5);
        let both = read(&[("BF_APP_ID", id), ("ENTRA_AUDIENCE", "a"), ("ENTRA_TENANT", id)]).unwrap();
        assert!(both.channel.is_some() && both.entra.is_some());
        for (variables, expected) in [
            (&[][..], &["BF_APP_ID", "ENTRA_AUDIENCE"][..]),
            (&[("BF_METADATA_URL", "http://127.0.0.1/")], &["BF_APP_ID is not set"]),
            (
                &[("ENTRA_AUDIENCE", "a"), ("NOW", "x"), ("BF_APP_ID", "x")],
                &["ENTRA_TENANT", "NOW", "BF_APP_ID is malformed"],
            ),
            (&[("BF_APP_ID", id), ("NOW", "99999999999999999")], &["NOW is malformed: expected seconds"]),
            (&[("BF_APP_ID", id), ("BF_METADATA_URL", "localhost")], &["BF_METADATA_URL is malformed: expected a URL"]),
        ] {
            let problem = read(variables).unwrap_err();
            assert!(expected.iter().all(|part| problem.contains(part)), "{problem}");
        }
    }
}
