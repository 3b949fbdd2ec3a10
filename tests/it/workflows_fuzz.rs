//! What people write, bent out of shape: definitions, expressions, templates and forms are mutated from a kept
//! corpus by a seeded generator. Nothing panics, nothing takes long, every fault names a place, and the server
//! answers none of it with a 5xx.
//!
//! `make fuzz` runs it for ten minutes (`FUZZ_SECONDS`, `FUZZ_SEED`). What it finds is written to
//! `tests/corpus/found`, which every run begins with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tenure::base::template;
use tenure::base::time::Timestamp;
use tenure::features::workflow::definitions::text::{self, Format};
use tenure::features::workflow::definitions::validate::validate;
use tenure::features::workflow::definitions::{Definition, expression};
use tenure::features::workflow::engine::{Event, RunState, Scope, advance};
use tenure::features::workflow::runs::forms;

use crate::support::http;
use crate::support::stage::Stage;

/// What one input may take, on a machine that does other things too.
const LONGEST: Duration = Duration::from_secs(10);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}

/// A seeded sequence, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides.max(1) as u64).expect("a small number")
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len())]
    }
}

/// Pieces that mean something in one of the languages.
const PIECES: [&str; 62] = [
    "{{", "}}", "{%", "%}", "{#", "vars.", "subject", "steps", "item", "(", ")", "[", "]", "{", "}", "'", "\"", "\\", "|", "!",
    "&&", "||", "? :", ".", ",", ":", "- ", "\n", "\n  ", "\t", "&a ", "*a", "<<: *a", "---", "...", "!!binary ", "null", "true",
    "~", "0", "-1", "9223372036854775807", "1e999", "NaN", "0x", "\u{0}", "\u{feff}", "é", "𝄞", "\u{202e}", "has(", ".all(x, ", ".map(x, ",
    " in ", "for x in range(99999999)", "end", "type", "steps:", "transitions", "\"config\"", "success", "#",
];

/// A text that is a little different.
fn bent(dice: &mut Dice, text: &str, other: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(chars.len() + 1);
        let to = (at + dice.roll(12)).min(chars.len());
        match dice.roll(8) {
            0 => drop(chars.drain(at..to)),
            1 => {
                let copy: Vec<char> = chars[at..to].to_vec();
                for _ in 0..=dice.roll(40) {
                    chars.splice(at..at, copy.iter().copied());
                }
            }
            2 => {
                let piece = PIECES[dice.roll(PIECES.len())];
                let times = if dice.roll(20) == 0 { 3_000 } else { 1 };
                chars.splice(at..at, piece.repeat(times).chars());
            }
            3 if at < chars.len() => chars[at] = char::from_u32(dice.roll(0x300) as u32).unwrap_or('?'),
            4 => {
                let from: Vec<char> = other.chars().collect();
                let start = dice.roll(from.len());
                let end = (start + dice.roll(60)).min(from.len());
                chars.splice(at..to, from[start..end].iter().copied());
            }
            5 => chars.truncate(at),
            6 if chars.len() > 1 => {
                let with = dice.roll(chars.len());
                let at = at.min(chars.len() - 1);
                chars.swap(at, with);
            }
            _ => {
                let piece = PIECES[dice.roll(PIECES.len())];
                chars.splice(at..to, piece.chars());
            }
        }
    }
    chars.truncate(60_000);
    chars.into_iter().collect()
}

