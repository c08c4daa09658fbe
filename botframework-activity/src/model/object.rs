//! How every wire object is read and written.
//!
//! Known members become fields. Unknown members stay in [`Extra`] with their own bytes. Which known
//! members came as `null` or as an empty list is remembered in two bit masks, so that writing gives the
//! same document back. A member name that appears twice is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use super::extra::Extra;
use super::raw::RawJson;

/// How a known member looked on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Value,
    Null,
    EmptyList,
}

/// The known members that came as `null` or `[]`, one bit a member.
///
/// It takes no part in comparison: absent, `null` and empty are the same value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spelling {
    nulls: u64,
    empties: u64,
}

impl Spelling {
    fn note(&mut self, bit: u64, found: Found) {
        match found {
            Found::Value => {}
            Found::Null => self.nulls |= bit,
            Found::EmptyList => self.empties |= bit,
        }
    }

    /// What came as `null` is absent from now on.
    pub(crate) fn forget_nulls(&mut self) {
        self.nulls = 0;
    }

    pub(crate) fn of(self, bit: u64) -> Found {
        if self.nulls & bit != 0 {
            Found::Null
        } else if self.empties & bit != 0 {
            Found::EmptyList
        } else {
            Found::Value
        }
    }
}

impl PartialEq for Spelling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spelling {}

/// A JSON value that may be a known member.
pub(crate) trait Value: fmt::Debug + Serialize + DeserializeOwned {
    /// Bytes of text that `Debug` must not show; `None` when the value's own `Debug` is safe.
    fn hidden(&self) -> Option<usize> {
        None
    }
}

impl Value for String {
    fn hidden(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl Value for bool {}
impl Value for i64 {}
impl Value for f64 {}
impl Value for RawJson {}

/// A field of a wire object: optional, a list, or required.
pub(crate) trait Member: Sized {
    const REQUIRED: bool;
    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Found, A::Error>;
    fn write<M: SerializeMap>(&self, name: &'static str, spelling: Found, map: &mut M) -> Result<(), M::Error>;
    fn debug(&self, name: &'static str, shown: bool, out: &mut fmt::DebugStruct<'_, '_>);
}

impl<T: Value> Member for Option<T> {
    const REQUIRED: bool = false;

    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Found, A::Error> {
        *self = map.next_value()?;
        Ok(if self.is_some() { Found::Value } else { Found::Null })
    }

    fn write<M: SerializeMap>(&self, name: &'static str, spelling: Found, map: &mut M) -> Result<(), M::Error> {
        match self {
            Some(value) => map.serialize_entry(name, value),
            None if spelling == Found::Null => map.serialize_entry(name, &()),
            None => Ok(()),
        }
    }

    fn debug(&self, name: &'static str, shown: bool, out: &mut fmt::DebugStruct<'_, '_>) {
        match self {
            None => {}
            Some(value) => match value.hidden() {
                Some(bytes) if !shown => {
                    out.field(name, &format_args!("<{bytes} bytes>"));
                }
                _ => {
                    out.field(name, value);
                }
            },
        }
    }
}

impl<T: Value> Member for Vec<T> {
    const REQUIRED: bool = false;

    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Found, A::Error> {
        match map.next_value::<Option<Self>>()? {
            None => Ok(Found::Null),
            Some(list) if list.is_empty() => Ok(Found::EmptyList),
            Some(list) => {
                *self = list;
                Ok(Found::Value)
            }
        }
    }

    fn write<M: SerializeMap>(&self, name: &'static str, spelling: Found, map: &mut M) -> Result<(), M::Error> {
        if !self.is_empty() || spelling == Found::EmptyList {
            map.serialize_entry(name, self)
        } else if spelling == Found::Null {
            map.serialize_entry(name, &())
        } else {
            Ok(())
        }
    }

    fn debug(&self, name: &'static str, _: bool, out: &mut fmt::DebugStruct<'_, '_>) {
        if !self.is_empty() {
            out.field(name, &format_args!("<{} items>", self.len()));
        }
    }
}

/// A required number: the status of an invoke response.
impl Member for u16 {
    const REQUIRED: bool = true;

    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Found, A::Error> {
        *self = map.next_value()?;
        Ok(Found::Value)
    }

    fn write<M: SerializeMap>(&self, name: &'static str, _: Found, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry(name, self)
    }

    fn debug(&self, name: &'static str, _: bool, out: &mut fmt::DebugStruct<'_, '_>) {
        out.field(name, self);
    }
}

/// What [`wire_object!`] generates for a struct: tables only, the work is below.
pub(crate) trait WireObject: Default {
    type Slot: Copy;
    const EXPECTED: &'static str;
    fn slot(name: &str) -> Option<Self::Slot>;
    fn bit(slot: Self::Slot) -> u64;
    fn missing(seen: u64) -> Option<&'static str>;
    fn read_member<'de, A: MapAccess<'de>>(&mut self, slot: Self::Slot, map: &mut A) -> Result<Found, A::Error>;
    fn write_members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
    fn rest(&self) -> &Extra;
    fn set_rest(&mut self, extra: Extra, spelling: Spelling);
}

pub(crate) fn read_object<'de, T: WireObject, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

pub(crate) fn write_object<T: WireObject, S: Serializer>(object: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    object.write_members(&mut map)?;
    for (name, value) in object.rest().iter() {
        if T::slot(name).is_some() {
            return Err(S::Error::custom("an extra member has the name of a known member"));
        }
        map.serialize_entry(name, value)?;
    }
    map.end()
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: WireObject> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        let mut spelling = Spelling::default();
        let mut extra = Vec::new();
        let mut seen = 0_u64;
        while let Some(key) = map.next_key_seed(KeySeed::<T>(PhantomData))? {
            match key {
                Key::Known(slot) => {
                    let bit = T::bit(slot);
                    if seen & bit != 0 {
                        return Err(A::Error::custom("a member appears twice"));
                    }
                    seen |= bit;
                    spelling.note(bit, object.read_member(slot, &mut map)?);
                }
                Key::Other(name) => extra.push((name, map.next_value()?)),
            }
        }
        if let Some(name) = T::missing(seen) {
            return Err(A::Error::missing_field(name));
        }
        let extra = Extra::from_members(extra).ok_or_else(|| A::Error::custom("a member appears twice"))?;
        object.set_rest(extra, spelling);
        Ok(object)
    }
}

enum Key<S> {
    Known(S),
    Other(Box<str>),
}

struct KeySeed<T>(PhantomData<T>);

impl<'de, T: WireObject> DeserializeSeed<'de> for KeySeed<T> {
    type Value = Key<T::Slot>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: WireObject> Visitor<'_> for KeySeed<T> {
    type Value = Key<T::Slot>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(T::slot(name).map_or_else(|| Key::Other(name.into()), Key::Known))
    }
}

/// Declares a wire object: `pub field: Type = "wireName";`.
///
/// After the name may stand further accepted names (`| "alias"`, never written), `show` (the text may
/// appear in `Debug`) and `[default]` (for a required member).
macro_rules! wire_object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                pub $field:ident : $ty:ty = $wire:literal $(| $alias:literal)* $($show:ident)? $([$default:expr])? ;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
            /// Members this type does not know, in their own bytes.
            pub extra: $crate::model::Extra,
            pub(crate) spelling: $crate::model::object::Spelling,
        }

