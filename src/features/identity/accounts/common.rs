//! Passwords that everybody tries first: the 10,000 most used ones, and what people make of them.

/// One a line, in the order of their bytes, behind lines of comment.
const LIST: &str = include_str!("common_passwords.txt");

/// Why a password is guessed soon, if it is.
pub fn why_common(password: &str) -> Option<&'static str> {
    let text = password.to_lowercase();
    if is_listed(&text) {
        return Some("is one of the passwords that are tried first");
    }
    if units(&text).any(is_listed) {
        return Some("is one of the passwords that are tried first, several times over");
    }
    let core = text.trim_matches(|c: char| !c.is_alphabetic());
    let plain: String = core.chars().map(unleet).collect();
    let known = |word: &str| word.chars().count() >= 4 && (is_listed(word) || units(word).any(is_listed));
    (known(core) || known(&plain)).then_some("is one of the passwords that are tried first, with something around it")
}

/// Letters that people write as digits and signs.
fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// The texts that the whole is a repetition of.
fn units(text: &str) -> impl Iterator<Item = &str> {
    let length = text.len();
    let repeats = |part: &&str| text.as_bytes().chunks(part.len()).all(|chunk| chunk == part.as_bytes());
    (1..=length / 2).filter(move |n| length.is_multiple_of(*n)).filter_map(|n| text.get(..n)).filter(repeats)
}

/// Looks a word up by halves, where it stands: a set in memory would cost more than the list.
fn is_listed(word: &str) -> bool {
    let body = LIST.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum::<usize>();
    let (mut low, mut high) = (body, LIST.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let from = LIST[low..middle].rfind('\n').map_or(low, |at| low + at + 1);
        let to = LIST[from..].find('\n').map_or(LIST.len(), |at| from + at);
        match LIST[from..to].cmp(word) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = to + 1,
            std::cmp::Ordering::Greater => high = from,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_list_is_found_and_no_other() {
        let words: Vec<&str> = LIST.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(words.len(), 10_000);
        assert!(words.is_sorted() && LIST.is_ascii());
        for word in &words {
            assert!(is_listed(word), "{word}");
            assert!(!is_listed(&format!("{word}\u{1}")), "{word}");
        }
        for other in ["", "\n", "zzzzzzzzzzzzzzz", "!", "permission", "# copyright"] {
            assert_eq!(is_listed(other), words.contains(&other), "{other:?}");
        }
    }

    #[test]
    fn what_people_make_of_common_passwords_is_common() {
        for bad in ["Password", "password2026!", "P@ssw0rd2026!!", "!!qwerty123456", "qwertyqwerty", "1234567890", "123456123456", "DragonDragon99"] {
            assert!(why_common(bad).is_some(), "{bad}");
        }
        for good in ["correct horse battery", "tenure-demo-2026", "a long enough password 1", "sunshine over Lyon", "ÄÖÜäöüßẞ", "twelve chars!"] {
            assert_eq!(why_common(good), None, "{good}");
        }
    }
}
