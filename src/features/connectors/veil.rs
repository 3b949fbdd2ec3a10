//! Keeping secrets out of answers: a system may echo what it was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Target;

/// What stands in the place of a secret.
const VEIL: &str = "[secret]";
/// A shorter secret is found in texts that have nothing to do with it.
const SHORTEST: usize = 8;

/// The forms in which the secrets of a connector may come back.
pub(super) struct Veil(Vec<Zeroizing<String>>);

impl Veil {
    pub(super) fn of(target: &Target) -> Self {
        let mut forms: Vec<Zeroizing<String>> = Vec::new();
        for secret in target.secrets.values().filter(|s| s.len() >= SHORTEST) {
            forms.push(secret.clone());
            // As basic authentication sends it.
            if let Some(user) = target.config.get("userName").and_then(Value::as_str) {
                forms.push(Zeroizing::new(STANDARD.encode(format!("{user}:{}", secret.as_str()))));
            }
        }
        Self(forms)
    }

    /// The answer without them.
    pub(super) fn over(&self, answer: Value) -> Value {
        if self.0.is_empty() {
            return answer;
        }
        match answer {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.over(item)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(name, value)| (self.text(name), self.over(value))).collect())
            }
            other => other,
        }
    }

    fn text(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), VEIL) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::features::connectors::Policy;

    #[test]
    fn what_comes_back_has_no_secret_in_any_form() {
        let secrets = [("password", "correct horse"), ("token", "short")];
        let target = Target {
            id: "con_00000000000000000000000000".parse().expect("an id"),
            name: String::new(),
            config: json!({ "userName": "tenure" }),
            policy: Policy::default(),
            mock: false,
            secrets: secrets.into_iter().map(|(n, s)| (n.to_owned(), s.to_owned().into())).collect(),
        };
        let basic = STANDARD.encode("tenure:correct horse");
        let answer = json!({ "a": ["x correct horse y", 7, null], "correct horse": format!("Basic {basic}"), "b": "short" });
        let shown = json!({ "a": ["x [secret] y", 7, null], "[secret]": "Basic [secret]", "b": "short" });
        assert_eq!(Veil::of(&target).over(answer), shown);
    }
}
