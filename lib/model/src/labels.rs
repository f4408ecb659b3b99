//! Label sets: what identifies a series.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable label set, sorted by name, without empty values and without repeated names. Clones are cheap.
///
/// All names and values lie in one string; `ends` holds, for label `i`, where its name ends (`2i`) and where its
/// value ends (`2i + 1`).
#[derive(Clone, PartialEq, Eq)]
pub struct Labels {
    text: Arc<str>,
    ends: Arc<[u32]>,
}

impl Labels {
    /// The label set with no label.
    #[must_use]
    pub fn empty() -> Self {
        Self { text: Arc::from(""), ends: Arc::from([]) }
    }

    /// From pairs in any order. A pair with an empty value counts as absent (as in Prometheus); of pairs with one
    /// name the last wins.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// From pairs that are already sorted by name, distinct and without empty values; `None` when they are not.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut text = String::new();
        let mut ends = Vec::new();
        let mut previous: Option<&str> = None;
        for (name, value) in pairs {
            if value.is_empty() || previous.is_some_and(|previous| previous >= name) {
                return None;
            }
            previous = Some(name);
            text.push_str(name);
            ends.push(u32::try_from(text.len()).ok()?);
            text.push_str(value);
            ends.push(u32::try_from(text.len()).ok()?);
        }
        Some(Self { text: Arc::from(text), ends: Arc::from(ends) })
    }

    /// How many labels there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there is no label.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The labels in order of name.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        Pairs { text: &self.text, start: 0, ends: self.ends.chunks_exact(2) }
    }

    /// The value of a label, if it is there.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// The value of a label, or "" when it is absent: what matchers see.
    #[must_use]
    #[inline]
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, or "".
    #[must_use]
    #[inline]
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// These labels as a start for others.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Only the labels whose name passes.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self::from_sorted(self.iter().filter(|(name, _)| keep(name))).unwrap_or_else(Self::empty)
    }

    /// xxhash64 over `name 0xFF value 0xFF` of each label: equal to `labels.Labels.Hash` of Prometheus' default
    /// (slice) build and to Thanos' shard hash.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        let mut bytes = Vec::with_capacity(self.text.len() + 2 * self.len());
        for (name, value) in self.iter() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0xFF);
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0xFF);
        }
        xxhash_rust::xxh64::xxh64(&bytes, 0)
    }

    /// Memory that the labels' text takes, in bytes.
    #[must_use]
    #[inline]
    pub fn text_len(&self) -> usize {
        self.text.len()
    }
}

/// Names and values in order.
#[derive(Clone)]
struct Pairs<'a> {
    text: &'a str,
    /// Where the next name starts.
    start: usize,
    /// Where each name and value ends.
    ends: std::slice::ChunksExact<'a, u32>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let [middle, end] = self.ends.next()? else { return None };
        let (start, middle, end) = (self.start, *middle as usize, *end as usize);
        self.start = end;
        Some((&self.text[start..middle], &self.text[middle..end]))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ends.size_hint()
    }
}

impl ExactSizeIterator for Pairs<'_> {}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.ends.hash(state);
    }
}

/// Label by label, name before value; a strict prefix sorts first. The order of StoreAPI streams.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `{a="b", c="d"}`, values quoted as Go's `strconv.Quote` does for printable text.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                write_quoted(f, name)?;
            }
            f.write_str("=")?;
            write_quoted(f, value)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`: a label name that needs no quotes.
#[must_use]
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`: a metric name that needs no quotes.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Writes text in double quotes, escaped as Go's `strconv.Quote` does.
pub fn write_quoted(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\t' => out.write_str("\\t")?,
            '\r' => out.write_str("\\r")?,
            '\u{7}' => out.write_str("\\a")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            '\u{b}' => out.write_str("\\v")?,
            c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(out, "\\x{:02x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

/// Labels under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelsBuilder {
    pairs: BTreeMap<String, String>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        if value.is_empty() {
            self.pairs.remove(&name.into());
        } else {
            self.pairs.insert(name.into(), value);
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.remove(name);
        self
    }

    /// The value of a label, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    /// The labels in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Keeps only the labels that pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|name, value| keep(name, value));
    }

    /// The finished label set.
    #[must_use]
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter()).unwrap_or_else(Labels::empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_dropped() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.value("c"), "");
        assert_eq!(labels.len(), 2);
    }

    #[test]
    fn a_prefix_sorts_first_and_names_sort_before_values() {
        let a = Labels::from_pairs([("a", "1")]);
        let ab = Labels::from_pairs([("a", "1"), ("b", "1")]);
        let ac = Labels::from_pairs([("a", "1"), ("c", "0")]);
        let z = Labels::from_pairs([("a", "2")]);
        assert!(a < ab && ab < ac && ac < z);
    }

    #[test]
    fn unsorted_or_repeated_names_are_no_sorted_labels() {
        assert!(Labels::from_sorted([("b", "1"), ("a", "1")]).is_none());
        assert!(Labels::from_sorted([("a", "1"), ("a", "1")]).is_none());
        assert!(Labels::from_sorted([("a", "")]).is_none());
    }

    #[test]
    fn display_escapes() {
        let labels = Labels::from_pairs([("a.b", "x\"\n\\")]);
        assert_eq!(labels.to_string(), r#"{"a.b"="x\"\n\\"}"#);
    }
}
