//! From matchers to series (tsdb/querier.go, `PostingsForMatchers`): matchers that an absent label passes take series
//! away, all others are intersected first.

use model::{MatchType, Matcher};

use crate::FormatError;
use crate::index::postings::{difference, intersection};
use crate::index::{Index, StoredPostings};

/// Ids of series, ascending.
#[derive(Debug)]
pub(super) enum Ids {
    Held(std::vec::IntoIter<u32>),
    Stored(StoredPostings),
}

impl Ids {
    /// Those of the series that pass all matchers. What a single list of the index says is not held in memory.
    pub(super) fn matching(index: &Index, matchers: &[Matcher]) -> Result<Self, FormatError> {
        let stored = match matchers {
            [] => index.stored_postings("", "")?,
            [only] if only.kind == MatchType::Equal && !only.value.is_empty() => {
                index.stored_postings(&only.name, &only.value)?
            }
            several => {
                return matching_series(index, several).map(|ids| Self::Held(ids.into_iter()));
            }
        };
        Ok(stored.map_or_else(Self::none, Self::Stored))
    }

    pub(super) fn none() -> Self {
        Self::Held(Vec::new().into_iter())
    }

    /// The next one; `index` is the one that was asked.
    pub(super) fn next(&mut self, index: &Index) -> Result<Option<u32>, FormatError> {
        match self {
            Self::Held(ids) => Ok(ids.next()),
            Self::Stored(list) => index.next_of(list),
        }
    }
}

/// The ids of the series that pass all matchers, ascending.
pub fn matching_series(index: &Index, matchers: &[Matcher]) -> Result<Vec<u32>, FormatError> {
    let (optional, required): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| matcher.matches_empty());
    let mut found: Option<Vec<u32>> = None;
    for matcher in required {
        let ids = passing(index, matcher)?;
        let ids = match found {
            Some(found) => intersection(found, ids),
            None => ids,
        };
        if ids.is_empty() {
            return Ok(ids);
        }
        found = Some(ids);
    }
    let mut found = match found {
        Some(found) => found,
        None => index.all_postings()?,
    };
    for matcher in optional {
        if found.is_empty() {
            break;
        }
        if !(matcher.kind == MatchType::Regex && matcher.value == ".*") {
            found = difference(found, &failing(index, matcher)?);
        }
    }
    Ok(found)
}

/// The series with a value that passes, for a matcher that an absent label does not pass.
fn passing(index: &Index, matcher: &Matcher) -> Result<Vec<u32>, FormatError> {
    match matcher.kind {
        MatchType::Equal => index.postings(&matcher.name, &matcher.value),
        MatchType::Regex => among(index, matcher, |value| matcher.matches(value)),
        MatchType::NotEqual | MatchType::NotRegex => {
            index.postings_where(&matcher.name, "", |value| matcher.matches(value))
        }
    }
}

/// The series with a value that does not pass, for a matcher that an absent label passes.
fn failing(index: &Index, matcher: &Matcher) -> Result<Vec<u32>, FormatError> {
    match matcher.kind {
        MatchType::NotEqual => index.postings(&matcher.name, &matcher.value),
        MatchType::NotRegex => among(index, matcher, |value| !matcher.matches(value)),
        MatchType::Equal | MatchType::Regex => {
            index.postings_where(&matcher.name, "", |value| !matcher.matches(value))
        }
    }
}

/// The series with a value that the pattern matches (`matches` says it). Literals are looked up, and of a pattern
/// that begins with one only values that do so too are asked about.
fn among(
    index: &Index,
    matcher: &Matcher,
    matches: impl FnMut(&str) -> bool,
) -> Result<Vec<u32>, FormatError> {
    let pattern = matcher.value.as_str();
    if !pattern.contains(is_special) {
        let lists = pattern.split('|').filter(|value| !value.is_empty());
        let lists: Result<_, _> = lists.map(|value| index.postings(&matcher.name, value)).collect();
        return lists.map(crate::index::postings::union);
    }
    index.postings_where(&matcher.name, literal_prefix(pattern), matches)
}

/// Whether a character of a pattern is more than itself; `|` is looked at apart.
fn is_special(c: char) -> bool {
    "\\.+*?()[]{}^$".contains(c)
}

/// What every text that the pattern matches begins with.
fn literal_prefix(pattern: &str) -> &str {
    if pattern.contains('|') {
        return "";
    }
    let end = pattern.find(is_special).unwrap_or(pattern.len());
    let (prefix, rest) = pattern.split_at(end);
    // These say how often the last character comes, possibly never.
    if rest.starts_with(['*', '?', '{']) {
        let mut chars = prefix.chars();
        chars.next_back();
        return chars.as_str();
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_what_every_match_begins_with() {
        let cases = [
            ("abc.*", "abc"),
            ("abc*", "ab"),
            ("abé?", "ab"),
            ("abc{0,2}", "ab"),
            ("abc+", "abc"),
            ("a|b.*", ""),
            ("(?i)abc", ""),
            ("a\\.b", "a"),
            ("^abc", ""),
        ];
        for (pattern, prefix) in cases {
            assert_eq!(literal_prefix(pattern), prefix, "{pattern}");
        }
    }
}
