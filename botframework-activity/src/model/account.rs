use super::object::wire_object;
use super::raw::RawJson;
use super::vocabulary::RoleType;

wire_object! {
    /// A user, a bot or another account on a channel:
    /// [`ChannelAccount`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#channelaccount-object).
    ///
    /// Ids in an activity are what the channel wrote. They name the account for replies; they do not
    /// prove who somebody is.
    pub struct ChannelAccount {
        /// The id on this channel. In Teams `29:…` for a user, `28:<app id>` for a bot.
        pub id: Option<String> = "id";
        /// The display name.
        pub name: Option<String> = "name";
        /// The object id in Microsoft Entra. Some rosters call it `objectId`; see
        /// [`ChannelAccount::object_id`].
        pub aad_object_id: Option<String> = "aadObjectId";
        /// User, bot or agent.
        pub role: Option<RoleType> = "role";
        /// The id of an agentic user.
        pub agentic_user_id: Option<String> = "agenticUserId";
        /// The id of an agentic app.
        pub agentic_app_id: Option<String> = "agenticAppId";
        /// The Entra tenant of the account.
        pub tenant_id: Option<String> = "tenantId";
        /// In Teams `person`, `tag`, `channel`, `team` or `bot`.
        pub kind: Option<String> = "type";
        /// Whether a message is for this account's eyes only.
        pub is_targeted: Option<bool> = "isTargeted";
        /// Properties of the channel's own.
        pub properties: Option<RawJson> = "properties";
    }
}

impl ChannelAccount {
    /// An account with this id.
    #[inline]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    /// Sets the display name.
    #[must_use]
    #[inline]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the role.
    #[must_use]
    #[inline]
    pub fn with_role(mut self, role: RoleType) -> Self {
        self.role = Some(role);
        self
    }

    /// The Entra object id, under either of its names (`aadObjectId`, `objectId`).
    #[must_use]
    #[inline]
    pub fn object_id(&self) -> Option<std::borrow::Cow<'_, str>> {
        match &self.aad_object_id {
            Some(id) => Some(id.as_str().into()),
            None => self.extra.get("objectId")?.parse::<String>().ok().map(Into::into),
        }
    }
}

wire_object! {
    /// A member of a Teams roster:
    /// [get single member](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/get-teams-context).
    pub struct TeamsChannelAccount {
        /// The id on this channel, `29:…`.
        pub id: Option<String> = "id";
        /// The display name.
        pub name: Option<String> = "name";
        /// The object id in Microsoft Entra; `objectId` is accepted, `aadObjectId` is written.
        pub aad_object_id: Option<String> = "aadObjectId" | "objectId";
        /// The first name.
        pub given_name: Option<String> = "givenName";
        /// The family name.
        pub surname: Option<String> = "surname";
        /// The mail address.
        pub email: Option<String> = "email";
        /// The user principal name. It can change owner: never a key.
        pub user_principal_name: Option<String> = "userPrincipalName";
        /// The Entra tenant of the member.
        pub tenant_id: Option<String> = "tenantId";
        /// `user`, `guest` or `anonymous`.
        pub user_role: Option<String> = "userRole";
        /// User or bot.
        pub role: Option<RoleType> = "role";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_the_object_id_are_read() {
        let roster: TeamsChannelAccount = serde_json::from_str(r#"{"objectId":"o-1"}"#).unwrap();
        assert_eq!(roster.aad_object_id.as_deref(), Some("o-1"));
        let text = r#"{"id":"29:a","objectId":"o-1"}"#;
        let account: ChannelAccount = serde_json::from_str(text).unwrap();
        assert_eq!(account.object_id().as_deref(), Some("o-1"));
        assert_eq!(serde_json::to_string(&account).unwrap(), text);
        assert_eq!(ChannelAccount::new("29:a").object_id(), None);
    }

    #[test]
    fn both_names_at_once_are_refused_where_they_mean_one_member() {
        let text = r#"{"objectId":"o-1","aadObjectId":"o-2"}"#;
        assert!(serde_json::from_str::<TeamsChannelAccount>(text).is_err());
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let account = ChannelAccount::new("29:private").with_name("Private Name").with_role(RoleType::USER);
        let debug = format!("{account:?}");
        assert!(!debug.contains("rivate"), "{debug}");
        assert!(debug.contains("user"), "{debug}");
    }
}
