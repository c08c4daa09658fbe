//! The objects of the wire: which members they have, and how each is read and written.
//!
//! Known members become fields. Unknown members stay in [`Extra`] with their own bytes. Which known
//! members came as `null` or as an empty list is remembered in two bit masks, so that writing gives the
//! same document back. A member name that appears twice is refused.

use std::fmt;

use super::extra::Extra;
use super::json::{Datum, List, Source, Stop};
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
    const fn note(&mut self, bit: u64, found: Found) {
        match found {
            Found::Value => {}
            Found::Null => self.nulls |= bit,
            Found::EmptyList => self.empties |= bit,
        }
    }

    /// What came as `null` is absent from now on.
    pub(crate) const fn forget_nulls(&mut self) {
        self.nulls = 0;
    }

    /// Whether a member without a value is left out.
    const fn is_silent_about(self, bit: u64) -> bool {
        (self.nulls | self.empties) & bit == 0
    }

    /// How a member without a value is written that is not left out.
    const fn of_nothing(self, bit: u64) -> Datum<'static> {
        if self.nulls & bit != 0 { Datum::Null } else { Datum::Empty }
    }
}

impl PartialEq for Spelling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spelling {}

/// A JSON value that may be a known member.
pub(crate) trait Value: Sized {
    /// The value; `None` for `null`.
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop>;

    /// The value where one must be, as in a list.
    fn read_item(from: &mut dyn Source) -> Result<Self, Stop> {
        Self::read(from)?.ok_or(Stop::NULL)
    }

    fn datum(&self) -> Datum<'_>;
}

impl Value for String {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        from.string()
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Text(self)
    }
}

impl Value for bool {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        from.truth()
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Truth(*self)
    }
}

impl Value for i64 {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        from.integer()
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Integer(*self)
    }
}

impl Value for f64 {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        from.float()
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Float(*self)
    }
}

impl Value for RawJson {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        from.raw()
    }

    fn read_item(from: &mut dyn Source) -> Result<Self, Stop> {
        from.raw_or_null()
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Raw(self)
    }
}

impl<T: Object + Default> Value for T {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        let mut object = Self::default();
        Ok(from.object(&mut object)?.then_some(object))
    }

    fn read_item(from: &mut dyn Source) -> Result<Self, Stop> {
        let mut object = Self::default();
        if from.object(&mut object)? { Ok(object) } else { Err(Stop::NULL) }
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Object(self)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        let mut list = Self::new();
        let there = from.list(&mut |from| {
            list.push(T::read_item(from)?);
            Ok(())
        })?;
        Ok(there.then_some(list))
    }

    fn datum(&self) -> Datum<'_> {
        Datum::List(self)
    }
}

impl<T: Value> List for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn item(&self, at: usize) -> Datum<'_> {
        self.get(at).map_or(Datum::Null, T::datum)
    }
}

/// A field of a wire object: optional, a list, or required.
pub(crate) trait Member: Sized {
    const REQUIRED: bool;
    fn read(&mut self, from: &mut dyn Source) -> Result<Found, Stop>;
    fn datum(&self) -> Datum<'_>;
}

impl<T: Value> Member for Option<T> {
    const REQUIRED: bool = false;

    fn read(&mut self, from: &mut dyn Source) -> Result<Found, Stop> {
        *self = T::read(from)?;
        Ok(if self.is_some() { Found::Value } else { Found::Null })
    }

    fn datum(&self) -> Datum<'_> {
        self.as_ref().map_or(Datum::Absent, T::datum)
    }
}

impl<T: Value> Member for Vec<T> {
    const REQUIRED: bool = false;

    fn read(&mut self, from: &mut dyn Source) -> Result<Found, Stop> {
        Ok(match Value::read(from)? {
            None => Found::Null,
            Some(list) => {
                *self = list;
                if self.is_empty() { Found::EmptyList } else { Found::Value }
            }
        })
    }

    fn datum(&self) -> Datum<'_> {
        if self.is_empty() { Datum::Absent } else { Datum::List(self) }
    }
}

/// A required number: the status of an invoke response.
impl Member for u16 {
    const REQUIRED: bool = true;

    fn read(&mut self, from: &mut dyn Source) -> Result<Found, Stop> {
        let number = from.integer()?.and_then(|number| number.try_into().ok());
        *self = number.ok_or(Stop::Shape("expected a whole number of 16 bits"))?;
        Ok(Found::Value)
    }

    fn datum(&self) -> Datum<'_> {
        Datum::Integer(i64::from(*self))
    }
}

/// A mark in a record of our own: absent is `false`.
impl Member for bool {
    const REQUIRED: Self = false;

    fn read(&mut self, from: &mut dyn Source) -> Result<Found, Stop> {
        *self = from.truth()?.unwrap_or_default();
        Ok(Found::Value)
    }

