//! What follows from the entries of the log: who belongs to the population, what was decided, what was out of the
//! ordinary. Whoever checks a pack applies the same rules; `docs/audit.md` has them in words.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Asked, BY_HAND, Case, Decision, ENDED, Event, GRANTED, Opened};
use crate::base::id::TypedId;
use crate::base::time::Timestamp;

/// The entry by which access was gone.
pub fn ended(assignment: &[Event]) -> Option<&Event> {
    assignment.iter().find(|e| ENDED.contains(&e.action.as_str()))
}

/// Whether something that was granted and has ended so belongs to the period.
pub fn is_in_period(granted_at: Timestamp, ended_at: Option<Timestamp>, asked: &Asked) -> bool {
    granted_at < asked.to && ended_at.is_none_or(|end| end >= asked.from)
}

/// Whether a grant was asked for. Of one that was erased nobody can tell: it is not left out.
pub fn is_in_scope(granted: &Value, asked: &Asked) -> bool {
    is_one_of(&granted["roleId"], &asked.role_ids) && is_one_of(&granted["personId"], &asked.person_ids)
}

fn is_one_of<I: TypedId>(id: &Value, wanted: &[I]) -> bool {
    wanted.is_empty() || id.as_str().is_none_or(|id| wanted.iter().any(|one| one.as_str() == id))
}

/// Whether an entry tells how its assignment or document stands; a reminder of an end does not.
fn tells_state(event: &Event) -> bool {
    event.new.value()["state"].is_string()
}

fn or_empty(value: &Value) -> Value {
    if value.is_array() { value.clone() } else { json!([]) }
}

fn who(event: &Event) -> Value {
    json!({ "type": event.actor.kind, "id": event.actor.id })
}

/// The row of an assignment: as it was granted, and as it stood at the end of the period.
pub fn population(case: &Case, asked: &Asked) -> Value {
    let granted = &case.assignment[0];
    let then = case.assignment.iter().rev().find(|e| e.at < asked.to && tells_state(e));
    let (given, then) = (granted.new.value(), then.map_or(&Value::Null, |e| e.new.value()));
    let end = ended(&case.assignment).filter(|e| e.at < asked.to);
    let entries: Vec<u64> = case.assignment.iter().map(|e| e.seq).collect();
    json!({
        "assignmentId": granted.id,
        "personId": given["personId"],
        "roleId": given["roleId"],
        "roleName": given["roleName"],
        "reason": given["reason"],
        "runId": given["runId"],
        "grantedAt": granted.at,
        "grantedBy": who(granted),
        "startsAt": given["startsAt"],
        "documents": or_empty(&given["documents"]),
        "state": then["state"],
        "expiresAt": then["expiresAt"],
        "endReason": then["endReason"],
        "endedAt": end.map(|e| e.at),
        "erased": granted.new == Opened::Erased,
        "entries": entries,
        "seq": granted.seq,
    })
}

/// The rows of what was decided.
pub fn decisions(case: &Case) -> Vec<Value> {
    case.decisions.iter().map(|decision| decision_row(&case.assignment[0].id, decision)).collect()
}

fn decision_row(assignment: &str, Decision { event, related }: &Decision) -> Value {
    let new = event.new.value();
    json!({
        "assignmentId": assignment,
        "approvalId": event.id,
        "runId": new["run"],
        "action": event.action,
        "state": new["state"],
        "at": event.at,
        "by": who(event),
        "onBehalfOf": or_empty(&new["onBehalfOf"]),
        "votes": or_empty(&new["votes"]),
        "byEscalation": new["byEscalation"] == true,
        "exception": new["exception"] == true,
        "reason": event.context.value()["reason"],
        "related": related,
        "seq": event.seq,
    })
}

/// One exception, with the entry that shows it.
fn exception(case: &Case, kind: &str, shown_by: &Event, at: Timestamp, detail: String) -> Value {
    json!({
        "assignmentId": case.assignment[0].id, "kind": kind, "seq": shown_by.seq, "at": at, "detail": detail,
        "way": null, "what": null,
    })
}

/// The rows of what was out of the ordinary, by the entry that shows it.
pub fn exceptions(case: &Case, asked: &Asked) -> Vec<Value> {
    let mut found = Vec::new();
    overrides(case, &mut found);
    documents_at_grant(case, &mut found);
    documents_later(case, asked, &mut found);
    found.extend(late(case, asked));
    let key = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        (row["seq"].as_u64(), text("kind"), text("what"))
    };
    found.sort_by_key(key);
    found
}

