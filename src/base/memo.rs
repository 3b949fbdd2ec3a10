//! Remembers what was made of a text, so that it is not made again.
//!
//! # Invariants
//! - What is remembered follows from the text alone; nothing ever has to be forgotten for being old.
//! - So many are kept and no more; what was not used for longest goes first.

use std::cell::RefCell;
use std::rc::Rc;

use hashlink::LruCache;

/// What was made of texts, for one thread.
pub struct Memo<T> {
    kept: RefCell<LruCache<String, Rc<T>>>,
}

impl<T> Memo<T> {
    /// Keeps at most `count`.
    pub fn new(count: usize) -> Self {
        Self { kept: RefCell::new(LruCache::new(count)) }
    }

    /// What was made of this text, or what `make` makes of it now. A failure is not remembered.
    pub fn get<E>(&self, text: &str, make: impl FnOnce() -> Result<T, E>) -> Result<Rc<T>, E> {
        if let Some(found) = self.kept.borrow_mut().get(text) {
            return Ok(Rc::clone(found));
        }
        let made = Rc::new(make()?);
        self.kept.borrow_mut().insert(text.to_owned(), Rc::clone(&made));
        Ok(made)
    }
}

impl<T> std::fmt::Debug for Memo<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memo").field("kept", &self.kept.borrow().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_worked_on_once_while_it_is_kept() {
        let memo: Memo<usize> = Memo::new(2);
        let count = std::cell::Cell::new(0);
        let make = |text: &str| {
            memo.get(text, || {
                count.set(count.get() + 1);
                if text.is_empty() { Err("empty") } else { Ok(text.len()) }
            })
        };
        assert_eq!(make("ab").map(|n| *n), Ok(2));
        assert_eq!(make("ab").map(|n| *n), Ok(2));
        assert_eq!(count.get(), 1);
        assert!(make("").is_err() && make("").is_err());
        assert_eq!(count.get(), 3, "a failure is not remembered");
        for other in ["c", "d"] {
            assert_eq!(make(other).map(|n| *n), Ok(1));
        }
        assert_eq!(make("ab").map(|n| *n), Ok(2));
        assert_eq!(count.get(), 6, "what was not used for longest went");
    }
}
