//! Lists: filter, order and pages (RFC 7644 section 3.4.2).

use serde::Deserialize;
use serde_json::{Value, json};

use super::document::{Document, Selection};
use super::filter::Filter;
use super::path::Path;
use super::schema::{GROUPS, MAX_RESULTS, Resource, USERS};
use super::store::{self, Known};
use super::{Fault, ScimType, groups, users};
use crate::base::problem::Problem;
use crate::features::identity::groups::{Group, store as group_store};
use crate::platform::store::Tx;

/// Resources of a page when nobody says how many.
const DEFAULT_COUNT: u32 = 100;
/// People read at once while filtering.
const BATCH: u32 = 500;
/// The URN of lists.
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// What is asked of a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Question {
    /// Which ones.
    pub filter: Option<String>,
    /// From which one on, counted from 1.
    pub start_index: Option<i64>,
    /// How many.
    pub count: Option<i64>,
    /// In which order.
    pub sort_by: Option<String>,
    /// `ascending` or `descending`.
    pub sort_order: Option<String>,
    /// Only these attributes, with commas between.
    pub attributes: Option<String>,
    /// All but these attributes.
    pub excluded_attributes: Option<String>,
}

/// A question that was read.
struct Asked {
    filter: Option<Filter>,
    sort: Option<(Path, bool)>,
    selection: Selection,
    from: u32,
    count: u32,
}

impl Question {
    fn read(&self, resource: &Resource) -> Result<Asked, Fault> {
        let filter = self.filter.as_deref().filter(|f| !f.trim().is_empty()).map(Filter::parse).transpose()?;
        let descending = self.sort_order.as_deref().is_some_and(|o| o.eq_ignore_ascii_case("descending"));
        // An attribute that a resource has not gives no order, and is no fault.
        let sort = self.sort_by.as_deref().and_then(|by| Path::parse(resource, by).ok()).map(|p| (p, descending));
        let selection = Selection::parse(resource, self.attributes.as_deref(), self.excluded_attributes.as_deref())?;
        let from = u32::try_from(self.start_index.unwrap_or(1).max(1)).unwrap_or(u32::MAX);
        let count = self.count.map_or(DEFAULT_COUNT, |c| u32::try_from(c.max(0)).unwrap_or(MAX_RESULTS));
        Ok(Asked { filter, sort, selection, from, count: count.min(MAX_RESULTS) })
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    total: u32,
    from: u32,
    items: Vec<Value>,
}

impl Found {
    /// The body of the answer.
    pub fn body(self) -> Value {
        json!({
            "schemas": [LIST], "totalResults": self.total, "startIndex": self.from.max(1),
            "itemsPerPage": self.items.len(), "Resources": self.items,
        })
    }