    fn datum(&self) -> Datum<'_> {
        if *self { Datum::Truth(true) } else { Datum::Absent }
    }
}

/// What is the same for all objects of a type.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    /// In the order in which they are written.
    pub(crate) members: &'static [&'static str],
    /// Further names under which a member is read.
    pub(crate) aliases: &'static [(&'static str, u8)],
    /// One bit for each member that must be there.
    pub(crate) required: u64,
    /// One bit for each member whose text `Debug` may show.
    pub(crate) shown: u64,
}

impl Schema {
    /// The number of the member of this name. Who writes documents mostly has an order of their own and keeps to it: the
    /// search begins behind the member that was found last.
    fn slot(&self, name: &str, last: u8) -> Option<u8> {
        let at =
            self.members.iter().skip(last.into()).position(|member| *member == name).map(|at| at + usize::from(last));
        let at = at.or_else(|| self.members.iter().take(last.into()).position(|member| *member == name));
        match at {
            Some(at) => u8::try_from(at).ok(),
            None => self.aliases.iter().find(|(alias, _)| *alias == name).map(|(_, slot)| *slot),
        }
    }

    /// Whether a member has this name.
    #[inline]
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.slot(name, 0).is_some()
    }
}

/// What [`wire_object!`] generates for a struct: tables only, the work is below.
pub(crate) trait Object {
    fn schema(&self) -> &'static Schema;
    fn read_member(&mut self, slot: u8, from: &mut dyn Source) -> Result<Found, Stop>;
    fn member(&self, slot: u8) -> Datum<'_>;
    fn rest(&self) -> (&Extra, Spelling);
    fn set_rest(&mut self, extra: Extra, spelling: Spelling);
}

impl<T: Object> Object for Box<T> {
    fn schema(&self) -> &'static Schema {
        T::schema(self)
    }

    fn read_member(&mut self, slot: u8, from: &mut dyn Source) -> Result<Found, Stop> {
        T::read_member(self, slot, from)
    }

    fn member(&self, slot: u8) -> Datum<'_> {
        T::member(self, slot)
    }

    fn rest(&self) -> (&Extra, Spelling) {
        T::rest(self)
    }

    fn set_rest(&mut self, extra: Extra, spelling: Spelling) {
        T::set_rest(self, extra, spelling);
    }
}

pub(crate) const CLASH: &str = "an extra member has the name of a known member";

/// Whether two objects of one type are equal. How absent members were spelled makes no difference.
#[inline]
pub(crate) fn equal(a: &dyn Object, b: &dyn Object) -> bool {
    a.rest().0 == b.rest().0 && (0..).zip(a.schema().members).all(|(slot, _)| a.member(slot) == b.member(slot))
}

/// Whether an unknown member has the name of a known one, so that it would be written twice.
#[inline]
pub(crate) fn clashes(object: &dyn Object) -> bool {
    object.rest().0.iter().any(|(name, _)| object.schema().knows(name))
}

/// Puts the members to be written: the known ones, then the others.
#[inline]
pub(crate) fn each_member<E>(
    object: &dyn Object,
    mut put: impl FnMut(&str, &Datum<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (extra, spelling) = object.rest();
    for (slot, name) in (0..).zip(object.schema().members) {
        match object.member(slot) {
            Datum::Absent if spelling.is_silent_about(1 << slot) => {}
            Datum::Absent => put(name, &spelling.of_nothing(1 << slot))?,
            datum => put(name, &datum)?,
        }
    }
    extra.iter().try_for_each(|(name, value)| put(name, &Datum::Raw(value)))
}

/// `Debug` without what people wrote: text that is no word of the protocol is shown only where the object says so.
#[inline]
pub(crate) fn debug(object: &dyn Object, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let schema = object.schema();
    let mut out = f.debug_struct(schema.name);
    for (slot, name) in (0..).zip(schema.members) {
        match object.member(slot) {
            Datum::Absent => {}
            Datum::Text(text) if schema.shown & 1 << slot != 0 => {
                out.field(name, &text);
            }
            datum => {
                out.field(name, &datum);
            }
        }
    }
    let (extra, _) = object.rest();
    if !extra.is_empty() {
        out.field("extra", extra);
    }
    out.finish()
}

/// An object that is being read.
pub(crate) struct Filling<'o> {
    object: &'o mut dyn Object,
    spelling: Spelling,
    extra: Vec<(Box<str>, RawJson)>,
    seen: u64,
    last: u8,
}

/// Where a member goes.
pub(crate) enum Place {
    Known(u8),
    Other(Box<str>),
}

impl<'o> Filling<'o> {
    pub(crate) fn new(object: &'o mut dyn Object) -> Self {
        Self { object, spelling: Spelling::default(), extra: Vec::new(), seen: 0, last: 0 }
    }