        const _: () = {
            use $crate::model::object::{Found, Member, Spelling, Value, WireObject, read_object, write_object};

            #[allow(non_camel_case_types, missing_docs, missing_debug_implementations, unreachable_pub, unnameable_types)]
            #[derive(Clone, Copy)]
            #[repr(u8)]
            pub enum Slot { $($field),* }

            impl Default for $name {
                fn default() -> Self {
                    Self {
                        $( $field: wire_object!(@default $ty $(, $default)?), )*
                        extra: $crate::model::Extra::default(),
                        spelling: Spelling::default(),
                    }
                }
            }

            impl WireObject for $name {
                type Slot = Slot;
                const EXPECTED: &'static str = concat!("a JSON object (", stringify!($name), ")");

                #[inline]
                fn slot(name: &str) -> Option<Slot> {
                    match name {
                        $( $wire $(| $alias)* => Some(Slot::$field), )*
                        _ => None,
                    }
                }

                #[inline]
                fn bit(slot: Slot) -> u64 {
                    1 << (slot as u8)
                }

                fn missing(seen: u64) -> Option<&'static str> {
                    $(
                        if <$ty as Member>::REQUIRED && seen & Self::bit(Slot::$field) == 0 {
                            return Some($wire);
                        }
                    )*
                    None
                }

                fn read_member<'de, A: serde::de::MapAccess<'de>>(
                    &mut self,
                    slot: Slot,
                    map: &mut A,
                ) -> Result<Found, A::Error> {
                    match slot {
                        $( Slot::$field => Member::read(&mut self.$field, map), )*
                    }
                }

                fn write_members<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                    $(
                        Member::write(&self.$field, $wire, self.spelling.of(Self::bit(Slot::$field)), map)?;
                    )*
                    Ok(())
                }

                fn rest(&self) -> &$crate::model::Extra {
                    &self.extra
                }

                fn set_rest(&mut self, extra: $crate::model::Extra, spelling: Spelling) {
                    self.extra = extra;
                    self.spelling = spelling;
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    read_object(deserializer)
                }
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    write_object(self, serializer)
                }
            }

            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    let mut out = f.debug_struct(stringify!($name));
                    $( Member::debug(&self.$field, $wire, wire_object!(@shown $($show)?), &mut out); )*
                    if !self.extra.is_empty() {
                        out.field("extra", &self.extra);
                    }
                    out.finish()
                }
            }

            impl Value for $name {}
        };
    };
    (@default $ty:ty) => { <$ty>::default() };
    (@default $ty:ty, $default:expr) => { $default };
    (@shown) => { false };
    (@shown show) => { true };
}

pub(crate) use wire_object;