    /// This list, then another one, as a page of both together.
    fn followed_by(mut self, other: Self) -> Self {
        self.total = self.total.saturating_add(other.total);
        self.items.extend(other.items);
        self
    }
}

/// A list of what a source keeps.
pub fn of_values(values: Vec<Value>) -> Found {
    Found { total: u32::try_from(values.len()).unwrap_or(u32::MAX), from: 1, items: values }
}

/// Users.
pub fn users(tx: &Tx<'_>, base: &str, question: &Question) -> Result<Found, Fault> {
    let asked = question.read(&USERS)?;
    if asked.filter.is_none() && asked.sort.is_none() {
        let (page, total) = store::page_of_users(tx, asked.from - 1, asked.count)?;
        let items = page.iter().map(|k| users::show(tx, k, base, &asked.selection)).collect::<Result<_, _>>()?;
        return Ok(Found { total, from: asked.from, items });
    }
    let text = question.filter.as_deref().unwrap_or_default().to_ascii_lowercase();
    let groups_matter = text.contains("groups") || question.sort_by.as_deref().is_some_and(|s| s.contains("groups"));
    let mut kept = Kept::new(&asked);
    let mut look = |known: &Known| -> Result<(), Problem> {
        let whole = users::render(tx, known, base, groups_matter)?;
        kept.look(whole, known.person.id.to_string());
        Ok(())
    };
    match asked.filter.as_ref().and_then(|f| narrowed(tx, f).transpose()).transpose()? {
        Some(few) => few.iter().try_for_each(&mut look)?,
        None => {
            let mut after = String::new();
            loop {
                let page = store::list_after(tx, &after, BATCH)?;
                page.iter().try_for_each(&mut look)?;
                match page.last().filter(|_| page.len() == BATCH as usize) {
                    Some(last) => after = last.person.id.to_string(),
                    None => break,
                }
            }
        }
    }
    let total = kept.total;
    let mut items = Vec::new();
    for id in kept.page() {
        items.push(users::show(tx, &users::get(tx, &id)?, base, &asked.selection)?);
    }
    Ok(Found { total, from: asked.from, items })
}

/// The few people that can fit a filter, when it says what something must equal.
fn narrowed(tx: &Tx<'_>, filter: &Filter) -> Result<Option<Vec<Known>>, Problem> {
    if let Some(id) = filter.must_equal("id", None) {
        return Ok(Some(store::find_user(tx, id)?.into_iter().collect()));
    }
    if let Some(name) = filter.must_equal("userName", None) {
        return Ok(Some(store::find_by_user_name(tx, name)?.into_iter().collect()));
    }
    if let Some(id) = filter.must_equal("externalId", None) {
        return Ok(Some(store::find_by_external_id(tx, id)?.into_iter().collect()));
    }
    for (attr, sub) in [("emails", Some("value")), ("emails", None), ("displayName", None)] {
        // What JSON writes in another way cannot be looked for as text.
        if let Some(text) = filter.must_equal(attr, sub).filter(|t| !t.is_empty() && !t.contains(['"', '\\']) && t.is_ascii()) {
            return Ok(Some(store::list_with_text(tx, text)?));
        }
    }
    Ok(None)
}

/// Groups.
pub fn groups(tx: &Tx<'_>, base: &str, question: &Question) -> Result<Found, Fault> {
    let asked = question.read(&GROUPS)?;
    if asked.filter.is_none() && asked.sort.is_none() {
        let (page, total) = group_store::page_of_groups(tx, asked.from - 1, asked.count)?;
        let items = page.iter().map(|g| groups::show(tx, g, base, &asked.selection)).collect::<Result<_, _>>()?;
        return Ok(Found { total, from: asked.from, items });
    }
    let text = question.filter.as_deref().unwrap_or_default().to_ascii_lowercase();
    let members_matter = text.contains("members") || question.sort_by.as_deref().is_some_and(|s| s.contains("members"));
    let mut kept = Kept::new(&asked);
    let mut look = |group: &Group| -> Result<(), Problem> {
        kept.look(groups::render(tx, group, base, members_matter)?, group.id.to_string());
        Ok(())
    };
    let mut offset = 0;
    loop {
        let (page, _) = group_store::page_of_groups(tx, offset, BATCH)?;
        page.iter().try_for_each(&mut look)?;
        if page.len() < BATCH as usize {
            break;
        }
        offset += BATCH;
    }
    let total = kept.total;
    let mut items = Vec::new();
    for id in kept.page() {
        items.push(groups::show(tx, &groups::get(tx, &id)?, base, &asked.selection)?);
    }
    Ok(Found { total, from: asked.from, items })
}

/// Users, then groups, for a search across both.
pub fn everything(tx: &Tx<'_>, base: &str, question: &Question) -> Result<Found, Fault> {
    if question.sort_by.is_some() {
        return Err(Fault::new(ScimType::InvalidValue, "sortBy: ask /Users or /Groups for an order"));
    }
    let users = users(tx, base, question)?;
    let read = question.read(&USERS)?;
    let shown = u32::try_from(users.items.len()).unwrap_or(u32::MAX);
    // The groups follow behind the last user.
    let start = i64::from(read.from.saturating_sub(users.total).max(1));
    let rest = Question { start_index: Some(start), count: Some(i64::from(read.count - shown)), ..question.clone() };
    let groups = groups(tx, base, &rest)?;
    Ok(users.followed_by(groups))
}

/// What fits, as far as it may be on the page.
struct Kept<'q> {
    asked: &'q Asked,
    total: u32,
    found: Vec<(String, String)>,
}

impl<'q> Kept<'q> {
    fn new(asked: &'q Asked) -> Self {
        Self { asked, total: 0, found: Vec::new() }
    }

    fn look(&mut self, whole: Document, id: String) {
        if self.asked.filter.as_ref().is_some_and(|f| !f.fits(&whole)) {
            return;
        }
        self.total += 1;
        match &self.asked.sort {
            Some((path, _)) => self.found.push((sort_key(&whole, path), id)),
            None => {
                let end = self.asked.from.saturating_add(self.asked.count);
                if self.total >= self.asked.from && self.total < end {
                    self.found.push((String::new(), id));
                }
            }
        }
    }

    fn page(mut self) -> Vec<String> {
        let Some((_, descending)) = &self.asked.sort else { return self.found.into_iter().map(|(_, id)| id).collect() };
        self.found.sort();
        if *descending {
            self.found.reverse();
        }
        let ids = self.found.into_iter().map(|(_, id)| id);
        ids.skip(self.asked.from as usize - 1).take(self.asked.count as usize).collect()
    }
}

/// What a resource is ordered by: texts without regard to case, nothing behind everything.
fn sort_key(whole: &Document, path: &Path) -> String {
    let value = path.attr.and_then(|attr| match path.extension {
        Some(urn) => whole.get(urn)?.get(attr.name),
        None => whole.get(attr.name),
    });
    let one = match value {
        // Of several values the primary one counts, or the first.
        Some(Value::Array(items)) => items.iter().find(|v| v["primary"] == true).or(items.first()),
        other => other,
    };
    let inside = match (one, path.sub) {
        (Some(Value::Object(fields)), Some(sub)) => fields.get(sub.name),
        (Some(Value::Object(fields)), None) => fields.get("value"),
        (other, _) => other,
    };
    match inside {
        Some(Value::String(text)) => format!("0{}", text.to_lowercase()),
        Some(Value::Bool(flag)) => format!("0{flag}"),
        _ => "1".to_owned(),
    }
}
