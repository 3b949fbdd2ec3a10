//! What templates may say, so that their work is bounded: fuel counts the items that a template visits, but
//! not those that a cut through a list passes over, nor what a long chain of lists comes to at once.
//!
//! # Invariants
//! - A text repeats and chooses (`for`, `if`), or keeps values (`set`), not both; it defines and includes nothing:
//!   so no value grows from round to round.
//! - Only what the context holds is cut (`vars.name[:3]`): that has been in memory before.
//! - What is written out is not multiplied, for that is done as the text is read.
//! - Lists are joined a bounded number of times in one text.

/// Statements that repeat and choose, or keep a value or a text as it is.
const STATEMENTS: [&str; 9] = ["if", "elif", "else", "endif", "for", "endfor", "set", "raw", "endraw"];
/// How often one text may join with `+` or `chain`; longer chains are made to lists at once, whatever they hold.
const MAX_JOINS: usize = 24;
/// How many operators one pair of braces may hold: each is a level of the tree that is read and walked by recursion.
const MAX_OPERATORS: usize = 400;
/// What stands for a text in quotes.
const QUOTED: char = '\u{1}';

/// Why a text is too deep to be read, which comes before anything else: a chain of operators is a tree as deep
/// as the chain is long.
fn too_deep(text: &str) -> Option<String> {
    let is_operator = |c: char| !is_word(c) && !c.is_whitespace() && !matches!(c, QUOTED | ',' | ':');
    let is_named = |w: &str| ["and", "or", "not", "in", "is", "if", "else"].contains(&w);
    let deep = parts(text).iter().any(|p| {
        p.code.chars().filter(|c| is_operator(*c)).count() + words(&p.code).filter(|w| is_named(w)).count()
            > MAX_OPERATORS
    });
    deep.then(|| format!("has more than {MAX_OPERATORS} operators in one place; use a shorter expression"))
}

/// Why a text asks for work without a bound; nothing when it does not.
pub(super) fn fault(text: &str) -> Option<String> {
    if let Some(why) = too_deep(text) {
        return Some(why);
    }
    let suspicious = text.contains("{%") || text.contains(['[', '+', '*']) || text.contains("chain");
    if !suspicious {
        return None;
    }
    let parts = parts(text);
    let bound: Vec<&str> = parts.iter().filter(|p| p.statement).flat_map(|p| bound_by(&p.code)).collect();
    let says = |word: &str| parts.iter().any(|p| p.statement && words(&p.code).next() == Some(word));
    if says("for") && says("set") {
        return Some("a text that repeats keeps no values; expected for or set, not both".to_owned());
    }
    let mut joins = 0;
    for part in &parts {
        if part.statement
            && let Some(word) = words(&part.code).next().filter(|w| !STATEMENTS.contains(w))
        {
            return Some(format!("{{% {word} %}} is not used here; expected {}", STATEMENTS.join(", ")));
        }
        if part.statement && words(&part.code).any(|w| w == "recursive") {
            return Some("a repetition does not call itself here".to_owned());
        }
        if multiplies_a_list(&part.code) {
            return Some("a list or a text in quotes is not multiplied here; expected numbers beside *".to_owned());
        }
        joins += part.code.matches('+').count() + words(&part.code).filter(|w| *w == "chain").count();
        if let Some(cut) = foreign_cut(&part.code, &bound) {
            return Some(format!("{cut}[…:…] is not cut here; expected a name with fields, such as vars.name[:3]"));
        }
    }
    (joins > MAX_JOINS).then(|| format!("joins {joins} times; expected at most {MAX_JOINS} in one text"))
}

/// Whether something is multiplied beside a list, a tuple or a text that is written out: what is written out is
/// computed when the text is read, before any fuel is counted.
fn multiplies_a_list(code: &str) -> bool {
    if !code.contains('*') {
        return false;
    }
    let is_operator = |word: &str| ["in", "not", "and", "or", "if", "else", "is"].contains(&word);
    let written_out = code.char_indices().filter(|(_, c)| matches!(c, '[' | '(')).any(|(at, c)| {
        let before = code[..at].trim_end();
        let word = words(before).last().filter(|w| before.ends_with(w)).unwrap_or_default();
        let follows = before.ends_with([')', ']', '}', QUOTED]) || !word.is_empty() && !is_operator(word);
        !follows && (c == '[' || has_comma(&code[at + 1..]))
    });
    let bare = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '*');
    let quoted = code.match_indices('*').any(|(at, _)| {
        code[..at].trim_end_matches(bare).ends_with(QUOTED) || code[at + 1..].trim_start_matches(bare).starts_with(QUOTED)
    });
    written_out || quoted
}

