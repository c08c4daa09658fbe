//! What people and the application say about a thing they make.

/// The setters of the fields `description` and `metadata`.
macro_rules! about {
    ($($name:ident),*) => {$(
        impl $name {
            /// For people.
            pub fn description(mut self, text: impl Into<String>) -> Self {
                self.description = Some(text.into());
                self
            }

            /// Adds a pair of the application; at most 16.
            pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.metadata.insert(key.into(), value.into());
                self
            }
        }
    )*};
}
pub(crate) use about;
