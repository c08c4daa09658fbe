//! The OAuth connections of the Azure Bot.

use crate::constants::{
    GRAPH_CONNECTION, GRAPH_RESOURCE, SERVICE_API_CONNECTION, SERVICE_APP_ID, SERVICE_CONNECTION, User,
};
use crate::entra::{self, App, OAuthError, Resource};
use crate::state::Shared;
use crate::tokens;

/// One connection: whose token it holds. Its client is the single-sign-on registration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// Name in requests.
    pub(crate) name: &'static str,
    /// The single-sign-on registration itself when there is none.
    resource: Option<&'static str>,
    scopes: &'static str,
}

/// All connections, the default one first.
pub(crate) const CONNECTIONS: [Connection; 3] = [
    Connection { name: SERVICE_CONNECTION, resource: None, scopes: "access_as_user" },
    Connection { name: SERVICE_API_CONNECTION, resource: Some(SERVICE_APP_ID), scopes: "access_as_user" },
    Connection { name: GRAPH_CONNECTION, resource: Some(GRAPH_RESOURCE), scopes: "User.Read" },
];

/// The connection of this name; names are case-sensitive.
pub(crate) fn find(name: &str) -> Option<&'static Connection> {
    CONNECTIONS.iter().find(|connection| connection.name == name)
}

impl Connection {
    fn resource(&self, shared: &Shared) -> Option<&'static Resource> {
        entra::resource(self.resource.unwrap_or_else(|| shared.sso_app_id()))
    }

    /// A token of this connection for a user, if consent and conditions allow it.
    pub(crate) fn issue(&self, shared: &Shared, user: &User) -> Result<String, OAuthError> {
        issue(shared, user, self.resource(shared), self.scopes)
    }
}

/// The registration behind every connection.
pub(crate) fn client(shared: &Shared) -> Option<App> {
    shared.directory().app(shared.sso_app_id()).cloned()
}

/// A token of any resource for a user.
pub(crate) fn issue(
    shared: &Shared,
    user: &User,
    target: Option<&'static Resource>,
    scopes: &str,
) -> Result<String, OAuthError> {
    let (Some(app), Some(target)) = (client(shared), target) else {
        return Err(OAuthError::new(400, "invalid_resource", 500011, "The resource principal was not found."));
    };
    entra::obo_permission(shared, &app, user, target)?;
    Ok(tokens::user_token(shared, user, &app.id, target.audience, scopes, target.version, "1"))
}