/// How somebody came to stand behind what was done outside a run.
fn way(event: &Event) -> &'static str {
    let mark = &event.context.value()["exception"];
    match mark["id"].as_str().and_then(|id| id.split_once('_')) {
        Some(("brk", _)) => "emergency",
        Some(("imp", _)) => "import",
        _ if mark["decidedBy"].is_string() => "second_person",
        _ => "alone",
    }
}

fn overrides(case: &Case, found: &mut Vec<Value>) {
    let granted = &case.assignment[0];
    let mut add = |kind: &str, event: &Event, way: Option<&str>, detail: &str| {
        let mut row = exception(case, kind, event, event.at, detail.to_owned());
        row["way"] = json!(way);
        found.push(row);
    };
    if granted.new == Opened::Erased {
        add("erased", granted, None, "what was granted was erased; whether it was asked for cannot be told");
    } else if granted.new.value()["runId"].is_null() {
        add("outside_a_run", granted, Some(way(granted)), "it was given without a request that somebody decided about");
    } else if !case.decisions.iter().any(|d| d.event.new.value()["state"] == "approved") {
        add("no_decision", granted, None, "it was given by a run in which nobody approved it");
    }
    for Decision { event, .. } in &case.decisions {
        let new = event.new.value();
        if new["state"] == "approved" && (new["byEscalation"] == true || new["exception"] == true) {
            add("decided_by_nobody", event, None, "nobody decided in time, and the workflow went on");
        }
    }
    for event in &case.by_hand {
        let kind = if event.action == BY_HAND[0] { "step_passed_over" } else { "variables_changed" };
        add(kind, event, Some(way(event)), "somebody changed the course of its run by hand");
    }
    for event in case.assignment.iter().filter(|e| e.action == "role.extended") {
        add("extended", event, Some(way(event)), "it was let last longer");
    }
}

/// The types of documents that a role wants, as of the newest of these entries.
fn required<'e>(role: impl DoubleEndedIterator<Item = &'e Event>) -> (Option<&'e Event>, BTreeSet<String>) {
    let newest = role.rev().find(|e| e.new.value()["requiredDocumentTypes"].is_array());
    let types = newest.and_then(|e| e.new.value()["requiredDocumentTypes"].as_array());
    let types = types.into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect();
    (newest, types)
}

/// What a document was, as of the newest of these entries.
fn stood<'e>(document: impl DoubleEndedIterator<Item = &'e Event>) -> Option<&'e Value> {
    document.rev().find(|e| tells_state(e)).map(|e| e.new.value())
}

fn documents_at_grant(case: &Case, found: &mut Vec<Value>) {
    let granted = &case.assignment[0];
    if !matches!(granted.new, Opened::Told(_)) {
        return;
    }
    let (_, mut missing) = required(case.role.iter().filter(|e| e.seq < granted.seq));
    for document in case.documents.values() {
        let then = stood(document.iter().filter(|e| e.seq < granted.seq));
        if let Some(then) = then.filter(|then| then["state"] == "approved") {
            missing.remove(then["type"].as_str().unwrap_or_default());
        }
    }
    for kind in missing {
        let detail = format!("no approved document of type {kind} was there when it was granted");
        let mut row = exception(case, "document_missing", granted, granted.at, detail);
        row["what"] = json!(kind);
        found.push(row);
    }
}

fn documents_later(case: &Case, asked: &Asked, found: &mut Vec<Value>) {
    let granted = &case.assignment[0];
    let end = ended(&case.assignment).map(|e| e.at);
    let mut held = BTreeSet::new();
    for (id, document) in &case.documents {
        held.extend(stood(document.iter()).and_then(|v| v["type"].as_str()).map(str::to_owned));
        let over = document.iter().find(|e| {
            e.seq > granted.seq && ["document.expired", "document.withdrawn"].contains(&e.action.as_str())
        });
        // One that ran out while nobody noticed has no entry of its end.
        let unnoticed = || {
            let newest = document.iter().rev().find(|e| tells_state(e))?;
            Some((newest, newest.new.value()["expiresAt"].as_str()?.parse().ok()?))
        };
        let Some((event, at)) = over.map(|e| (e, e.at)).or_else(unnoticed) else { continue };
        if is_late(at, end, asked) {
            let detail = format!("access was there longer than {} minutes after a document that it rests on ended", asked.late_after_minutes);
            let mut row = exception(case, "document_ended", event, at, detail);
            row["what"] = json!(id);
            found.push(row);
        }
    }
    let until = end.map_or(asked.to, |end| end.min(asked.to));
    if let (Some(event), wanted) = required(case.role.iter().filter(|e| e.at < until))
        && event.seq > granted.seq
    {
        for kind in wanted.difference(&held) {
            let detail = format!("its role wants a document of type {kind} since then, and it rests on none");
            let mut row = exception(case, "document_required_since", event, event.at, detail);
            row["what"] = json!(kind);
            found.push(row);
        }
    }
}