/// A value with one place in it that is another.
fn bent_value(dice: &mut Dice, value: &mut Value, texts: &[String]) {
    let inside = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if inside > 0 && dice.roll(8) > 0 {
        let at = dice.roll(inside);
        match value {
            Value::Array(items) if dice.roll(12) == 0 => drop(items.remove(at)),
            Value::Array(items) if dice.roll(12) == 0 => items.push(items[at].clone()),
            Value::Array(items) => bent_value(dice, &mut items[at], texts),
            Value::Object(fields) => {
                let name = fields.keys().nth(at).cloned().unwrap_or_default();
                match dice.roll(14) {
                    0 => drop(fields.remove(&name)),
                    1 => {
                        let taken = fields.remove(&name).unwrap_or_default();
                        fields.insert(bent(dice, &name, "type"), taken);
                    }
                    _ => bent_value(dice, fields.get_mut(&name).expect("a field"), texts),
                }
            }
            _ => {}
        }
        return;
    }
    let text = dice.pick(texts).clone();
    *value = match (dice.roll(12), &*value) {
        (0, _) => Value::Null,
        (1, _) => json!(dice.roll(2) == 0),
        (2, _) => json!(i64::MIN),
        (3, _) => json!(u64::MAX),
        (4, _) => json!(1e300),
        (5, _) => json!([]),
        (6, _) => json!({}),
        (7, old) => json!([old, old]),
        (8, _) => json!("x".repeat(5_000)),
        (_, Value::String(old)) => Value::from(bent(dice, old, &text)),
        (_, _) => Value::from(text),
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Language {
    Yaml,
    Json,
    Expression,
    Template,
    Form,
}

const LANGUAGES: [Language; 5] =
    [Language::Yaml, Language::Json, Language::Expression, Language::Template, Language::Form];

impl Language {
    fn ending(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Expression => "cel",
            Self::Template => "template",
            Self::Form => "form",
        }
    }

    fn seeds(self) -> Vec<String> {
        let root = corpus();
        let of_folder = |folder: PathBuf, ending: &str| -> Vec<String> {
            let inside = std::fs::read_dir(&folder).expect("a folder of the corpus");
            let mut paths: Vec<PathBuf> = inside.map(|e| e.expect("an entry").path()).collect();
            paths.retain(|p| p.extension().is_some_and(|e| e == ending));
            paths.sort();
            paths.iter().map(|p| std::fs::read_to_string(p).expect("UTF-8")).collect()
        };
        let examples = root.join("../../examples/workflows");
        let mut all = match self {
            Self::Yaml => {
                let mut all = of_folder(root.join("definitions"), "yaml");
                all.extend(of_folder(examples.clone(), "yaml"));
                all.extend(of_folder(examples.join("steps"), "yaml"));
                all
            }
            Self::Json => {
                let mut all = of_folder(root.join("definitions"), "json");
                all.extend(of_folder(examples, "json"));
                let yaml = Self::Yaml.seeds();
                all.extend(yaml.iter().filter_map(|t| text::value(t, Format::Yaml).ok()).map(|v| v.to_string()));
                all
            }
            Self::Expression | Self::Template => {
                let name = if self == Self::Expression { "expressions.txt" } else { "templates.txt" };
                let text = std::fs::read_to_string(root.join(name)).expect("a corpus");
                text.lines().map(str::to_owned).collect()
            }
            Self::Form => of_folder(root.join("forms"), "json"),
        };
        all.extend(of_folder(root.join("found"), self.ending()));
        all
    }

    /// Another text of this language, or nearly.
    fn next(self, dice: &mut Dice, seeds: &[String], texts: &[String]) -> String {
        let seed = dice.pick(seeds).clone();
        let parts = matches!(self, Self::Json | Self::Form | Self::Yaml) && dice.roll(3) > 0;
        if parts
            && let Ok(mut value) = text::value(&seed, if self == Self::Yaml { Format::Yaml } else { Format::Json })
        {
            for _ in 0..=dice.roll(3) {
                bent_value(dice, &mut value, texts);
            }
            return value.to_string();
        }
        let other = dice.pick(seeds).clone();
        bent(dice, &seed, &other)
    }

    /// What goes wrong that must not, if anything does.
    fn fault(self, text: &str) -> Option<String> {
        let began = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Yaml => definition(text, Format::Yaml),
            Self::Json => definition(text, Format::Json),
            Self::Expression => computed(text),
            Self::Template => filled(text),
            Self::Form => form(text),
        }));
        match done {
            Err(_) => Some("it panics".to_owned()),
            Ok(Err(why)) => Some(why),
            Ok(Ok(())) if began.elapsed() > LONGEST => Some(format!("it takes {:?}", began.elapsed())),
            Ok(Ok(())) => None,
        }
    }
}

fn values() -> Value {
    json!({
        "vars": { "days": 400, "n": 3, "zero": 0, "word": "x", "tags": ["a", "b", "c"], "list": [1, [2, 3]], "who": "Ada",
                  "people": [{ "name": "Ada", "lead": true }, { "name": "Rosa" }], "box": { "part": { "deep": 7 } } },
        "subject": { "displayName": "Ada", "email": "ada@example.org", "attributes": {} },
        "requestor": null,
        "steps": { "ask": { "outcome": "approved" }, "each": { "output": { "count": 3, "failed": 1 } } },
        "run": { "id": "run_1", "startedAt": "2031-03-01T00:00:00Z" },
        "item": { "name": "i" },
        "index": 1,
    })
}

