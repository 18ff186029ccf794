//! Whether all numbers of a value are finite: asked before it is written or printed, because JSON
//! writes `null` and CSV `NaN` for a number that is none, and readers then stumble.

use crate::error::{Error, Result};
use serde::ser::{self, Serialize};
use std::fmt::{self, Display};
use std::path::Path;

/// Checks every number in `value`.
///
/// # Errors
/// Names the first number that is NaN or infinite by its place, such as `regret_bound.low`.
pub fn check<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    let mut walk = Walk { path: Vec::new() };
    value.serialize(&mut walk).map_err(|e| Error::invalid(e.0))
}

/// Refuses to write a number that is none: readers would stumble over it.
pub(crate) fn writable<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    check(value).map_err(|e| Error::malformed(path, format!("not written: {e}")))
}

/// A step from a value to one that it holds.
enum Step {
    Key(&'static str),
    Name(String),
    Place(usize),
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Name(name) => f.write_str(name),
            Self::Place(place) => write!(f, "{place}"),
        }
    }
}

/// A serializer that writes nothing: it goes through a value and stops at a number that is not
/// finite.
struct Walk {
    path: Vec<Step>,
}

#[derive(Debug)]
struct NotFinite(String);

impl Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Outcome = std::result::Result<(), NotFinite>;

impl Walk {
    fn into<T: Serialize + ?Sized>(&mut self, step: Step, value: &T) -> Outcome {
        self.path.push(step);
        value.serialize(&mut *self)?;
        self.path.pop();
        Ok(())
    }

    fn number(&self, value: f64) -> Outcome {
        if value.is_finite() {
            return Ok(());
        }
        let path: Vec<String> = self.path.iter().map(ToString::to_string).collect();
        let place = if path.is_empty() { "a number".into() } else { path.join(".") };
        Err(NotFinite(format!(
            "{place}: expected a finite number, found {value}; the measurements are too few or \
             contradict each other"
        )))
    }
}

/// Values that hold nothing which could be infinite.
macro_rules! nothing {
    ($($method:ident($kind:ty)),* $(,)?) => {
        $(fn $method(self, _: $kind) -> Outcome {
            Ok(())
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Walk {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Places<'a>;
    type SerializeTuple = Places<'a>;
    type SerializeTupleStruct = Places<'a>;
    type SerializeTupleVariant = Places<'a>;
    type SerializeMap = Places<'a>;
    type SerializeStruct = Places<'a>;
    type SerializeStructVariant = Places<'a>;

    nothing! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32),
        serialize_u64(u64), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    }

    fn serialize_f32(self, value: f32) -> Outcome {
        self.number(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Outcome {
        self.number(value)
    }

    fn serialize_none(self) -> Outcome {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Outcome {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Outcome {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Outcome {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Outcome {
        self.into(Step::Key(variant), value)
    }

    fn serialize_seq(self, _: Option<usize>) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }

    fn serialize_tuple(self, _: usize) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }

    fn serialize_map(self, _: Option<usize>) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> std::result::Result<Places<'a>, NotFinite> {
        Ok(Places::of(self))
    }
}

/// Values beside each other.
struct Places<'a> {
    walk: &'a mut Walk,
    next: usize,
    key: Option<String>,
}

impl<'a> Places<'a> {
    fn of(walk: &'a mut Walk) -> Self {
        Self { walk, next: 0, key: None }
    }

    fn place<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        let place = self.next;
        self.next += 1;
        self.walk.into(Step::Place(place), value)
    }
}

/// Implements a trait of values that are told apart by their place, or by a key known when
/// compiled.
macro_rules! places {
    ($($kind:ident::$method:ident),*) => {
        $(impl ser::$kind for Places<'_> {
            type Ok = ();
            type Error = NotFinite;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
                self.place(value)
            }

            fn end(self) -> Outcome {
                Ok(())
            }
        })*
    };
}

macro_rules! keys {
    ($($kind:ident),*) => {
        $(impl ser::$kind for Places<'_> {
            type Ok = ();
            type Error = NotFinite;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Outcome {
                self.walk.into(Step::Key(key), value)
            }

            fn end(self) -> Outcome {
                Ok(())
            }
        })*
    };
}

places!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);
keys!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Places<'_> {
    type Ok = ();
    type Error = NotFinite;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Outcome {
        let name = serde_json::to_string(key).unwrap_or_default();
        self.key = Some(name.trim_matches('"').to_string());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        let name = self.key.take().unwrap_or_default();
        self.walk.into(Step::Name(name), value)
    }

    fn end(self) -> Outcome {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Estimate;
    use std::collections::BTreeMap;

    #[test]
    fn the_place_of_a_number_that_is_none_is_named() {
        let good = BTreeMap::from([("a", vec![(1, Some(0.5)), (2, None)])]);
        assert!(check(&good).is_ok());
        let bad = BTreeMap::from([("a", vec![(1, Some(0.5)), (2, Some(f64::NAN))])]);
        let message = check(&bad).unwrap_err().to_string();
        assert!(message.starts_with("a.1.1: expected a finite number, found NaN"), "{message}");
        let estimate = Some(Estimate::new(1.0, f64::NEG_INFINITY, 2.0));
        assert!(check(&estimate).unwrap_err().to_string().starts_with("low: "));
        assert!(check(&f32::INFINITY).is_err() && check("NaN").is_ok());
    }
}
