//! Lists come in pages: at most 200 items, and a cursor for the next ones.

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// The most items one page holds.
pub const MAX_LIMIT: u32 = 200;

/// What a caller asks of a list.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
pub struct PageRequest {
    /// How many items, 1 to 200; 50 when absent.
    pub limit: Option<u32>,
    /// `nextCursor` of the page before; absent for the first.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// The wanted number of items, checked.
    pub fn limit(&self) -> Result<u32, Problem> {
        match self.limit {
            None => Ok(50),
            Some(n) if (1..=MAX_LIMIT).contains(&n) => Ok(n),
            Some(n) => Err(Problem::field("limit", format!("got {n}; expected 1 to {MAX_LIMIT}"))),
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts `rows`, which were asked for as limit + 1, into a page; `key` names the cursor after an item.
    pub fn cut(mut rows: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(key) } else { None };
        Self { items: rows, next_cursor }
    }

    /// The same page with each item turned into something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}
