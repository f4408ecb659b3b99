//! What is wrong with a regular expression, in the words of Go's `regexp/syntax` as far as they follow from the pattern.

/// Our regex library's reason in Go's words; others stay as they are.
pub(super) fn go_words(pattern: &str, reason: &str) -> String {
    let (words, shown) = match reason {
        "unclosed group" => ("missing closing )", pattern),
        "unopened group" => ("unexpected )", pattern),
        "missing closing ]" => ("missing closing ]", unclosed_class(pattern)),
        "trailing backslash at end of expression" => (reason, ""),
        "repetition operator missing expression" => {
            ("missing argument to repetition operator", repetition_of_nothing(pattern))
        }
        _ => return reason.to_owned(),
    };
    format!("{words}: `{shown}`")
}

/// From the bracket on that is never closed.
fn unclosed_class(pattern: &str) -> &str {
    let mut rest = pattern;
    while let Some(at) = rest.find(['\\', '[']) {
        if rest[at..].starts_with('\\') {
            let escaped = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
            rest = &rest[at + 1 + escaped..];
            continue;
        }
        let class = &rest[at..];
        let inside = class[1..].strip_prefix('^').unwrap_or(&class[1..]);
        // A bracket that comes first is one of the characters.
        let inside = inside.strip_prefix(']').unwrap_or(inside);
        match inside.find(']') {
            Some(end) => rest = &inside[end + 1..],
            None => return class,
        }
    }
    pattern
}

/// The operator that has nothing to repeat.
fn repetition_of_nothing(pattern: &str) -> &str {
    let mut before = None;
    for (at, c) in pattern.char_indices() {
        if "*+?".contains(c) && before.is_none_or(|before| "(|".contains(before)) {
            return &pattern[at..=at];
        }
        before = Some(c);
    }
    ""
}

#[cfg(test)]
mod tests {
    use model::regex::AnchoredRegex;

    use super::*;

    #[test]
    fn patterns_fail_in_the_words_of_go() {
        for (pattern, words) in [
            ("(", "missing closing ): `(`"),
            ("a(b|c", "missing closing ): `a(b|c`"),
            ("a)", "unexpected ): `a)`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a|+b", "missing argument to repetition operator: `+`"),
            ("x[]a", "missing closing ]: `[]a`"),
            (r"\[[b][^a", "missing closing ]: `[^a`"),
            (r"a\", "trailing backslash at end of expression: ``"),
        ] {
            let error = AnchoredRegex::new(pattern).unwrap_err();
            assert_eq!(go_words(pattern, &error.reason), words);
        }
    }
}
