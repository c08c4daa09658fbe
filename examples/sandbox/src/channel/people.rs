//! The accounts of a conversation as Teams writes them.

use serde_json::{Value, json};

use crate::constants::{BOT_NAME, User};

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) mri: String,
    pub(crate) oid: String,
    pub(crate) name: String,
    pub(crate) given_name: String,
    pub(crate) upn: String,
    pub(crate) tenant: String,
}

impl Person {
    /// A member known only by its Teams id, from a replayed request.
    pub(crate) fn guest(mri: &str, tenant: &str) -> Self {
        Self {
            mri: mri.to_owned(),
            oid: String::new(),
            name: String::new(),
            given_name: String::new(),
            upn: String::new(),
            tenant: tenant.to_owned(),
        }
    }

    /// Reads a `from` account.
    pub(crate) fn from_account(account: &Value, tenant: &str) -> Option<Self> {
        let text = |name: &str| account.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mri = text("id");
        if mri.is_empty() {
            return None;
        }
        Some(Self { oid: text("aadObjectId"), name: text("name"), ..Self::guest(&mri, tenant) })
    }

    /// Whether this id names the person: a Teams id, or an Entra object id in any letter case.
    pub(crate) fn is(&self, id: &str) -> bool {
        self.mri == id || (!self.oid.is_empty() && self.oid.eq_ignore_ascii_case(id))
    }

    /// The `from` form. `https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#channelaccount-object`
    pub(crate) fn account(&self) -> Value {
        json!({ "id": self.mri, "name": self.name, "aadObjectId": self.oid })
    }

    /// The form of a `membersAdded` list, which has no names.
    pub(crate) fn brief(&self) -> Value {
        json!({ "id": self.mri, "aadObjectId": self.oid })
    }

    /// The roster form. Lists call the Entra id `objectId`, the single-member answer `aadObjectId`; both spellings are in the wild.
    pub(crate) fn roster(&self, oid_field: &str) -> Value {
        let surname = self.name.strip_prefix(&self.given_name).unwrap_or(&self.name).trim();
        let mut member = json!({
            "id": self.mri, "name": self.name, "givenName": self.given_name, "surname": surname, "email": self.upn,
            "userPrincipalName": self.upn, "tenantId": self.tenant, "userRole": "user",
        });
        if let Some(fields) = member.as_object_mut() {
            fields.insert(oid_field.to_owned(), json!(self.oid));
        }
        member
    }
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self {
            mri: user.mri.to_owned(),
            oid: user.oid.to_owned(),
            name: user.name.to_owned(),
            given_name: user.given_name.to_owned(),
            upn: user.upn.to_owned(),
            tenant: user.tenant.to_owned(),
        }
    }
}

/// The bot's account, `28:<app id>`.
pub(crate) fn bot_account(app: &str) -> Value {
    json!({ "id": format!("28:{app}"), "name": BOT_NAME })
}
