//! Values on their way into and out of SQL, without naming the database library.

use rusqlite::types::{ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::id::TypedId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// One SQL value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER.
    Int(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(String),
    /// BLOB.
    Blob(Vec<u8>),
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(i) => ValueRef::Integer(*i),
            Self::Real(r) => ValueRef::Real(*r),
            Self::Text(t) => ValueRef::Text(t.as_bytes()),
            Self::Blob(b) => ValueRef::Blob(b),
        }))
    }
}

/// What can be a parameter.
pub trait ToValue {
    /// The SQL value that stands for it.
    fn to_value(&self) -> Value;
}

/// What can be read from a column.
pub trait FromValue: Sized {
    /// Reads it; `Err` says what was found instead.
    fn from_value(value: ValueRef<'_>) -> Result<Self, String>;
}

/// JSON text in a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Json<T>(pub T);

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl ToValue for $t {
            fn to_value(&self) -> Value { Value::Int(i64::try_from(*self).unwrap_or(i64::MAX)) }
        }
        impl FromValue for $t {
            fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
                match value {
                    ValueRef::Integer(i) => Self::try_from(i).map_err(|_| format!("{i} is out of range")),
                    other => Err(format!("expected an integer, found {}", other.data_type())),
                }
            }
        }
    )*};
}
integers!(i64, u64, i32, u32, usize);

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Int(i64::from(*self))
    }
}
impl FromValue for bool {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        i64::from_value(value).map(|i| i != 0)
    }
}

impl ToValue for f64 {
    fn to_value(&self) -> Value {
        Value::Real(*self)
    }
}
impl FromValue for f64 {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Real(r) => Ok(r),
            ValueRef::Integer(i) => Ok(i as f64),
            other => Err(format!("expected a number, found {}", other.data_type())),
        }
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::Text(self.to_owned())
    }
}
impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}
impl FromValue for String {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Text(t) => {
                std::str::from_utf8(t).map(str::to_owned).map_err(|e| e.to_string())
            }
            other => Err(format!("expected text, found {}", other.data_type())),
        }
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}
impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}
impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value {
        Value::Blob(self.clone())
    }
}
impl FromValue for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Blob(b) => Ok(b.to_vec()),
            other => Err(format!("expected bytes, found {}", other.data_type())),
        }
    }
}
impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        let bytes = Vec::<u8>::from_value(value)?;
        let len = bytes.len();
        bytes.try_into().map_err(|_| format!("expected {N} bytes, found {len}"))
    }
}

impl ToValue for Timestamp {
    fn to_value(&self) -> Value {
        Value::Int(self.as_millis())
    }
}
impl FromValue for Timestamp {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        i64::from_value(value).map(Self::from_millis)
    }
}

impl<T: TypedId> ToValue for T {
    fn to_value(&self) -> Value {
        Value::Text(self.as_str().to_owned())
    }
}
impl<T: TypedId> FromValue for T {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        String::from_value(value).map(T::from_stored)
    }
}

impl<T: Serialize> ToValue for Json<T> {
    fn to_value(&self) -> Value {
        // A value that cannot be written as JSON becomes NULL, which a NOT NULL column refuses.
        serde_json::to_string(&self.0).map_or(Value::Null, Value::Text)
    }
}
impl<T: DeserializeOwned> FromValue for Json<T> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        serde_json::from_str(&text).map(Json).map_err(|e| e.to_string())
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}
impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl ToValue for &str {
    fn to_value(&self) -> Value {
        Value::Text((*self).to_owned())
    }
}

impl ToValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }
}

/// The parameters of a statement: `params![id, name, at]`.
#[macro_export]
macro_rules! params {
    () => { &[] as &[$crate::platform::store::Value] };
    ($($p:expr),+ $(,)?) => {
        &[$({ use $crate::platform::store::ToValue as _; ($p).to_value() }),+]
            as &[$crate::platform::store::Value]
    };
}

/// A column could not be read: the schema and the code disagree.
pub(super) fn column_problem(column: &str, why: &str) -> Problem {
    Problem::internal(format!("column {column}: {why}"))
}