/// Whether what follows an opening bracket has a comma before that bracket is closed.
fn has_comma(inside: &str) -> bool {
    let mut depth = 0_usize;
    for c in inside.chars() {
        match c {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' if depth == 0 => return false,
            ']' | ')' | '}' => depth -= 1,
            ',' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// What stands between braces, its texts in quotes left out.
struct Part {
    statement: bool,
    code: String,
}

fn parts(text: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let statement = rest[at..].starts_with("{%");
        let end = if statement { "%}" } else { "}}" };
        let mut code = String::new();
        let mut quote: Option<char> = None;
        let mut escaped = false;
        let inside = &rest[at + 2..];
        let mut after = inside.len();
        for (i, c) in inside.char_indices() {
            match quote {
                Some(_) if escaped => escaped = false,
                Some(_) if c == '\\' => escaped = true,
                Some(q) if c == q => quote = None,
                Some(_) => {}
                None if inside[i..].starts_with(end) => {
                    after = i + end.len();
                    break;
                }
                None if c == '"' || c == '\'' => {
                    quote = Some(c);
                    code.push(QUOTED);
                }
                None => code.push(c),
            }
        }
        found.push(Part { statement, code });
        rest = &inside[after..];
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word(c)).filter(|w| !w.is_empty())
}

/// The names that a statement gives to values.
fn bound_by(code: &str) -> impl Iterator<Item = &str> {
    let (head, end) = match words(code).next() {
        Some("for") => (code, "in"),
        Some("set") => (code.split('=').next().unwrap_or_default(), ""),
        _ => ("", ""),
    };
    words(head).skip(1).take_while(move |w| *w != end)
}

/// What is cut and is not a value of the context.
fn foreign_cut<'a>(code: &'a str, bound: &[&str]) -> Option<&'a str> {
    let cuts = code.match_indices('[').filter(|(at, _)| is_cut(&code[at + 1..]));
    cuts.map(|(at, _)| &code[..at]).find(|before| !is_of_the_context(before, bound)).map(|before| {
        let before = before.trim_end();
        &before[path_begin(before)..]
    })
}

/// Whether a code ends with a text in quotes, or with a name of the context and its fields and elements.
fn is_of_the_context(code: &str, bound: &[&str]) -> bool {
    let mut code = code.trim_end();
    loop {
        let (head, path) = code.split_at(path_begin(code));
        let head = head.trim_end();
        if !path.is_empty() && !path.starts_with('.') {
            let root = path.split('.').next().unwrap_or_default();
            let named = root.starts_with(|c: char| c.is_alphabetic() || c == '_') && !bound.contains(&root);
            return named && !head.ends_with('|');
        }
        if head.ends_with(QUOTED) {
            return path.is_empty();
        }
        let Some(open) = head.strip_suffix(']').and_then(opening) else { return false };
        if is_cut(&head[open + 1..]) {
            return false;
        }
        code = head[..open].trim_end();
    }
}

/// Where the names and dots at the end of a code begin.
fn path_begin(code: &str) -> usize {
    let inside = code.chars().rev().take_while(|c| is_word(*c) || *c == '.').map(char::len_utf8).sum::<usize>();
    code.len() - inside
}

/// Where the bracket opens that is closed after this code.
fn opening(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, c) in code.char_indices().rev() {
        match c {
            ']' => depth += 1,
            '[' if depth == 0 => return Some(i),
            '[' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether what follows an opening bracket has a colon before that bracket is closed.
fn is_cut(inside: &str) -> bool {
    let mut depth = 0_usize;
    for c in inside.chars() {
        match c {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' if depth == 0 => return false,
            ']' | ')' | '}' => depth -= 1,
            ':' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_without_bound_is_refused_and_the_rest_is_not() {
        let joins = |n: usize| format!("{{{{ {} }}}}", vec!["a"; n + 1].join(" + "));
        let good = [
            "plain + text [1:2] + {set}", "{{ vars.name[:3] }}", "{{ vars.list[1:] | join('+') }}", "{{ 'abc'[:2] }}",
            "{% for t in vars.tags %}{{ t.name }}{% if not loop.last %}, {% endif %}{% endfor %}", "{{ {'a': [1]}['a'] }}",
            "{{ vars['a:b'] }}", "{{ a[0].b['c'][1:] }}", "{{ f(a, 2) * (b[0] + 1) }}", "{% set x = a * 2 %}{{ x // 3 }}", "{% raw %}{{ a }}{% endraw %}", "{{ '{% set a = 1 %}' }}", "{# {{ a[1:] }} #}", "{{ [{'a': 1}] }}", &joins(24),
        ];
        for text in good {
            assert_eq!(fault(text), None, "{text}");
        }
        let bad = [
            "{% set a = [b] %}{{ a[1:] }}", "{% for x in a %}{% set b = b + b %}{% endfor %}", "{{ ([1] * 9)[0][1:] }}",
            "{%- macro m(a) %}{% endmacro %}", "{% include 'x' %}", "{% with a = 1 %}{% endwith %}",
            "{{ 5 in [1] * 9 }}", "{{ (1, 2) * 9 }}", "{{ ('x') * 9 }}", "{{ 9 * 'x' }}", "{{ ([1] * 9)[1:] }}", "{{ range(9)[1:] }}", "{{ (a | list)[1:] }}", "{{ a[1:][2:] }}", "{{ [1][0:] }}",
            "{% for a in [b] %}{{ a[1:] }}{% endfor %}", "{% for k, a in b %}{{ a.x[1:] }}{% endfor %}",
            "{% for a in b recursive %}{{ loop(b) }}{% endfor %}", "{{ a|f[1:] }}", &joins(25),
        ];
        for text in bad {
            assert!(fault(text).is_some(), "{text}");
        }
    }
}