/// Whether access that was due to be gone at `due`, in the period, was there for too long after it.
fn is_late(due: Timestamp, end: Option<Timestamp>, asked: &Asked) -> bool {
    let limit = due.plus(asked.tolerance());
    due < asked.to && end.map_or(asked.to > limit, |end| end > limit)
}

/// Access that was there for too long after its end.
fn late(case: &Case, asked: &Asked) -> Option<Value> {
    let newest = |action: &str| case.assignment.iter().rev().find(|e| e.action == action);
    let expires = |e: &Event| e.new.value()["expiresAt"].as_str().and_then(|t| t.parse().ok());
    let (event, due) = if let Some(event) = newest("role.revoking") {
        (event, event.at)
    } else if let Some(event) = newest("role.expiring") {
        (event, expires(event).unwrap_or(event.at))
    } else {
        let then = case.assignment.iter().rev().find(|e| e.at < asked.to && tells_state(e))?;
        (then, expires(then)?)
    };
    let end = ended(&case.assignment).map(|e| e.at);
    if !is_late(due, end, asked) {
        return None;
    }
    let until = end.unwrap_or(asked.to);
    let minutes = until.since(due).as_secs() / Duration::from_secs(60).as_secs();
    let detail = match end {
        Some(end) => format!("due at {due}, gone at {end}: {minutes} minutes later"),
        None => format!("due at {due}, still there at the end of the period, {minutes} minutes later"),
    };
    Some(exception(case, "late_end", event, due, detail))
}

