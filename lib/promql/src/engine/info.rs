//! `info()`: labels of info series (`target_info`) put onto the series that they describe (promql/info.go).
//!
//! Which info series there are is asked only once the input is known: the storage gets the values of the identifying
//! labels that occur in it.

use std::collections::{BTreeMap, BTreeSet};

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchType, Matcher};

use super::collect::Rows;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::grid::Grid;
use super::memory::keep;
use super::ordinals::{KeyLabels, Ordinals};
use super::plan::{Info, Select};
use super::row::{Row, Steps};
use super::select::Picked;
use crate::budget::Reserved;
use crate::error::QueryError;

/// What an info series and the series it describes have in common.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// All info series, found by metric name and the values of the identifying labels.
struct Described<'q> {
    /// Labels, and per step when the sample was taken (seconds).
    series: Vec<(Labels, Row)>,
    names: BTreeSet<String>,
    signatures: Ordinals<'q>,
    /// By the number of the signature.
    groups: Vec<Vec<usize>>,
}

impl Evaluator<'_> {
    pub(super) fn info(&self, node: &Info, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let input = Rows::collect(self, &node.input, grid)?;
        let is_info = |labels: &Labels| node.names.iter().all(|m| m.matches(labels.metric_name()));
        let described =
            input.list.iter().map(|(series, _)| &series.labels).filter(|labels| !is_info(labels));
        let mut memory = self.reserve("info series");
        let mut info = self.info_series(node, described, grid, &mut memory)?;
        let mut present = Steps::none(grid.len);
        input.list.iter().for_each(|(_, row)| present.add(&row.valid));
        info.check(&present)?;
        let mut out = Rows::new(self);
        for (series, row) in &input.list {
            if is_info(&series.labels) {
                out.add(self, series, row)?;
            } else {
                self.enrich(node, &mut info, series, row, &mut out)?;
            }
        }
        out.push(self, sink)
    }

    fn info_series<'l>(
        &self,
        node: &Info,
        input: impl Iterator<Item = &'l Labels>,
        grid: Grid,
        memory: &mut Reserved,
    ) -> Result<Described<'_>, QueryError> {
        let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for labels in input {
            for name in IDENTIFYING {
                if let Some(value) = labels.get(name).filter(|value| !value.is_empty()) {
                    wanted.entry(name).or_default().insert(escaped(value));
                }
            }
        }
        let mut info = Described {
            series: Vec::new(),
            names: BTreeSet::new(),
            signatures: self.ordinals("info series"),
            groups: Vec::new(),
        };
        if wanted.is_empty() {
            return Ok(info);
        }
        let mut matchers = Vec::new();
        for (name, values) in wanted {
            let pattern = values.into_iter().collect::<Vec<_>>().join("|");
            let matcher = Matcher::new(MatchType::Regex, name, pattern)
                .map_err(|error| QueryError::Execution(error.to_string()))?;
            matchers.push(matcher);
        }
        matchers.extend(node.data.iter().cloned());
        matchers.extend(node.names.iter().cloned());
        let select = Select { matchers, ..node.select.clone() };
        self.select(&select, grid, Picked::TimesOfNumbers, &mut |series, row| {
            self.hold(row.valid.count())?;
            keep(memory, series, row)?;
            info.add(series.labels.clone(), row.clone())
        })?;
        Ok(info)
    }

    /// One row for each run of info series that a series has over time.
    fn enrich(
        &self,
        node: &Info,
        info: &mut Described<'_>,
        series: &Series,
        row: &Row,
        out: &mut Rows<'_>,
    ) -> Done {
        let found = info.groups_of(&series.labels);
        let groups: Vec<&Vec<usize>> = found.into_iter().map(|at| &info.groups[at]).collect();
        let mut parts: BTreeMap<Vec<usize>, Steps> = BTreeMap::new();
        for step in row.valid.iter() {
            let chosen = groups.iter().filter_map(|group| info.newest(group, step)).collect();
            parts.entry(chosen).or_insert_with(|| Steps::none(row.valid.len())).insert(step);
        }
        let optional = node.data.iter().all(Matcher::matches_empty);
        for (chosen, steps) in parts {
            if chosen.is_empty() && !optional {
                continue;
            }
            let added = info.labels(&chosen, &series.labels, &node.data)?;
            let mut labels = series.labels.to_builder();
            for (name, value) in added.iter() {
                labels.set(name, value);
            }
            let series = Series { labels: labels.build(), drop_name: series.drop_name };
            let mut part = row.clone();
            part.valid.keep(&steps);
            out.add(self, &series, &part)?;
        }
        Ok(())
    }
}

