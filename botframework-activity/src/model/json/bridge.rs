//! The same types as members of anybody's serde types. Everything here is generic over the format alone.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Source, Stop};
use crate::RawJson;
use crate::model::object::{Filling, Object, Place, Value};
use crate::model::words::word;

/// `Deserialize` for a type of the model.
pub(crate) fn deserialize<'de, T: Value, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut value = None;
    let mut take = |from: &mut dyn Source| {
        value = Some(T::read_item(from)?);
        Ok(())
    };
    Take(&mut take).deserialize(deserializer)?;
    value.ok_or_else(|| error(Stop::NULL))
}

type Taking<'t> = &'t mut dyn FnMut(&mut dyn Source) -> Result<(), Stop>;

/// Gives the value to the function as a source.
struct Take<'t>(Taking<'t>);

impl<'de> DeserializeSeed<'de> for Take<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut bridge = Bridge { deserializer: Some(deserializer), error: None, input: PhantomData };
        (self.0)(&mut bridge).map_err(|stop| bridge.error.unwrap_or_else(|| error(stop)))
    }
}

struct Bridge<'de, D: Deserializer<'de>> {
    deserializer: Option<D>,
    error: Option<D::Error>,
    input: PhantomData<&'de ()>,
}

impl<'de, D: Deserializer<'de>> Bridge<'de, D> {
    fn take<T>(&mut self, take: impl FnOnce(D) -> Result<T, D::Error>) -> Result<T, Stop> {
        let deserializer = self.deserializer.take().ok_or(Stop::Shape("a value that was taken before"))?;
        take(deserializer).map_err(|error| {
            self.error = Some(error);
            Stop::Kept
        })
    }
}

impl<'de, D: Deserializer<'de>> Source for Bridge<'de, D> {
    fn word(&mut self, known: &'static [&'static str]) -> Result<Option<Cow<'static, str>>, Stop> {
        let text: Option<String> = self.take(Option::deserialize)?;
        Ok(text.map(|text| word(&text, known)))
    }

    fn string(&mut self) -> Result<Option<String>, Stop> {
        self.take(Option::deserialize)
    }

    fn truth(&mut self) -> Result<Option<bool>, Stop> {
        self.take(Option::deserialize)
    }

    fn integer(&mut self) -> Result<Option<i64>, Stop> {
        self.take(Option::deserialize)
    }

    fn float(&mut self) -> Result<Option<f64>, Stop> {
        self.take(Option::deserialize)
    }

    fn raw(&mut self) -> Result<Option<RawJson>, Stop> {
        self.take(Option::deserialize)
    }

    fn raw_or_null(&mut self) -> Result<RawJson, Stop> {
        self.take(RawJson::deserialize)
    }

    fn object(&mut self, into: &mut dyn Object) -> Result<bool, Stop> {
        self.take(|from| from.deserialize_option(Nullable(Fill(into))))
    }

    fn list(&mut self, item: Taking<'_>) -> Result<bool, Stop> {
        self.take(|from| from.deserialize_option(Nullable(Each(item))))
    }
}

/// Whether there was anything but `null`.
struct Nullable<S>(S);

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Nullable<S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        self.0.deserialize(deserializer).map(|()| true)
    }
}

struct Fill<'o>(&'o mut dyn Object);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON object ({})", self.0.schema().name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut filling = Filling::new(self.0);
        while let Some(place) = map.next_key_seed(Name(&mut filling))? {
            let mut place = Some(place);
            map.next_value_seed(Take(&mut |from| match place.take() {
                Some(place) => filling.value(place, from),
                None => Ok(()),
            }))?;
        }
        filling.finish().map_err(error)
    }
}

struct Name<'f, 'o>(&'f mut Filling<'o>);

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Place, E> {
        self.0.name(name).map_err(error)
    }
}

struct Each<'t>(Taking<'t>);

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Take(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

fn error<E: Error>(stop: Stop) -> E {
    match stop {
        Stop::Shape(what) => E::custom(what),
        Stop::Missing(name) => E::missing_field(name),
        Stop::Malformed | Stop::Kept => E::custom("a value that cannot be read"),
    }
}
