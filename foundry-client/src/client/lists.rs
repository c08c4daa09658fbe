//! What a list may be asked for.

/// The order of a list.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A query: pairs in the order they were set, each name once unless it may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<(&'static str, String)>);

impl Pairs {
    pub(crate) fn set(&mut self, name: &'static str, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    fn add(&mut self, name: &'static str, value: String) {
        self.0.push((name, value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

macro_rules! list_query {
    (
        $(#[$meta:meta])* $name:ident
        { $($(#[$set_meta:meta])* $set:ident = $wire:literal,)* }
        { $($(#[$add_meta:meta])* $add:ident = $add_wire:literal,)* }
    ) => {
        $(#[$meta])*
        ///
        /// Without settings: the service's defaults, 20 entries, newest first.
        #[derive(Clone, Debug, Default)]
        pub struct $name(pub(crate) Pairs);

        impl $name {
            /// The service's defaults.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// The most entries on a page, 1 to 100.
            #[must_use]
            pub fn limit(mut self, entries: u32) -> Self {
                self.0.set("limit", entries.to_string());
                self
            }

            /// The order.
            #[must_use]
            pub fn order(mut self, order: Order) -> Self {
                let order = match order {
                    Order::Ascending => "asc",
                    Order::Descending => "desc",
                };
                self.0.set("order", order.to_owned());
                self
            }

            /// Only entries behind this one in the order: [`Page::last_id`](crate::Page::last_id) for the next page.
            #[must_use]
            pub fn after(mut self, id: impl Into<String>) -> Self {
                self.0.set("after", id.into());
                self
            }

            /// Only entries in front of this one in the order.
            #[must_use]
            pub fn before(mut self, id: impl Into<String>) -> Self {
                self.0.set("before", id.into());
                self
            }

            $($(#[$set_meta])*
            #[must_use]
            pub fn $set(mut self, value: impl Into<String>) -> Self {
                self.0.set($wire, value.into());
                self
            })*

            $($(#[$add_meta])*
            #[must_use]
            pub fn $add(mut self, value: impl Into<String>) -> Self {
                self.0.add($add_wire, value.into());
                self
            })*
        }
    };
}

list_query! {
    /// Which items to list.
    ListItems
    {
        /// Only items of this [type](crate::ItemKind).
        item_type = "item_type",
    }
    {
        /// Asks for an additional part of the items, for example `file_search_call.results`.
        include = "include[]",
    }
}

list_query! {
    /// Which conversations to list.
    ListConversations
    {
        /// Only those an agent of this name answered in.
        agent_name = "agent_name",
        /// Only those this version of an agent answered in: `name:version`.
        agent_id = "agent_id",
    }
    {}
}

list_query! {
    /// Which responses to list.
    ListResponses
    {
        /// Only those of an agent of this name.
        agent_name = "agent_name",
        /// Only those of this version of an agent: `name:version`.
        agent_id = "agent_id",
        /// Only those in this conversation.
        conversation_id = "conversation_id",
    }
    {}
}

list_query! {
    /// Which agents to list.
    ListAgents
    {
        /// Only those of this [kind](crate::agents::AgentKind), for example `prompt`.
        kind = "kind",
    }
    {}
}

list_query! {
    /// Which versions of an agent to list.
    ListVersions {} {}
}

impl ListVersions {
    /// Whether drafts are listed too. The service's default is to leave them out.
    #[must_use]
    pub fn include_drafts(mut self, include: bool) -> Self {
        self.0.set("include_drafts", include.to_string());
        self
    }
}

list_query! {
    /// Which entries to list, where there is nothing to choose but the page.
    ListPage {} {}
}

list_query! {
    /// Which files to list.
    ListFiles
    {
        /// Only files of this [purpose](crate::resource::FilePurpose).
        purpose = "purpose",
    }
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_set_once_and_include_repeats() {
        let query = ListItems::new().limit(5).limit(7).order(Order::Ascending).include("a").include("b");
        let pairs: Vec<_> = query.0.iter().collect();
        assert_eq!(pairs, [("limit", "7"), ("order", "asc"), ("include[]", "a"), ("include[]", "b")]);
    }
}
