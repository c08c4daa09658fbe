//! Everything on which a token depends: as a type, and as the fixed-size place under which it is kept.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use super::sha256;
use crate::{ClaimsChallenge, ClientId, ObjectId, Scopes, TenantId, UserKey};

/// Everything on which a token depends. Authority, client and credential are those of the one client that owns the
/// cache.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(super) tenant: Option<TenantId>,
    pub(super) subject: Subject,
    pub(super) scopes: Scopes,
    /// SHA-256 of the additional parameters that the request carries.
    pub(super) parameters: Option<[u8; 32]>,
    place: Place,
}

/// What makes two fetches the same: challenges differ, though what they bring lands under one key of the cache.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) key: CacheKey,
    pub(super) claims: Option<ClaimsChallenge>,
    /// The user's sign-outs so far: who signs in again does not board a flight from before.
    pub(super) epoch: u64,
}

/// On whose behalf.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The application itself.
    App,
    /// An identity that this machine hands out: a managed one, or that of a developer.
    Machine,
    /// A user, by the very assertion that was exchanged.
    #[cfg(feature = "validate")]
    OnBehalfOf { user: UserKey, assertion: [u8; 32] },
    /// A user who signed in, by refresh token; `session` tells long-running processes apart.
    #[cfg(feature = "validate")]
    Account { user: UserKey, session: Option<[u8; 32]> },
    /// An agent identity of this blueprint.
    Agent { agent: ClientId, leg: AgentLeg },
}

/// The tokens of an agent identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum AgentLeg {
    /// What the blueprint gets, with `fmi_path`, to vouch for the agent.
    Blueprint,
    /// The agent's own, for a resource.
    App,
    /// For the agent's own user account, by object id or name.
    User(AgentUserId),
    /// For a person on whose behalf the agent acts.
    #[cfg(feature = "validate")]
    OnBehalfOf { user: UserKey, assertion: [u8; 32] },
}

/// The user account of an agent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum AgentUserId {
    ObjectId(ObjectId),
    /// In lower case: names are compared without case.
    Name(Box<str>),
}

/// Where the tokens of one subject lie, apart from their scopes: comparable and copied without allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Names the person, if there is one: all that is theirs lies together and goes together.
    pub(super) owner: u64,
    /// SHA-256 of everything else.
    pub(super) who: [u8; 32],
}

/// Bytes of the digest that tell the subject alone.
const HALF: usize = 16;

/// Tells people apart within this process; nobody outside can work out a number.
static OWNERS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl CacheKey {
    pub(crate) fn new(
        tenant: Option<TenantId>,
        subject: Subject,
        scopes: Scopes,
        parameters: Option<[u8; 32]>,
    ) -> Self {
        let place = Place::new(tenant.as_ref(), &subject, parameters.as_ref());
        Self { tenant, subject, scopes, parameters, place }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }
}

impl Place {
    pub(super) fn new(tenant: Option<&TenantId>, subject: &Subject, parameters: Option<&[u8; 32]>) -> Self {
        let plain = Self::plain(tenant, subject);
        let Some(parameters) = parameters else { return plain };
        // The first half says whose it still is.
        let (mut who, both) = (plain.who, sha256(&[plain.who, *parameters].concat()));
        who.iter_mut().skip(HALF).zip(both).for_each(|(to, from)| *to = from);
        Self { who, ..plain }
    }

    /// Whether it is of the same subject as one without parameters.
    #[cfg(feature = "validate")]
    #[inline]
    pub(super) fn is_of_subject(&self, plain: &Self) -> bool {
        self.owner == plain.owner && self.who.iter().zip(plain.who).take(HALF).all(|(ours, theirs)| *ours == theirs)
    }

    fn plain(tenant: Option<&TenantId>, subject: &Subject) -> Self {
        let mut text = Vec::with_capacity(256);
        // Each field with its length in front: no two lists of fields have the same text.
        let mut field = |bytes: &[u8]| {
            text.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            text.extend_from_slice(bytes);
        };
        field(b"entra-auth cache key");
        field(tenant.map_or(&b""[..], |tenant| tenant.as_str().as_bytes()));
        match subject {
            Subject::App => field(b"app"),
            Subject::Machine => field(b"machine"),
            #[cfg(feature = "validate")]
            Subject::OnBehalfOf { user, assertion } => {
                if tenant == Some(user.tenant()) {
                    return Self::of_assertion(user, assertion);
                }
                field(b"on behalf of");
                field(assertion);
            }
            #[cfg(feature = "validate")]
            Subject::Account { user, session } => {
                field(b"account");
                field(user.tenant().as_str().as_bytes());
                field(user.object_id().as_str().as_bytes());
                field(session.as_ref().map_or(&b""[..], |session| session));
            }
            Subject::Agent { agent, leg } => {
                field(b"agent");
                field(agent.as_str().as_bytes());
                match leg {
                    AgentLeg::Blueprint => field(b"blueprint"),
                    AgentLeg::App => field(b"app"),
                    AgentLeg::User(AgentUserId::ObjectId(id)) => {
                        field(b"user");
                        field(id.as_str().as_bytes());
                    }
                    AgentLeg::User(AgentUserId::Name(name)) => {
                        field(b"user by name");
                        field(name.as_bytes());
                    }
                    #[cfg(feature = "validate")]
                    AgentLeg::OnBehalfOf { assertion, .. } => {
                        field(b"on behalf of");
                        field(assertion);
                    }
                }
            }
        }
        let who = sha256(&text);
        let owner = subject.user().map_or_else(|| OWNERS.hash_one(who), owner);
        Self { owner, who }
    }

