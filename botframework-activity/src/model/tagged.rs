//! Bodies that say themselves what they are.

use super::raw::RawJson;
use super::scan::json_depth;

/// How deep a card or an invoke may be nested to be read as types. Deeper ones stay raw.
const MAX_DEPTH: usize = 64;

/// The text of the member `type`; `None` when there is none, when it is no string, or when it is there twice.
pub(crate) fn kind_of(raw: &RawJson) -> Option<String> {
    super::entity::kind_in(raw.get())
}

/// Whether a body is shallow enough to be read as types, which recurse.
pub(crate) fn is_shallow(raw: &RawJson) -> bool {
    json_depth(raw.get().as_bytes()) <= MAX_DEPTH
}

/// Declares an enum over the `type` of JSON objects. An unknown type, or a known one with an odd body, is kept raw.
macro_rules! tagged {
    (
        $(#[$meta:meta])*
        pub enum $name:ident by $tag:ident {
            $( $(#[$variant_meta:meta])* $variant:ident($ty:ty) = $constant:ident, )*
        }
    ) => {
        $(#[$meta])*
        ///
        /// What is of an unknown type, of a known type with another shape, or nested deeper than 64 levels is kept
        /// in its own bytes.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant($ty), )*
            /// Anything else.
            Other($crate::model::RawJson),
        }

        impl $name {
            /// The `type`; empty when there is none.
            #[must_use]
            #[inline]
            pub fn kind(&self) -> $tag {
                match self {
                    $( Self::$variant(_) => $tag::$constant, )*
                    Self::Other(raw) => {
                        $crate::model::tagged::kind_of(raw).map_or($tag::from_static(""), $tag::from)
                    }
                }
            }

            /// The whole as JSON.
            ///
            /// # Errors
            /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when a member of `extra` repeats a known one.
            #[inline]
            pub fn raw(&self) -> Result<$crate::model::RawJson, $crate::model::ModelError> {
                match self {
                    Self::Other(raw) => Ok(raw.clone()),
                    typed => $crate::model::RawJson::of(typed),
                }
            }
        }

        $(
            impl From<$ty> for $name {
                #[inline]
                fn from(value: $ty) -> Self {
                    Self::$variant(value)
                }
            }
        )*

        impl From<$crate::model::RawJson> for $name {
            #[inline]
            fn from(raw: $crate::model::RawJson) -> Self {
                if !$crate::model::tagged::is_shallow(&raw) {
                    return Self::Other(raw);
                }
                let kind = $crate::model::tagged::kind_of(&raw).map($tag::from);
                $(
                    if kind == Some($tag::$constant) {
                        return match raw.read() {
                            Ok(typed) => Self::$variant(typed),
                            Err(_) => Self::Other(raw),
                        };
                    }
                )*
                Self::Other(raw)
            }
        }

        /// Takes JSON of any shape, for what has no builder here.
        impl From<serde_json::Value> for $name {
            #[inline]
            fn from(value: serde_json::Value) -> Self {
                Self::from($crate::model::RawJson::from(value))
            }
        }

        const _: () = {
            use $crate::model::json::{Datum, Source, Stop};
            use $crate::model::object::{Value, serde_value};

            impl Value for $name {
                #[inline]
                fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
                    Ok(from.raw()?.map(Self::from))
                }

                #[inline]
                fn read_item(from: &mut dyn Source) -> Result<Self, Stop> {
                    from.raw_or_null().map(Self::from)
                }

                #[inline]
                fn datum(&self) -> Datum<'_> {
                    match self {
                        $( Self::$variant(value) => value.datum(), )*
                        Self::Other(raw) => Datum::Raw(raw),
                    }
                }
            }

            serde_value!($name);
        };
    };
}

/// Declares builder methods that set an optional field.
macro_rules! setters {
    ($name:ident { $( $(#[$meta:meta])* $method:ident($ty:ty) => $field:ident; )* }) => {
        impl $name {
            $(
                $(#[$meta])*
                #[must_use]
                #[inline]
                pub fn $method(mut self, value: impl Into<$ty>) -> Self {
                    self.$field = Some(value.into());
                    self
                }
            )*
        }
    };
}

pub(crate) use {setters, tagged};