/// Whether an entry begins an assignment.
pub fn begins(entity: &str, action: &str) -> bool {
    entity == "assignment" && action == GRANTED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::audit::Actor;

    fn at(text: &str) -> Timestamp {
        format!("2031-{text}:00Z").parse().unwrap()
    }

    fn event(seq: u64, when: &str, action: &str, new: Value) -> Event {
        let id = if action.starts_with("role.") { "asg_1" } else { "other" };
        Event {
            seq,
            hash: [0; 32],
            at: at(when),
            action: action.to_owned(),
            id: id.to_owned(),
            actor: Actor { kind: "person".into(), id: "per_1".into() },
            context: Opened::Told(json!({ "reason": "why" })),
            new: Opened::Told(new),
        }
    }

    fn asked() -> Asked {
        Asked {
            from: at("03-01T00:00"),
            to: at("04-01T00:00"),
            role_ids: Vec::new(),
            person_ids: Vec::new(),
            open_others: true,
            late_after_minutes: 60,
        }
    }

    fn granted() -> Value {
        json!({ "personId": "per_9", "roleId": "rol_1", "roleName": "Reader", "runId": "run_1", "state": "active",
                "expiresAt": "2031-03-20T12:00:00.000Z", "documents": ["doc_1"] })
    }

    fn approved() -> Decision {
        Decision { event: event(4, "02-01T10:00", "approval.decided", json!({ "run": "run_1", "state": "approved" })), related: false }
    }

    fn kinds(case: &Case) -> Vec<String> {
        exceptions(case, &asked()).iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
    }

    fn sound() -> Case {
        let document = |seq, when, action, state| {
            event(seq, when, action, json!({ "type": "training", "state": state, "expiresAt": "2031-12-01T00:00:00.000Z" }))
        };
        Case {
            assignment: vec![
                event(5, "02-01T12:00", GRANTED, granted()),
                event(9, "03-20T12:00", "role.expiring", granted()),
                event(10, "03-20T12:05", "role.expired", json!({ "state": "expired", "expiresAt": "2031-03-20T12:00:00.000Z" })),
            ],
            role: vec![event(1, "01-01T00:00", "role.created", json!({ "requiredDocumentTypes": ["training"] }))],
            documents: [("doc_1".to_owned(), vec![
                document(2, "01-02T00:00", "document.submitted", "submitted"),
                document(3, "01-03T00:00", "document.approved", "approved"),
            ])].into(),
            decisions: vec![approved()],
            by_hand: Vec::new(),
        }
    }

    #[test]
    fn what_goes_by_the_rules_is_no_exception() {
        assert_eq!(kinds(&sound()), Vec::<String>::new());
        let row = population(&sound(), &asked());
        assert_eq!((&row["state"], &row["endedAt"]), (&json!("expired"), &json!("2031-03-20T12:05:00.000Z")));
        assert_eq!((&row["entries"], &row["seq"]), (&json!([5, 9, 10]), &json!(5)));
    }

    #[test]
    fn the_period_has_what_was_there_at_any_moment_of_it() {
        let asked = asked();
        for (granted, ended, inside) in [
            ("02-01T12:00", None, true),
            ("02-01T12:00", Some("03-01T00:00"), true),
            ("02-01T12:00", Some("02-28T23:59"), false),
            ("03-31T23:59", None, true),
            ("04-01T00:00", None, false),
        ] {
            assert_eq!(is_in_period(at(granted), ended.map(at), &asked), inside, "{granted} {ended:?}");
        }
    }

    /// What was erased is not left out of any scope: nobody can say that it does not belong there.
    #[test]
    fn a_scope_leaves_out_what_is_known_to_be_outside() {
        let id = |n: u8| format!("0000000000000000000000000{n}");
        let mut asked = asked();
        asked.role_ids = vec![format!("rol_{}", id(1)).parse().unwrap()];
        let of = |role: u8| json!({ "roleId": format!("rol_{}", id(role)), "personId": format!("per_{}", id(9)) });
        assert!(is_in_scope(&of(1), &asked) && !is_in_scope(&of(2), &asked) && is_in_scope(&Value::Null, &asked));
        asked.person_ids = vec![format!("per_{}", id(8)).parse().unwrap()];
        assert!(!is_in_scope(&of(1), &asked));
    }

    #[test]
    fn each_way_around_the_rules_is_an_exception() {
        let mut case = sound();
        case.decisions.clear();
        assert_eq!(kinds(&case), ["no_decision"]);
        case.assignment[0].new = Opened::Told(json!({ "roleId": "rol_1", "documents": ["doc_1"] }));
        let row = &exceptions(&case, &asked())[0];
        assert_eq!((&row["kind"], &row["way"]), (&json!("outside_a_run"), &json!("alone")));
        for (mark, way) in [
            (json!({ "id": "brk_1" }), "emergency"),
            (json!({ "id": "imp_1", "decidedBy": "per_2" }), "import"),
            (json!({ "id": "exc_1", "decidedBy": "per_2" }), "second_person"),
            (json!({ "id": null, "requestedBy": "per_2" }), "alone"),
        ] {
            case.assignment[0].context = Opened::Told(json!({ "exception": mark }));
            assert_eq!(exceptions(&case, &asked())[0]["way"], way);
        }
        case.assignment[0].new = Opened::Erased;
        assert_eq!(kinds(&case), ["erased"]);
        let mut case = sound();
        case.decisions[0].event.new = Opened::Told(json!({ "run": "run_1", "state": "approved", "byEscalation": true }));
        case.by_hand = vec![event(6, "02-01T11:00", BY_HAND[0], json!({})), event(7, "02-01T11:00", BY_HAND[1], json!({}))];
        case.assignment.insert(1, event(8, "02-05T00:00", "role.extended", granted()));
        assert_eq!(kinds(&case), ["decided_by_nobody", "step_passed_over", "variables_changed", "extended"]);
    }

    #[test]
    fn a_document_that_is_missing_or_ended_is_an_exception() {
        let mut case = sound();
        case.documents.get_mut("doc_1").unwrap().pop();
        assert_eq!(kinds(&case), ["document_missing"]);
        let mut case = sound();
        let withdrawn = event(7, "03-10T12:00", "document.withdrawn", json!({ "type": "training", "state": "withdrawn" }));
        case.documents.get_mut("doc_1").unwrap().push(withdrawn);
        assert_eq!(kinds(&case), ["document_ended"]);
        let mut case = sound();
        case.role.push(event(6, "02-10T00:00", "role.updated", json!({ "requiredDocumentTypes": ["training", "visa"] })));
        assert_eq!(kinds(&case), ["document_required_since"]);
        // After the end it is no matter any more.
        case.role[1].at = at("03-25T00:00");
        assert_eq!(kinds(&case), Vec::<String>::new());
    }

    #[test]
    fn access_that_stays_too_long_is_an_exception_from_the_minute_on() {
        let mut case = sound();
        case.assignment[2].at = at("03-20T13:00");
        assert_eq!(kinds(&case), Vec::<String>::new());
        case.assignment[2].at = at("03-20T13:01");
        let row = exceptions(&case, &asked()).remove(0);
        assert_eq!((&row["kind"], &row["seq"], &row["at"]), (&json!("late_end"), &json!(9), &json!("2031-03-20T12:00:00.000Z")));
        case.assignment.truncate(1);
        assert_eq!(kinds(&case), ["late_end"], "nobody noticed its end");
        case.assignment[0].new = Opened::Told({
            let mut new = granted();
            new["expiresAt"] = json!("2031-04-20T12:00:00.000Z");
            new
        });
        assert_eq!(kinds(&case), Vec::<String>::new(), "it ends after the period");
    }
}