    /// The common case of On-Behalf-Of, in the user's own tenant: the digest of the assertion serves as it is. It cannot
    /// be that of another kind of subject, whose texts begin unlike any token.
    #[cfg(feature = "validate")]
    pub(super) fn of_assertion(user: &UserKey, assertion: &[u8; 32]) -> Self {
        Self { owner: owner(user), who: *assertion }
    }

    /// What [`Place::of_assertion`] was made of.
    #[cfg(feature = "validate")]
    pub(super) const fn assertion(&self) -> &[u8; 32] {
        &self.who
    }
}

/// The number under which everything of a person lies.
pub(super) fn owner(user: &UserKey) -> u64 {
    OWNERS.hash_one(user)
}

impl Subject {
    /// The person whose tokens these are.
    pub(super) const fn user(&self) -> Option<&UserKey> {
        match self {
            #[cfg(feature = "validate")]
            Self::OnBehalfOf { user, .. }
            | Self::Account { user, .. }
            | Self::Agent { leg: AgentLeg::OnBehalfOf { user, .. }, .. } => Some(user),
            Self::App | Self::Machine | Self::Agent { .. } => None,
        }
    }

    /// Whether a user can take the tokens back, unlike those of an application.
    pub(super) const fn is_user(&self) -> bool {
        self.user().is_some() || matches!(self, Self::Agent { leg: AgentLeg::User(_), .. })
    }

    /// Whether the tokens come by the user's refresh token, which a sign-out takes away.
    #[cfg(feature = "validate")]
    pub(super) const fn is_account(&self) -> bool {
        matches!(self, Self::Account { .. })
    }
}

#[cfg(all(test, feature = "validate"))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn guid(number: usize) -> String {
        format!("00000000-0000-0000-0000-{number:012}")
    }

    /// Threat row 26 of the catalogue: what differs in anything lies elsewhere.
    #[test]
    fn every_difference_is_another_place() {
        let tenants: Vec<TenantId> = (0..3).map(|n| guid(n).parse().unwrap()).collect();
        let users = tenants
            .iter()
            .flat_map(|tenant| (0..3).map(|n| UserKey::assume_verified(tenant.clone(), guid(n).parse().unwrap())));
        let agents: Vec<ClientId> = (0..3).map(|n| guid(n).parse().unwrap()).collect();
        let mut subjects = vec![Subject::App, Subject::Machine];
        for user in users {
            for byte in [1, 2] {
                let assertion = [byte; 32];
                subjects.push(Subject::OnBehalfOf { user: user.clone(), assertion });
                subjects.push(Subject::Account { user: user.clone(), session: Some(assertion) });
                for agent in &agents {
                    let leg = AgentLeg::OnBehalfOf { user: user.clone(), assertion };
                    subjects.push(Subject::Agent { agent: agent.clone(), leg });
                }
            }
            subjects.push(Subject::Account { user, session: None });
        }
        for agent in &agents {
            let names = [AgentUserId::ObjectId(guid(1).parse().unwrap()), AgentUserId::Name(guid(1).into())];
            for leg in names.into_iter().map(AgentLeg::User).chain([AgentLeg::Blueprint, AgentLeg::App]) {
                subjects.push(Subject::Agent { agent: agent.clone(), leg });
            }
        }
        let mut places = HashSet::new();
        for tenant in tenants.iter().map(Some).chain([None]) {
            for subject in &subjects {
                for parameters in [None, Some(&[1; 32]), Some(&[2; 32])] {
                    assert!(places.insert(Place::new(tenant, subject, parameters)));
                }
            }
        }
        assert_eq!(places.len(), 4 * subjects.len() * 3);
    }

    #[test]
    fn all_that_is_of_a_person_has_one_owner() {
        let user = UserKey::assume_verified(guid(1).parse().unwrap(), guid(2).parse().unwrap());
        let elsewhere: TenantId = guid(3).parse().unwrap();
        let agent = Subject::Agent {
            agent: guid(4).parse().unwrap(),
            leg: AgentLeg::OnBehalfOf { user: user.clone(), assertion: [1; 32] },
        };
        for subject in [
            Subject::OnBehalfOf { user: user.clone(), assertion: [1; 32] },
            Subject::Account { user: user.clone(), session: None },
            agent,
        ] {
            for tenant in [user.tenant(), &elsewhere] {
                assert_eq!(Place::new(Some(tenant), &subject, None).owner, owner(&user));
            }
        }
    }
}
