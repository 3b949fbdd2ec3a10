//! Use cases around definitions.

use std::sync::Arc;

use serde_json::json;

use super::diff::{Change, diff};
use super::text::Document;
use super::validate::validate;
use super::{Definition, Workflow, WorkflowStatus, store};
use crate::base::access::Principal;
use crate::base::id::WorkflowId;
use crate::base::problem::{FieldError, Problem};
use crate::features::audit::{self, Entry};
use crate::features::workflow::exceptions::authors;
use crate::platform::store::Tx;

/// Adds a draft of a new workflow.
pub fn create(tx: &Tx<'_>, by: &Principal, definition: Definition) -> Result<Workflow, Problem> {
    create_with_key(tx, by, None, definition)
}

fn create_with_key(
    tx: &Tx<'_>,
    by: &Principal,
    key: Option<String>,
    definition: Definition,
) -> Result<Workflow, Problem> {
    let id: WorkflowId = tx.new_id();
    let workflow = draft(tx, by, key.unwrap_or_else(|| id.to_string()), id, definition);
    store::insert_workflow(tx, &workflow)?;
    authors::note(tx, by, &workflow.id)?;
    record(tx, by, "workflow.created", None, &workflow)?;
    Ok(workflow)
}

fn draft(tx: &Tx<'_>, by: &Principal, key: String, id: WorkflowId, definition: Definition) -> Workflow {
    Workflow {
        id,
        key,
        version: 0,
        status: WorkflowStatus::Draft,
        definition: Arc::new(definition),
        created_by: by.person.clone(),
        created_at: tx.now(),
        updated_at: tx.now(),
        published_at: None,
    }
}

/// Changes a draft.
pub fn update(tx: &Tx<'_>, by: &Principal, id: &WorkflowId, definition: Definition) -> Result<Workflow, Problem> {
    let mut workflow = store::get_workflow(tx, id)?;
    must_be_draft(&workflow, "changed")?;
    if *workflow.definition == definition {
        return Ok(workflow);
    }
    let before = workflow.clone();
    workflow.definition = Arc::new(definition);
    workflow.updated_at = tx.now();
    store::update_workflow(tx, &workflow)?;
    authors::note(tx, by, id)?;
    record(tx, by, "workflow.updated", Some(&before), &workflow)?;
    Ok(workflow)
}