    pub(crate) fn name(&mut self, name: &str) -> Result<Place, Stop> {
        let Some(slot) = self.object.schema().slot(name, self.last) else {
            return Ok(Place::Other(name.into()));
        };
        self.last = slot;
        let bit = 1 << slot;
        if self.seen & bit != 0 {
            return Err(Stop::Shape("a member appears twice"));
        }
        self.seen |= bit;
        Ok(Place::Known(slot))
    }

    pub(crate) fn value(&mut self, place: Place, from: &mut dyn Source) -> Result<(), Stop> {
        match place {
            Place::Known(slot) => self.spelling.note(1 << slot, self.object.read_member(slot, from)?),
            Place::Other(name) => self.extra.push((name, from.raw_or_null()?)),
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Stop> {
        let schema = self.object.schema();
        let absent = schema.required & !self.seen;
        if absent != 0 {
            let first = absent.trailing_zeros() as usize;
            return Err(Stop::Missing(schema.members.get(first).copied().unwrap_or_default()));
        }
        let extra = Extra::from_members(self.extra).ok_or(Stop::Shape("a member appears twice"))?;
        self.object.set_rest(extra, self.spelling);
        Ok(())
    }
}

/// Gives a type of the model its place in anybody's serde types.
macro_rules! serde_value {
    ($name:ty) => {
        impl<'de> serde_core::Deserialize<'de> for $name {
            fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::model::json::deserialize(deserializer)
            }
        }

        impl serde_core::Serialize for $name {
            fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde_core::Serialize::serialize(&$crate::model::object::Value::datum(self), serializer)
            }
        }
    };
}

/// Declares a wire object: `pub field: Type = "wireName";`.
///
/// The functions are marked `#[inline]` so that types nobody uses cost no compile time.
///
/// After the name may stand further accepted names (`| "alias"`, never written), `show` (the text may
/// appear in `Debug`) and `[default]` (for a required member).
macro_rules! wire_object {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                pub $field:ident : $ty:ty = $wire:literal $(| $alias:literal)* $($show:ident)? $([$default:expr])? ;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone)]
        #[non_exhaustive]
        $vis struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
            /// Members this type does not know, in their own bytes.
            pub extra: $crate::model::Extra,
            pub(crate) spelling: $crate::model::object::Spelling,
        }

        const _: () = {
            use $crate::model::json::{Datum, Source, Stop};
            use $crate::model::object::{self, Found, Member, Object, Spelling, Schema, serde_value};

            #[allow(non_camel_case_types)]
            #[repr(u8)]
            enum Order { $($field),* }

            struct Slot;

            #[allow(non_upper_case_globals)]
            impl Slot {
                $( const $field: u8 = Order::$field as u8; )*
            }

            static SCHEMA: Schema = Schema {
                name: stringify!($name),
                members: &[$($wire),*],
                aliases: &[$( $( ($alias, Slot::$field), )* )*],
                required: 0 $( | (<$ty as Member>::REQUIRED as u64) << Slot::$field )*,
                shown: 0 $( | (wire_object!(@shown $($show)?) as u64) << Slot::$field )*,
            };

            impl PartialEq for $name {
                #[inline]
                fn eq(&self, other: &Self) -> bool {
                    object::equal(self, other)
                }
            }

            impl Default for $name {
                #[inline]
                fn default() -> Self {
                    Self {
                        $( $field: wire_object!(@default $ty $(, $default)?), )*
                        extra: $crate::model::Extra::default(),
                        spelling: Spelling::default(),
                    }
                }
            }

            impl Object for $name {
                #[inline]
                fn schema(&self) -> &'static Schema {
                    &SCHEMA
                }

                #[inline]
                fn read_member(&mut self, slot: u8, from: &mut dyn Source) -> Result<Found, Stop> {
                    match slot {
                        $( Slot::$field => Member::read(&mut self.$field, from), )*
                        _ => from.raw_or_null().map(|_| Found::Value),
                    }
                }

                #[inline]
                fn member(&self, slot: u8) -> Datum<'_> {
                    match slot {
                        $( Slot::$field => Member::datum(&self.$field), )*
                        _ => Datum::Absent,
                    }
                }

                #[inline]
                fn rest(&self) -> (&$crate::model::Extra, Spelling) {
                    (&self.extra, self.spelling)
                }

                #[inline]
                fn set_rest(&mut self, extra: $crate::model::Extra, spelling: Spelling) {
                    self.extra = extra;
                    self.spelling = spelling;
                }
            }

            serde_value!($name);

            impl std::fmt::Debug for $name {
                #[inline]
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    object::debug(self, f)
                }
            }
        };
    };
    (@default $ty:ty) => { <$ty>::default() };
    (@default $ty:ty, $default:expr) => { $default };
    (@shown) => { false };
    (@shown show) => { true };
}

pub(crate) use {serde_value, wire_object};
