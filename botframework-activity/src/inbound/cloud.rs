use entra_auth::Cloud;

/// The connector of Teams in the worldwide cloud.
pub(super) const PUBLIC_TEAMS: &str = "smba.trafficmanager.net";
/// That of the US government community cloud, which has it beside the worldwide one.
pub(super) const GCC_TEAMS: &str = "smba.infra.gcc.teams.microsoft.com";

/// The cloud a bot is registered in: fixes who signs its requests and where its answers may go.
///
/// The values are those of
/// [Bot Connector authentication](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelCloud {
    /// The worldwide cloud.
    #[default]
    Public,
    /// US government community cloud (GCC): signed as in [`ChannelCloud::Public`], with Teams hosts of its own.
    Gcc,
    /// US government, GCC High.
    GccHigh,
    /// US government, Department of Defense.
    Dod,
    /// China, operated by 21Vianet.
    China,
}

impl ChannelCloud {
    const ALL: [Self; 5] = [Self::Public, Self::Gcc, Self::GccHigh, Self::Dod, Self::China];

    /// `iss` of the tokens that the channel signs its requests with.
    #[must_use]
    pub const fn issuer(self) -> &'static str {
        match self {
            Self::Public | Self::Gcc => "https://api.botframework.com",
            Self::GccHigh | Self::Dod => "https://api.botframework.us",
            Self::China => "https://api.botframework.azure.cn",
        }
    }

    /// The document that names the channel's keys.
    #[must_use]
    pub const fn metadata_url(self) -> &'static str {
        match self {
            Self::Public | Self::Gcc => "https://login.botframework.com/v1/.well-known/openidconfiguration",
            Self::GccHigh | Self::Dod => "https://login.botframework.azure.us/v1/.well-known/openidconfiguration",
            Self::China => "https://login.botframework.azure.cn/v1/.well-known/openidconfiguration",
        }
    }

    /// The scope of the tokens that the connector takes.
    #[must_use]
    pub const fn connector_scope(self) -> &'static str {
        match self {
            Self::Public | Self::Gcc => "https://api.botframework.com/.default",
            Self::GccHigh | Self::Dod => "https://api.botframework.us/.default",
            Self::China => "https://api.botframework.azure.cn/.default",
        }
    }

    /// The scope of the tokens with which agents of an agent blueprint talk to the connector.
    #[must_use]
    pub const fn agent_connector_scope(self) -> &'static str {
        match self {
            Self::Public => "5a807f24-c9de-44ee-a3a7-329e88a00ffc/.default",
            Self::Gcc => "c9475445-9789-4fef-9ec5-cde4a9bcd446/.default",
            Self::GccHigh => "6f669b9e-7701-4e2b-b624-82c9207fde26/.default",
            Self::Dod => "0a069c81-8c7c-4712-886b-9c542d673ffb/.default",
            Self::China => "bd004c8e-5acf-4c48-8570-4e7d46b2f63b/.default",
        }
    }

    /// The cloud whose Entra issues the bot's own tokens.
    #[must_use]
    pub const fn entra(self) -> Cloud {
        match self {
            Self::Public | Self::Gcc => Cloud::Public,
            Self::GccHigh | Self::Dod => Cloud::UsGovernment,
            Self::China => Cloud::China,
        }
    }

    /// `callerId` of requests from the channel, where the protocol defines one.
    #[must_use]
    pub const fn caller_id(self) -> Option<&'static str> {
        match self {
            Self::Public | Self::Gcc => Some("urn:botframework:azure"),
            Self::GccHigh | Self::Dod => Some("urn:botframework:azureusgov"),
            Self::China => None,
        }
    }

    /// A short stable name, for records and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Gcc => "gcc",
            Self::GccHigh => "gcc-high",
            Self::Dod => "dod",
            Self::China => "china",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.as_str() == name)
    }

    /// Where conversations that the bot starts itself begin, where Microsoft names such an address.
    pub(super) const fn teams_service_url(self) -> Option<&'static str> {
        match self {
            Self::Public => Some("https://smba.trafficmanager.net/teams"),
            Self::Gcc => Some("https://smba.infra.gcc.teams.microsoft.com/teams"),
            Self::GccHigh => Some("https://smba.infra.gov.teams.microsoft.us/teams"),
            Self::Dod => Some("https://smba.infra.dod.teams.microsoft.us/teams"),
            Self::China => None,
        }
    }

    /// Connector hosts, letter by letter. `trafficmanager.net` is a namespace in which anyone can register a name: it is
    /// never a suffix.
    pub(super) const fn hosts(self) -> &'static [&'static str] {
        match self {
            Self::Public | Self::Gcc => &[PUBLIC_TEAMS, GCC_TEAMS],
            Self::GccHigh => &["smba.infra.gov.teams.microsoft.us"],
            Self::Dod => &["smba.infra.dod.teams.microsoft.us"],
            Self::China => &[],
        }
    }

    /// Domains of Microsoft's own in which every name is a connector.
    pub(super) const fn host_suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Public | Self::Gcc => &[".botframework.com"],
            Self::GccHigh | Self::Dod => &[".botframework.us", ".botframework.azure.us"],
            Self::China => &[".botframework.azure.cn"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::{ConnectorHosts, ServiceUrl};

    #[test]
    fn names_are_read_back() {
        for cloud in ChannelCloud::ALL {
            assert_eq!(ChannelCloud::named(cloud.as_str()), Some(cloud));
        }
        assert_eq!(ChannelCloud::named("Public"), None);
    }

    #[test]
    fn the_address_for_started_conversations_is_an_allowed_one() {
        for cloud in ChannelCloud::ALL {
            match ServiceUrl::configured(cloud) {
                Ok(url) => assert!(ConnectorHosts::of(cloud).allows(&url), "{cloud:?}"),
                Err(_) => assert_eq!(cloud, ChannelCloud::China),
            }
        }
    }
}