/// Reads, checks, writes and runs a definition.
fn definition(text: &str, format: Format) -> Result<(), String> {
    let document = match text::read(text, format) {
        Ok(document) => document,
        Err(faults) if faults.is_empty() => return Err("it is refused without a reason".to_owned()),
        Err(faults) => {
            let placeless = faults.iter().find(|f| f.message.trim().is_empty() || (f.path.is_empty() && f.line.is_none() && text.len() < 900_000 && !is_about_the_whole(&f.message)));
            return placeless.map_or(Ok(()), |f| Err(format!("a fault without a place: {f:?}")));
        }
    };
    let found = validate(&document.definition);
    if let Some(f) = found.errors.iter().chain(&found.warnings).find(|f| f.path.is_empty() || f.message.is_empty()) {
        return Err(format!("a finding without a path: {f:?}"));
    }
    if found.valid != found.errors.is_empty() {
        return Err("valid is not what the errors say".to_owned());
    }
    for format in [Format::Yaml, Format::Json] {
        let written = text::write("key", &document.definition, format)?;
        let again = text::read(&written, format).map_err(|f| format!("what was written is refused: {f:?}\n{written}"))?;
        if again.definition != document.definition {
            return Err(format!("what was written reads as another definition\n{written}"));
        }
    }
    run(&document.definition);
    Ok(())
}

/// A fault of the whole text has no place in it.
fn is_about_the_whole(message: &str) -> bool {
    ["expected an object", "expected at most", "missing field", "empty", "end of"].iter().any(|part| message.contains(part))
}

/// Carries a run on by answering whatever it waits for.
fn run(definition: &Definition) {
    let vars: Map<String, Value> = definition.variables.iter().map(|v| (v.name.clone(), v.default.clone().unwrap_or_default())).collect();
    let mut state = RunState { vars, ..RunState::default() };
    let mut events = vec![Event::Start];
    for round in 0..12 {
        let scope = Scope { values: values(), now: Timestamp::from_millis(round * 86_400_000) };
        for event in std::mem::take(&mut events) {
            (state, _) = advance(definition, state, event, &scope);
        }
        for token in state.places() {
            let outcome = definition.step(&token.step).and_then(|s| s.transitions.first()).map_or("success", |t| t.on.as_str());
            events.push(Event::Finished { visit: token.visit, outcome: outcome.to_owned(), output: json!({ "round": round }) });
        }
        events.truncate(20);
        events.push(Event::Tick);
    }
}

fn computed(text: &str) -> Result<(), String> {
    let values = values();
    let message = match expression::check(text) {
        Ok(()) => {
            let [truth, value] = [expression::is_true(text, &values).map(drop), expression::value(text, &values).map(drop)];
            truth.and(value).err().map(|e| e.to_string())
        }
        Err(e) => Some(e.to_string()),
    };
    expression::variables(text);
    if message.is_some_and(|m| m.trim().is_empty()) { Err("a fault without words".to_owned()) } else { Ok(()) }
}

fn filled(text: &str) -> Result<(), String> {
    let value = json!({ "a": [text], "dn": text, "path": text });
    let checked = template::check_value(&value);
    let rendered = template::render_value(&value, &values());
    template::names(text);
    for error in [checked.as_ref().err(), rendered.as_ref().err()].into_iter().flatten() {
        if error.path.is_empty() || error.message.trim().is_empty() {
            return Err(format!("a fault without a place: {error:?}"));
        }
    }
    match &checked {
        Err(e) if !e.message.starts_with("line ") => Err(format!("a spelling fault without a line: {e:?}")),
        _ => Ok(()),
    }
}

fn form(text: &str) -> Result<(), String> {
    let Ok(whole) = serde_json::from_str::<Value>(text) else { return Ok(()) };
    let input = whole["input"].as_object().cloned().unwrap_or_default();
    let steps = json!([{ "id": "end", "name": "End", "type": "end" }]);
    let definition = json!({ "name": "F", "variables": whole["variables"], "steps": steps });
    let Ok(definition) = text::definition(definition) else { return Ok(()) };
    match forms::variables(&definition, input) {
        Ok(_) => Ok(()),
        Err(problem) if problem.status() == 422 => Ok(()),
        Err(problem) => Err(format!("a form is answered by {}: {problem}", problem.status())),
    }
}

