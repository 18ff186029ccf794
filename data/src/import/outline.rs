//! What a JSON text is, without all of its values: enough to tell one form of file from another.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A JSON value; of each list only the first entry is kept.
#[derive(Debug, PartialEq)]
pub(super) struct Outline(pub Value);

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Keep).map(Self)
    }
}

/// Builds the value.
struct Keep;

impl<'de> Visitor<'de> for Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let first = list.next_element::<Outline>()?.map(|first| first.0);
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(first.into_iter().collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some((key, value)) = map.next_entry::<String, Outline>()? {
            kept.insert(key, value.0);
        }
        Ok(Value::Object(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_has_all_keys_and_the_first_of_each_list() {
        let text =
            r#"{"a": [{"b": [1, 2], "c": null}, 3], "d": [], "e": "x", "f": [-1.5, [true]]}"#;
        let found: Outline = serde_json::from_str(text).unwrap();
        let first =
            serde_json::json!({"a": [{"b": [1], "c": null}], "d": [], "e": "x", "f": [-1.5]});
        assert_eq!(found.0, first);
        assert!(serde_json::from_str::<Outline>(r#"{"a": [1, 2}"#).is_err());
    }
}
