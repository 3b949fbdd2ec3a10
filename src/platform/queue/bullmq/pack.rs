//! MessagePack, as far as the scripts' arguments need it.

/// A value in an argument of a script.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pack<'a> {
    Nil,
    Int(i64),
    Str(&'a str),
    List(&'a [Pack<'a>]),
    Map(&'a [(&'a str, Pack<'a>)]),
}

impl Pack<'_> {
    /// Its bytes.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.write(&mut out);
        out
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => out.push(0xc0),
            Self::Int(n) => {
                out.push(0xd3);
                out.extend_from_slice(&n.to_be_bytes());
            }
            Self::Str(text) => {
                out.push(0xdb);
                head(out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Self::List(items) => {
                out.push(0xdd);
                head(out, items.len());
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(entries) => {
                out.push(0xdf);
                head(out, entries.len());
                for (key, value) in entries {
                    Self::Str(key).write(out);
                    value.write(out);
                }
            }
        }
    }
}

/// A length in four bytes; what is longer cannot be sent to Redis either.
fn head(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_format_says() {
        let packed = Pack::Map(&[("a", Pack::List(&[Pack::Nil, Pack::Int(-2)]))]).bytes();
        let expected: &[u8] = &[
            0xdf, 0, 0, 0, 1, 0xdb, 0, 0, 0, 1, b'a', 0xdd, 0, 0, 0, 2, 0xc0, 0xd3, 255, 255, 255, 255, 255, 255, 255, 254,
        ];
        assert_eq!(packed, expected);
        assert_eq!(Pack::Str("ä").bytes(), [0xdb, 0, 0, 0, 2, 0xc3, 0xa4]);
    }
}
