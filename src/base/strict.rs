//! JSON read into types as a schema means it: what is an object is written as an object.
//!
//! serde also takes a list in an object's place, field by field in their order; then a new field in the middle of a type
//! would change what somebody's request says. Types that serde buffers (`flatten`, tagged enums) are read from their
//! buffer, where it goes on as serde does.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// A value to be read strictly: `T::deserialize(Strict(value))`.
#[derive(Debug, Clone)]
pub struct Strict(pub Value);

impl IntoDeserializer<'_, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Strict));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(fields) => {
                let mut fields = MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Strict(value))));
                let value = visitor.visit_map(&mut fields)?;
                fields.end()?;
                Ok(value)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.0.is_array() {
            return Err(Error::invalid_type(Unexpected::Seq, &"an object"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) if fields.len() == 1 => {
                let (variant, value) = fields.into_iter().next().unwrap_or_default();
                visitor.visit_enum(Variant { variant, value })
            }
            plain => plain.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// A variant with what it holds: `{"name": value}`.
struct Variant {
    variant: String,
    value: Value,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Strict;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Strict), Error> {
        Ok((seed.deserialize(self.variant.into_deserializer())?, Strict(self.value)))
    }
}

impl<'de> VariantAccess<'de> for Strict {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.0.is_null() { Ok(()) } else { Err(Error::invalid_type(Unexpected::Other("a value"), &"nothing")) }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Thing {
        name: String,
        #[serde(default)]
        parts: Vec<Part>,
        kind: Option<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Part {
        count: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Kind {
        Plain,
        Sized { width: u8 },
        Named(String),
    }

    fn read(value: Value) -> Result<Thing, String> {
        Thing::deserialize(Strict(value)).map_err(|e| e.to_string())
    }

    #[test]
    fn what_serde_reads_from_objects_is_read() {
        let thing = read(json!({ "name": "a", "parts": [{ "count": 1 }], "kind": { "sized": { "width": 2 } } })).unwrap();
        assert_eq!(thing, Thing { name: "a".into(), parts: vec![Part { count: 1 }], kind: Some(Kind::Sized { width: 2 }) });
        assert_eq!(read(json!({ "name": "a", "kind": "plain" })).unwrap().kind, Some(Kind::Plain));
        assert_eq!(read(json!({ "name": "a", "kind": { "named": "b" } })).unwrap().kind, Some(Kind::Named("b".into())));
        assert_eq!(read(json!({ "name": "a", "kind": null })).unwrap().kind, None);
    }

    #[test]
    fn a_list_is_no_object_at_any_depth() {
        let expected = "invalid type: sequence, expected an object";
        for value in [
            json!(["a", [], null]),
            json!({ "name": "a", "parts": [[1]] }),
            json!({ "name": "a", "kind": { "sized": [2] } }),
        ] {
            assert_eq!(read(value).unwrap_err(), expected);
        }
    }

    #[test]
    fn faults_are_those_of_serde() {
        assert_eq!(read(json!({ "nme": "a" })).unwrap_err(), "unknown field `nme`, expected one of `name`, `parts`, `kind`");
        assert!(read(json!({ "name": "a", "parts": [{ "count": 300 }] })).unwrap_err().contains("300"));
        assert!(read(json!({ "name": "a", "kind": "odd" })).unwrap_err().contains("unknown variant `odd`"));
    }
}
