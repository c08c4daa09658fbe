//! The groups of the people: few for one of them, too many for a token for another.

use serde_json::{Map, Value, json};

use crate::constants::{USER_ONE, USER_TWO, User};

/// More than this many groups do not fit into a token.
const MOST_IN_TOKEN: usize = 200;
/// Groups of [`USER_TWO`], who works on everything.
const PROJECTS: usize = 230;

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Object id.
    pub(crate) id: String,
    /// Display name.
    pub(crate) name: String,
}

/// All groups of a user, groups of groups too.
pub(crate) fn of(user: &User) -> Vec<Group> {
    // Story readers are a part of all staff, so one membership brings both.
    let staff = [group(1, "Story readers"), group(2, "All staff")];
    match user.oid {
        oid if oid == USER_ONE.oid => staff.into(),
        oid if oid == USER_TWO.oid => {
            let projects = (1..=PROJECTS).map(|number| group(1000 + number, &format!("Project {number:03}")));
            staff.into_iter().chain(projects).collect()
        }
        _ => Vec::new(),
    }
}

/// The group with this id.
pub(crate) fn by_id(id: &str) -> Option<Group> {
    of(&USER_TWO).into_iter().find(|group| group.id.eq_ignore_ascii_case(id))
}

/// The claims of an id token: the groups, or where to ask for them.
pub(crate) fn claims(user: &User) -> Map<String, Value> {
    let groups = of(user);
    let mut claims = Map::new();
    if groups.len() > MOST_IN_TOKEN {
        let endpoint = format!("https://graph.windows.net/{}/users/{}/getMemberObjects", user.tenant, user.oid);
        claims.insert("_claim_names".into(), json!({"groups": "src1"}));
        claims.insert("_claim_sources".into(), json!({"src1": {"endpoint": endpoint}}));
    } else if !groups.is_empty() {
        claims.insert("groups".into(), groups.into_iter().map(|group| group.id).collect());
    }
    claims
}

fn group(number: usize, name: &str) -> Group {
    Group { id: format!("9a9a9a9a-0000-4000-8000-{number:012}"), name: name.to_owned() }
}
