//! The placement file: which targets are pinned to which shards, and which are kept apart.
//!
//! ```yaml
//! rules:
//!   - name: payments              # distinct; for messages
//!     job: payments-.*            # the job's name; regular expressions are anchored, as in relabelling
//!     labels: {team: pay|billing} # labels after relabelling, all of them
//!     pin:
//!       shards: [0, 2-4, 7-]      # ordinals, in every replica group
//!       exclusive: true           # nothing else comes there
//!     spread:
//!       by: cluster               # targets with the same value are kept apart; absent: all of the rule
//!       required: true            # not only where there is room
//! ```
//!
//! The first rule that matches a target counts. A target without the label of `by` is not kept apart from anything.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use model::regex::AnchoredRegex;
use serde::Deserialize;

use crate::Error;
use crate::plan::{Pin, Rule, Rules, Spread, Tag};

/// A longer file is none.
const MAX_FILE: u64 = 4 << 20;

/// More are a mistake: each target is held against each of them.
const MAX_RULES: usize = 1_000;

/// There are never so many shards.
const MAX_ORDINAL: u32 = 99_999;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    job: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    pin: Option<WrittenPin>,
    #[serde(default)]
    spread: Option<WrittenSpread>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPin {
    shards: Vec<Ordinals>,
    #[serde(default)]
    exclusive: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ordinals {
    One(u32),
    Range(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSpread {
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    required: bool,
}

/// A file that was read; empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    pub(crate) rules: Arc<Rules>,
    /// One for each of the rules.
    matchers: Vec<Matcher>,
    text: String,
}

#[derive(Debug)]
struct Matcher {
    job: Option<AnchoredRegex>,
    labels: Vec<(String, AnchoredRegex)>,
    family: Family,
}

/// What targets of a rule are kept apart from.
#[derive(Debug, PartialEq, Eq)]
enum Family {
    Nothing,
    AllOfTheRule,
    /// Those with the same value of a label.
    SameLabel(String),
}

impl Placement {
    /// Reads a file. Blocks.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let error = |what: String| Error::PlacementFile { path: path.to_owned(), what };
        let length = std::fs::metadata(path).map_err(read)?.len();
        if length > MAX_FILE {
            return Err(error(format!("longer than {MAX_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        Self::parse(&text).map_err(error)
    }

    fn parse(text: &str) -> Result<Self, String> {
        // A file of comments alone is YAML's null.
        let file: Option<File> = serde_saphyr::from_str(text).map_err(|cause| cause.to_string())?;
        let written = file.map(|file| file.rules).unwrap_or_default();
        if written.len() > MAX_RULES {
            return Err(format!("{} rules, {MAX_RULES} at most are allowed", written.len()));
        }
        let (mut rules, mut matchers) = (Vec::<Rule>::new(), Vec::new());
        for (number, written) in (1..).zip(written) {
            let place = |what| format!("rule {number} ({:?}): {what}", written.name);
            if rules.iter().any(|rule| *rule.name == *written.name) {
                return Err(place("another rule has that name".to_owned()));
            }
            matchers.push(matcher(&written).map_err(place)?);
            rules.push(rule(&written).map_err(place)?);
            conflict(&rules).map_err(place)?;
        }
        Ok(Self { rules: Arc::new(Rules::new(rules)), matchers, text: text.to_owned() })
    }

    /// Whether it was read from the same text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// The first rule that matches; 0: none.
    fn rule_of<'l>(&self, open: &[u16], label: &impl Fn(&str) -> &'l str) -> u16 {
        let matches = |rule: &&u16| {
            let matcher = self.matchers.get(usize::from(**rule) - 1);
            matcher.is_some_and(|matcher| {
                matcher.labels.iter().all(|(name, value)| value.is_match(label(name)))
            })
        };
        open.iter().find(matches).copied().unwrap_or(0)
    }

    /// Rules that may be about targets of a job.
    fn rules_of_job(&self, job: &str) -> Vec<u16> {
        let numbered = (1..).zip(&self.matchers);
        let open = numbered
            .filter(|(_, matcher)| matcher.job.as_ref().is_none_or(|regex| regex.is_match(job)));
        open.map(|(rule, _)| rule).collect()
    }
}

fn matcher(written: &Written) -> Result<Matcher, String> {
    if written.job.is_none() && written.labels.is_empty() {
        return Err("neither job nor labels say which targets it is about".to_owned());
    }
    if written.pin.is_none() && written.spread.is_none() {
        return Err("neither pin nor spread says what holds for them".to_owned());
    }
    let compile = |place: &str, pattern: &str| {
        AnchoredRegex::new(pattern).map_err(|cause| format!("{place}: {cause}"))
    };
    let job = written.job.as_deref().map(|pattern| compile("job", pattern)).transpose()?;
    let labels = written
        .labels
        .iter()
        .map(|(name, pattern)| Ok((name.clone(), compile(&format!("label {name:?}"), pattern)?)));
    let family = match &written.spread {
        None => Family::Nothing,
        Some(WrittenSpread { by: None, .. }) => Family::AllOfTheRule,
        Some(WrittenSpread { by: Some(label), .. }) if label.is_empty() => {
            return Err("spread: by is empty".to_owned());
        }
        Some(WrittenSpread { by: Some(label), .. }) => Family::SameLabel(label.clone()),
    };
    Ok(Matcher { job, labels: labels.collect::<Result<_, String>>()?, family })
}

fn rule(written: &Written) -> Result<Rule, String> {
    let pin = match &written.pin {
        None => None,
        Some(pin) if pin.shards.is_empty() => return Err("pin: shards is empty".to_owned()),
        Some(pin) => {
            let shards = pin.shards.iter().map(ordinals).collect::<Result<_, String>>()?;
            Some(Pin { shards, exclusive: pin.exclusive })
        }
    };
    let spread = written.spread.as_ref();
    let spread =
        spread.map(|spread| if spread.required { Spread::Required } else { Spread::Preferred });
    Ok(Rule { name: Arc::from(written.name.as_str()), pin, spread })
}

/// `3`, `2-4` or `7-`.
fn ordinals(written: &Ordinals) -> Result<RangeInclusive<u32>, String> {
    let text = match written {
        Ordinals::One(ordinal) => ordinal.to_string(),
        Ordinals::Range(text) => text.clone(),
    };
    let range = match text.split_once('-') {
        None => text.trim().parse().ok().map(|ordinal| (ordinal, ordinal)),
        Some((first, "")) => first.trim().parse().ok().map(|first| (first, u32::MAX)),
        Some((first, last)) => first.trim().parse().ok().zip(last.trim().parse().ok()),
    };
    let Some((first, last)) = range else {
        return Err(format!("pin: {text:?} is none of 3, 2-4 and 7-"));
    };
    if first > last {
        return Err(format!("pin: {first}-{last} has no shard in it"));
    }
    let highest = if last == u32::MAX { first } else { last };
    if highest > MAX_ORDINAL {
        return Err(format!("pin: shard {highest} is beyond {MAX_ORDINAL}"));
    }
    Ok(first..=last)
}

/// Whether the last rule wants what another one has for itself alone, or the other way round.
fn conflict(rules: &[Rule]) -> Result<(), String> {
    let Some((Rule { pin: Some(last), .. }, before)) = rules.split_last() else { return Ok(()) };
    for rule in before {
        let Some(pin) = &rule.pin else { continue };
        if !pin.exclusive && !last.exclusive {
            continue;
        }
        let shared = last.shards.iter().find_map(|range| {
            let firsts = pin.shards.iter().map(|other| *other.start().max(range.start()));
            let mut both = firsts.filter(|first| range.contains(first) && pin.contains(*first));
            both.next()
        });
        if let Some(shard) = shared {
            let whose = if pin.exclusive { "that one's alone" } else { "to be its own alone" };
            let other = &rule.name;
            return Err(format!("pin: rule {other:?} has shard {shard}, too, and it is {whose}"));
        }
    }
    Ok(())
}

/// Finds out what rules make of targets.
#[derive(Debug, Default)]
pub(crate) struct Tagger {
    placement: Arc<Placement>,
    /// Rules that may be about a job's targets.
    by_job: HashMap<Arc<str>, Vec<u16>>,
    /// The number of each family, by rule and value.
    families: HashMap<(u16, String), u32>,
}

impl Tagger {
    pub(crate) fn new(placement: Arc<Placement>) -> Self {
        Self { placement, ..Self::default() }
    }

    /// The tag of a target with these labels, of which absent ones are empty.
    pub(crate) fn tag<'l>(&mut self, job: &Arc<str>, label: &impl Fn(&str) -> &'l str) -> Tag {
        if !self.by_job.contains_key(job) {
            self.by_job.insert(Arc::clone(job), self.placement.rules_of_job(job));
        }
        let open = self.by_job.get(job).map_or(&[][..], Vec::as_slice);
        let rule = self.placement.rule_of(open, label);
        let matcher =
            rule.checked_sub(1).and_then(|at| self.placement.matchers.get(usize::from(at)));
        let value = match matcher.map(|matcher| &matcher.family) {
            None | Some(Family::Nothing) => return Tag { rule, family: 0 },
            Some(Family::AllOfTheRule) => "",
            Some(Family::SameLabel(name)) => match label(name) {
                "" => return Tag { rule, family: 0 },
                value => value,
            },
        };
        let next = u32::try_from(self.families.len() + 1).unwrap_or(u32::MAX);
        let family = *self.families.entry((rule, value.to_owned())).or_insert(next);
        Tag { rule, family }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> String {
        Placement::parse(text).unwrap_err()
    }

    fn tagger(text: &str) -> Tagger {
        Tagger::new(Arc::new(Placement::parse(text).unwrap()))
    }

    fn tag(tagger: &mut Tagger, job: &str, labels: &[(&'static str, &'static str)]) -> Tag {
        let label = |name: &str| {
            labels.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
        };
        tagger.tag(&Arc::from(job), &label)
    }

    #[test]
    fn the_example_in_the_repository_is_read() {
        let text = include_str!("../../examples/placement.yml");
        assert!(Placement::parse(text).unwrap().rules.iter().count() >= 3);
    }

    #[test]
    fn the_first_rule_that_matches_job_and_labels_counts() {
        let mut tagger = tagger(
            "rules:
- {name: a, job: db-.*, labels: {team: x|y}, pin: {shards: [0]}}
- {name: b, job: db-.*, pin: {shards: [1, 3-4, '6-']}}
- {name: c, labels: {team: ''}, spread: {}}",
        );
        let rule = |tagger: &mut Tagger, job, labels| tag(tagger, job, labels).rule;
        assert_eq!(rule(&mut tagger, "db-1", &[("team", "y")]), 1);
        assert_eq!(rule(&mut tagger, "db-1", &[("team", "xy")]), 2);
        assert_eq!(rule(&mut tagger, "my-db-1", &[("team", "x")]), 0);
        assert_eq!(rule(&mut tagger, "web", &[]), 3);
        let pin = tagger.placement.rules.get(2).unwrap().pin.clone().unwrap();
        let has: Vec<u32> = (0..9).filter(|ordinal| pin.contains(*ordinal)).collect();
        assert_eq!(has, [1, 3, 4, 6, 7, 8]);
    }

    #[test]
    fn a_family_is_what_shares_a_value_or_all_of_a_rule() {
        let mut tagger = tagger(
            "rules:
- {name: a, job: a, spread: {by: cluster, required: true}}
- {name: b, job: b|c, spread: {}}",
        );
        let mut family = |job, labels| tag(&mut tagger, job, labels).family;
        let (x, y) = (family("a", &[("cluster", "x")]), family("a", &[("cluster", "y")]));
        assert_eq!(family("a", &[("cluster", "x")]), x);
        assert!(x != y && x > 0 && y > 0);
        assert_eq!(family("a", &[]), 0, "without the label");
        let all = family("b", &[]);
        assert_eq!(family("c", &[("cluster", "x")]), all);
        assert!(all > 0 && all != x && all != y);
        let required: Vec<_> = tagger.placement.rules.iter().map(|rule| rule.spread).collect();
        assert_eq!(required, [Some(Spread::Required), Some(Spread::Preferred)]);
    }

    #[test]
    fn an_empty_file_has_no_rules() {
        for text in ["", "# nothing\n", "rules: []", "{}"] {
            assert!(Placement::parse(text).unwrap().rules.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn broken_files_are_refused_with_rule_and_reason() {
        for (text, parts) in [
            ("rules: [", &[][..]),
            ("rules:\n- {name: a, jobs: x}", &["jobs"][..]),
            ("rules:\n- {job: x, spread: {}}", &["name"]),
            ("rules:\n- {name: a, spread: {}}", &["rule 1 (\"a\")", "neither job nor labels"]),
            ("rules:\n- {name: a, job: x}", &["rule 1 (\"a\")", "neither pin nor spread"]),
            ("rules:\n- {name: a, job: '(', spread: {}}", &["rule 1 (\"a\"): job: invalid"]),
            (
                "rules:\n- {name: a, labels: {b: '['}, spread: {}}",
                &["rule 1 (\"a\"): label \"b\": invalid"],
            ),
            ("rules:\n- {name: a, job: x, spread: {by: ''}}", &["by is empty"]),
            ("rules:\n- {name: a, job: x, pin: {shards: []}}", &["shards is empty"]),
            ("rules:\n- {name: a, job: x, pin: {shards: [4-2]}}", &["4-2 has no shard"]),
            ("rules:\n- {name: a, job: x, pin: {shards: [x]}}", &["is none of 3, 2-4 and 7-"]),
            ("rules:\n- {name: a, job: x, pin: {shards: [100000]}}", &["beyond 99999"]),
            (
                "rules:\n- {name: a, job: x, spread: {}}\n- {name: a, job: y, spread: {}}",
                &["rule 2 (\"a\"): another rule has that name"],
            ),
            (
                "rules:\n- {name: a, job: x, pin: {shards: [2-], exclusive: true}}\n- {name: b, job: y, pin: {shards: [0, 1-3]}}",
                &["rule 2 (\"b\")", "\"a\" has shard 2, too", "alone"],
            ),
            (
                "rules:\n- {name: a, job: x, pin: {shards: [1]}}\n- {name: b, job: y, pin: {shards: [0-], exclusive: true}}",
                &["rule 2 (\"b\")", "\"a\" has shard 1, too"],
            ),
        ] {
            let error = broken(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