/// Removes a draft.
pub fn delete(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<(), Problem> {
    let workflow = store::get_workflow(tx, id)?;
    must_be_draft(&workflow, "deleted")?;
    store::delete_workflow(tx, id)?;
    audit::append(
        tx,
        by,
        Entry {
            action: "workflow.deleted",
            entity: "workflow",
            entity_id: id.to_string(),
            reason: None,
            prev: Some(state(&workflow)),
            new: None,
        },
    )
}

/// Makes a draft the active version; the one before is deprecated.
pub fn publish(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<Workflow, Problem> {
    let mut workflow = store::get_workflow(tx, id)?;
    must_be_draft(&workflow, "published")?;
    let found = validate(&workflow.definition);
    if !found.valid {
        let field = |path: &str| format!("definition.{path}");
        let errors =
            found.errors.into_iter().map(|e| FieldError { field: field(&e.path), message: e.message }).collect();
        return Err(Problem::Invalid { detail: "The definition has faults; mend them first.".to_owned(), errors });
    }
    if let Some(active) = store::find_by_status(tx, &workflow.key, WorkflowStatus::Active)? {
        set_deprecated(tx, by, active)?;
    }
    let before = workflow.clone();
    workflow.version = store::newest_version(tx, &workflow.key)? + 1;
    workflow.status = WorkflowStatus::Active;
    workflow.updated_at = tx.now();
    workflow.published_at = Some(tx.now());
    store::update_workflow(tx, &workflow)?;
    store::set_publisher(tx, id, by.token_maker.as_ref().or(by.person.as_ref()))?;
    record(tx, by, "workflow.published", Some(&before), &workflow)?;
    Ok(workflow)
}

/// Takes the active version out of use; its runs go on.
pub fn deprecate(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<Workflow, Problem> {
    let workflow = store::get_workflow(tx, id)?;
    if workflow.status != WorkflowStatus::Active {
        return Err(Problem::Conflict("Only an active version can be deprecated.".to_owned()));
    }
    set_deprecated(tx, by, workflow)
}

fn set_deprecated(tx: &Tx<'_>, by: &Principal, mut workflow: Workflow) -> Result<Workflow, Problem> {
    let before = workflow.clone();
    workflow.status = WorkflowStatus::Deprecated;
    workflow.updated_at = tx.now();
    store::update_workflow(tx, &workflow)?;
    record(tx, by, "workflow.deprecated", Some(&before), &workflow)?;
    Ok(workflow)
}

/// Clones a version into a draft of the same workflow.
pub fn create_version(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<Workflow, Problem> {
    let from = store::get_workflow(tx, id)?;
    if let Some(open) = store::find_by_status(tx, &from.key, WorkflowStatus::Draft)? {
        return Err(Problem::Conflict(format!("There is a draft already: {}. Publish or delete it first.", open.id)));
    }
    let workflow = draft(tx, by, from.key, tx.new_id(), (*from.definition).clone());
    store::insert_workflow(tx, &workflow)?;
    record(tx, by, "workflow.created", None, &workflow)?;
    Ok(workflow)
}

/// What bringing a document in comes to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The version it is compared with: the draft if there is one, else the newest.
    pub base: Option<Workflow>,
    /// What is different from that version.
    pub changes: Vec<Change>,
}

/// What becomes of a document that is brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A draft of a new workflow.
    Created,
    /// The draft of a workflow that is there says something else now.
    Changed,
    /// The draft or the newest version says the same already.
    Unchanged,
}

/// What bringing a document in would come to.
pub fn plan_import(tx: &Tx<'_>, document: &Document) -> Result<Plan, Problem> {
    let key = match &document.key {
        Some(key) => Some(key.clone()),
        None => key_of_name(tx, &document.definition.name)?,
    };
    let base = match key {
        Some(key) => base_version(tx, &key)?,
        None => None,
    };
    let (outcome, changes) = match &base {
        None => (Outcome::Created, Vec::new()),
        Some(base) if *base.definition == document.definition => (Outcome::Unchanged, Vec::new()),
        Some(base) => (Outcome::Changed, diff(&base.definition, &document.definition)),
    };
    Ok(Plan { outcome, base, changes })
}

/// The draft of a workflow if there is one, else its active or its newest version.
fn base_version(tx: &Tx<'_>, key: &str) -> Result<Option<Workflow>, Problem> {
    for status in [WorkflowStatus::Draft, WorkflowStatus::Active] {
        if let Some(found) = store::find_by_status(tx, key, status)? {
            return Ok(Some(found));
        }
    }
    Ok(store::list_versions(tx, key)?.into_iter().max_by_key(|w| w.version))
}

fn key_of_name(tx: &Tx<'_>, name: &str) -> Result<Option<String>, Problem> {
    let mut keys = store::list_keys_of_name(tx, name)?;
    if keys.len() > 1 {
        let all = keys.join(", ");
        return Err(Problem::Conflict(format!("Several workflows are called {name:?}. Add `key`, one of {all}.")));
    }
    Ok(keys.pop())
}

/// Brings a document in: as a new workflow, or as the draft of one that is there.
pub fn import(tx: &Tx<'_>, by: &Principal, document: Document) -> Result<(Plan, Workflow), Problem> {
    let plan = plan_import(tx, &document)?;
    let definition = document.definition;
    let workflow = match (&plan.base, plan.outcome) {
        (Some(base), Outcome::Unchanged) => base.clone(),
        (Some(base), _) if base.status == WorkflowStatus::Draft => update(tx, by, &base.id, definition)?,
        (Some(base), _) => {
            let workflow = draft(tx, by, base.key.clone(), tx.new_id(), definition);
            store::insert_workflow(tx, &workflow)?;
            record(tx, by, "workflow.created", None, &workflow)?;
            workflow
        }
        (None, _) => create_with_key(tx, by, document.key, definition)?,
    };
    Ok((plan, workflow))
}

/// Clones a version into a draft of a new workflow.
pub fn duplicate(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<Workflow, Problem> {
    let mut definition = (*store::get_workflow(tx, id)?.definition).clone();
    definition.name = format!("{} (copy)", definition.name);
    create(tx, by, definition)
}

fn must_be_draft(workflow: &Workflow, what: &str) -> Result<(), Problem> {
    if workflow.status == WorkflowStatus::Draft {
        return Ok(());
    }
    Err(Problem::Conflict(format!("Only a draft can be {what}. Make a new version first.")))
}

fn state(w: &Workflow) -> serde_json::Value {
    json!({ "name": w.definition.name, "version": w.version, "status": w.status, "definition": *w.definition })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    before: Option<&Workflow>,
    after: &Workflow,
) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action,
            entity: "workflow",
            entity_id: after.id.to_string(),
            reason: None,
            prev: before.map(state),
            new: Some(state(after)),
        },
    )
}