impl Described<'_> {
    fn add(&mut self, labels: Labels, row: Row) -> Done {
        if !self.names.contains(labels.metric_name()) {
            self.names.insert(labels.metric_name().to_owned());
        }
        let key = KeyLabels::by(IDENTIFYING.into_iter().chain([METRIC_NAME]));
        let (ordinal, new) = self.signatures.of(key.of(labels.iter()))?;
        if new {
            self.groups.push(Vec::new());
        }
        self.groups[ordinal].push(self.series.len());
        self.series.push((labels, row));
        Ok(())
    }

    /// The groups of info series that describe a series, by name.
    fn groups_of(&mut self, labels: &Labels) -> Vec<usize> {
        let key = KeyLabels::by(IDENTIFYING);
        let signatures = &mut self.signatures;
        let names = self.names.iter().filter_map(|name| {
            // The metric name sorts before the others.
            let name = [(METRIC_NAME, name.as_str())].into_iter();
            signatures.find(name.filter(|(_, name)| !name.is_empty()).chain(key.of(labels.iter())))
        });
        names.collect()
    }

    /// Of info series with one identity, the one with the newest sample.
    fn newest(&self, group: &[usize], step: usize) -> Option<usize> {
        let mut newest: Option<(usize, f64)> = None;
        for at in group {
            let Some(time) = self.series[*at].1.get(step) else { continue };
            if newest.is_none_or(|(_, best)| time > best) {
                newest = Some((*at, time));
            }
        }
        newest.map(|(at, _)| at)
    }

    /// Refuses info series of histograms, and two of one identity whose newest samples are from one time.
    fn check(&self, present: &Steps) -> Done {
        for (labels, row) in &self.series {
            if row.iter_histograms().any(|(step, _)| present.has(step)) {
                return Err(QueryError::Execution(format!(
                    "this should be an info metric, with float samples: {labels}"
                )));
            }
        }
        for group in self.groups.iter().filter(|group| group.len() > 1) {
            for step in present.iter() {
                self.check_group(group, step)?;
            }
        }
        Ok(())
    }

    fn check_group(&self, group: &[usize], step: usize) -> Done {
        let mut newest: Option<(usize, f64)> = None;
        for at in group {
            let Some(time) = self.series[*at].1.get(step) else { continue };
            if let Some((other, _)) = newest.filter(|(_, best)| *best == time) {
                let milliseconds = (time * 1000.0).round();
                let (a, b) = (&self.series[other].0, &self.series[*at].0);
                return Err(QueryError::Execution(format!(
                    "found duplicate series for info metric: existing {a} @ {milliseconds}, new {b} @ {milliseconds}"
                )));
            }
            if newest.is_none_or(|(_, best)| time > best) {
                newest = Some((*at, time));
            }
        }
        Ok(())
    }

    /// What the chosen info series add to a series.
    fn labels(
        &self,
        chosen: &[usize],
        base: &Labels,
        data: &[Matcher],
    ) -> Result<Labels, QueryError> {
        let mut added = LabelsBuilder::default();
        for (name, value) in chosen.iter().flat_map(|at| self.series[*at].0.iter()) {
            let wanted = data.is_empty() || data.iter().any(|matcher| matcher.name == name);
            if name == METRIC_NAME || !wanted {
                continue;
            }
            if added.get(name).is_some_and(|old| !old.is_empty() && old != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.set(name, value);
            }
        }
        Ok(added.build())
    }
}

/// A pattern that matches a text and nothing else (Go's `regexp.QuoteMeta`).
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
