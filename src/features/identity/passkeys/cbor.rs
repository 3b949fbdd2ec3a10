//! CBOR (RFC 8949), as far as authenticators write it: the canonical form of CTAP2, with definite lengths.

/// The deepest nesting that is read.
const DEEPEST: usize = 6;
/// The most items of a list.
const MOST: usize = 64;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole number of either sign.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// Pairs, in the order they came.
    Map(Vec<(Self, Self)>),
    /// True, false, null and other simple values, by their number.
    Simple(u8),
}

impl Value {
    /// What stands under a number in a map.
    pub fn at(&self, key: i64) -> Option<&Self> {
        self.find(&Self::Int(key))
    }

    /// What stands under a name in a map.
    pub fn named(&self, key: &str) -> Option<&Self> {
        self.find(&Self::Text(key.to_owned()))
    }

    fn find(&self, key: &Self) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// The number, if it is one.
    pub fn int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The bytes, if it is some.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// The first value of `bytes`, and what follows it; `None` when it is none that is read here.
pub fn read(bytes: &[u8]) -> Option<(Value, &[u8])> {
    read_within(bytes, 0)
}

fn read_within(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    if depth > DEEPEST {
        return None;
    }
    let (first, rest) = bytes.split_first()?;
    let (kind, short) = (first >> 5, first & 31);
    if kind == 7 {
        return (short < 24).then_some((Value::Simple(short), rest));
    }
    let (number, mut rest) = match short {
        0..24 => (u64::from(short), rest),
        24..28 => {
            let (head, rest) = rest.split_at_checked(1 << (short - 24))?;
            (head.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)), rest)
        }
        _ => return None,
    };
    let value = match kind {
        0 => Value::Int(i64::try_from(number).ok()?),
        1 => Value::Int(-1 - i64::try_from(number).ok()?),
        2 | 3 => {
            let (content, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            rest = after;
            if kind == 2 { Value::Bytes(content.to_vec()) } else { Value::Text(String::from_utf8(content.to_vec()).ok()?) }
        }
        4 | 5 => {
            let count = usize::try_from(number).ok().filter(|n| *n <= MOST)?;
            let (mut items, mut pairs) = (Vec::new(), Vec::new());
            for _ in 0..count {
                let (item, after) = read_within(rest, depth + 1)?;
                rest = after;
                if kind == 4 {
                    items.push(item);
                } else {
                    let (value, after) = read_within(rest, depth + 1)?;
                    rest = after;
                    pairs.push((item, value));
                }
            }
            if kind == 4 { Value::List(items) } else { Value::Map(pairs) }
        }
        _ => return None,
    };
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 8949, appendix A.
    #[test]
    fn values_are_those_of_the_rfc() {
        for (text, value) in [
            ("00", Value::Int(0)),
            ("17", Value::Int(23)),
            ("1818", Value::Int(24)),
            ("1903e8", Value::Int(1000)),
            ("1b000000e8d4a51000", Value::Int(1_000_000_000_000)),
            ("20", Value::Int(-1)),
            ("3903e7", Value::Int(-1000)),
            ("4401020304", Value::Bytes(vec![1, 2, 3, 4])),
            ("62c3bc", Value::Text("ü".to_owned())),
            ("83010203", Value::List(vec![Value::Int(1), Value::Int(2), Value::Int(3)])),
            ("f5", Value::Simple(21)),
        ] {
            let text = if text == "62c3bc" { "62c3bc" } else { text };
            assert_eq!(read(&hex::decode(text).expect("hexadecimal")), Some((value, &[][..])), "{text}");
        }
        let map = read(&hex::decode("a201020326").expect("hexadecimal")).expect("a map").0;
        assert_eq!((map.at(1), map.at(3), map.at(5)), (Some(&Value::Int(2)), Some(&Value::Int(-7)), None));
    }

    #[test]
    fn no_input_is_a_panic_or_costs_much() {
        for text in ["", "18", "44010203", "5bffffffffffffffff", "9bffffffffffffffff", "bf", "5f", "ff", "fb3ff199999999999a", "1bffffffffffffffff", "c0", "61ff"] {
            assert_eq!(read(&hex::decode(text).expect("hexadecimal")), None, "{text}");
        }
        assert_eq!(read(&[0x81; 100_000]), None, "nested without end");
    }
}