/// Keeps an input that did what it must not, and fails.
fn keep(language: Language, text: &str, why: &str) -> ! {
    use sha2::{Digest, Sha256};
    let name = format!("{}.{}", &hex::encode(Sha256::digest(text))[..16], language.ending());
    let path = corpus().join("found").join(name);
    std::fs::write(&path, text).expect("the find is kept");
    panic!("{}: {why}", path.display());
}

#[test]
fn what_people_write_is_refused_with_a_place_and_never_with_a_panic() {
    let seconds = number("FUZZ_SECONDS", 10);
    let mut dice = Dice(number("FUZZ_SEED", 2031));
    let seeds: Vec<(Language, Vec<String>)> = LANGUAGES.iter().map(|l| (*l, l.seeds())).collect();
    let texts: Vec<String> = seeds[2].1.iter().chain(&seeds[3].1).cloned().collect();
    for (language, all) in &seeds {
        for text in all {
            if let Some(why) = language.fault(text) {
                panic!("{language:?} of the corpus: {why}\n{text}");
            }
        }
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut tried = 0_u64;
    while Instant::now() < until {
        let (language, all) = &seeds[dice.roll(seeds.len())];
        let text = language.next(&mut dice, all, &texts);
        if let Some(why) = language.fault(&text) {
            keep(*language, &text, &why);
        }
        tried += 1;
    }
    println!("{tried} inputs in {seconds} s");
    assert!(tried > seconds, "{tried} inputs in {seconds} s are no test");
}

/// The same by HTTP: checked, taken in, published and started, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_answers_nothing_that_people_write_with_a_5xx() {
    let seconds = number("FUZZ_SECONDS", 10);
    let mut dice = Dice(number("FUZZ_SEED", 2031) ^ 0x5eed);
    let stage = Stage::start().await;
    let mona = stage.mona().await;
    let made = mona.post("/api/auth/tokens", json!({ "name": "fuzz" })).await.expect("a token");
    let token = made["token"].as_str().expect("a token").to_owned();
    let (yaml, json_seeds) = (Language::Yaml.seeds(), Language::Json.seeds());
    let texts: Vec<String> = [Language::Expression.seeds(), Language::Template.seeds()].concat();
    let client = http();
    let send = async |path: &str, kind: &str, body: String| {
        let url = format!("{}{path}", stage.running.base);
        let answer = client.post(url).bearer_auth(&token).header("content-type", kind).body(body.clone()).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let value: Value = answer.json().await.unwrap_or_default();
        (status, value)
    };
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut answers = std::collections::BTreeMap::<u16, u32>::new();
    while Instant::now() < until {
        let (language, seeds, kind) =
            if dice.roll(2) == 0 { (Language::Yaml, &yaml, "application/yaml") } else { (Language::Json, &json_seeds, "application/json") };
        let text = language.next(&mut dice, seeds, &texts);
        let mut asked = vec![send("/api/workflows/import", kind, text.clone()).await];
        if let Some(id) = asked[0].1["id"].as_str().map(str::to_owned) {
            let published = send(&format!("/api/workflows/{id}/publish"), "application/json", "{}".to_owned()).await;
            if published.0 == 200 {
                let input = json!({ "input": asked[0].1["changes"] }).to_string();
                asked.push(send(&format!("/api/workflows/{id}/start"), "application/json", "{\"input\": {}}".to_owned()).await);
                asked.push(send(&format!("/api/workflows/{id}/start"), "application/json", input).await);
            }
            asked.push(published);
        }
        if language == Language::Json {
            asked.push(send("/api/workflows/validate", kind, format!("{{\"definition\": {text}}}")).await);
        }
        for (status, body) in asked {
            if status >= 500 {
                keep(language, &text, &format!("the server answers {status}: {body}"));
            }
            if status == 422 && body["errors"].as_array().is_some_and(Vec::is_empty) && body["detail"].as_str().is_none_or(str::is_empty) {
                keep(language, &text, &format!("a refusal without a reason: {body}"));
            }
            *answers.entry(status).or_default() += 1;
        }
    }
    println!("{answers:?}");
    assert!(answers.contains_key(&200) && answers.contains_key(&422), "both kinds of answers came: {answers:?}");
    stage.running.stop().await;
}
