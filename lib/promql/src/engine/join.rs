//! Operators between two vectors (`VectorBinop` of promql/engine.go).
//!
//! The "one" side is kept, by match group; the "many" side streams past it. Upstream looks for duplicates step by step
//! and reports those of the first step that has any, so an error is only kept here until all series were seen.

use std::collections::HashMap;

use model::Labels;

use super::collect::same_labelset;
use super::evaluate::{Done, Evaluator, Series, Sink, without_name};
use super::grid::Grid;
use super::memory::keep;
use super::mixed::Other;
use super::operator;
use super::ordinals::Ordinals;
use super::plan::{Join, Vector};
use super::row::{Row, Steps};
use crate::ast::Cardinality;
use crate::budget::Reserved;
use crate::error::QueryError;

/// The kept side.
struct OneSide<'q> {
    /// Signatures of match groups.
    ordinals: Ordinals<'q>,
    groups: Vec<MatchGroup>,
    present: Steps,
    /// Per step the first two series that share a match group.
    duplicates: HashMap<usize, String>,
    held: usize,
    memory: Reserved,
}

struct MatchGroup {
    /// Series of the group; no two have a step in common.
    entries: Vec<(Series, Row)>,
    /// Steps at which the group has found a match.
    matched: Steps,
}

/// What has come of the many side so far.
struct Results<'n, 'q> {
    node: &'n Join,
    /// Label sets of results. One-to-one, those of one label set come from one match group, so nothing is kept of them.
    ordinals: Ordinals<'q>,
    /// By the number of the result.
    claims: Vec<Claims>,
    errors: Earliest,
    memory: Reserved,
}

/// Which steps of a result are used up.
struct Claims {
    /// By match group, of which there is hardly ever more than one.
    of_groups: Vec<(usize, Steps)>,
    /// Those that had a value, whatever the match group.
    given: Steps,
}

/// The error of the earliest step.
#[derive(Default)]
struct Earliest(Option<(usize, String)>);

impl Earliest {
    fn add(&mut self, step: usize, text: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(earliest, _)| step < *earliest) {
            self.0 = Some((step, text()));
        }
    }
}

impl Join {
    /// The many side, and the one side, which is read first.
    pub(super) fn sides(&self) -> (&Vector, &Vector) {
        match self.matching.cardinality {
            Cardinality::OneToMany => (&self.right, &self.left),
            _ => (&self.left, &self.right),
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn join(&self, node: &Join, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let (many, one) = node.sides();
        let mut side = self.one_side(node, one, grid)?;
        let mut results = Results::new(self, node);
        let mut present = Steps::none(grid.len);
        let mut out = Row::none(grid.len);
        let key = node.matching.key();
        self.vector(many, grid, &mut |series, row| {
            present.add(&row.valid);
            let signature = key.of(series.labels.iter());
            let ordinal = if node.matching.fill.1.is_some() {
                side.group(signature, grid)?
            } else {
                let Some(ordinal) = side.ordinals.find(signature) else { return Ok(()) };
                ordinal
            };
            self.match_many(&mut side, ordinal, (series, row), &mut out, &mut results, sink)
        })?;
        self.fill_unmatched(&mut side, &mut out, &mut results, sink)?;
        let mut errors = results.errors;
        self.release(side.held);
        for (step, text) in side.duplicates {
            let several = present.has(step) || node.matching.fill != (None, None);
            // At one step duplicates are found before anything else.
            if several && errors.0.as_ref().is_none_or(|(earliest, _)| step <= *earliest) {
                errors.0 = Some((step, text));
            }
        }
        match errors.0 {
            Some((_, text)) => Err(QueryError::Execution(text)),
            None => Ok(()),
        }
    }

    fn one_side(&self, node: &Join, plan: &Vector, grid: Grid) -> Result<OneSide<'_>, QueryError> {
        const WHAT: &str = "series of the one side of a join";
        let mut side = OneSide {
            ordinals: self.ordinals(WHAT),
            groups: Vec::new(),
            present: Steps::none(grid.len),
            duplicates: HashMap::new(),
            held: 0,
            memory: self.reserve(WHAT),
        };
        let name =
            if node.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        let key = node.matching.key();
        self.vector(plan, grid, &mut |series, row| {
            let samples = row.valid.count();
            self.hold(samples)?;
            side.held += samples;
            side.present.add(&row.valid);
            let ordinal = side.group(key.of(series.labels.iter()), grid)?;
            let group = &mut side.groups[ordinal];
            keep(&mut side.memory, series, row)?;
            let mut kept = row.clone();
            for (other, other_row) in &group.entries {
                let mut common = kept.valid.clone();
                common.keep(&other_row.valid);
                for step in common.iter() {
                    side.duplicates.entry(step).or_insert_with(|| {
                        let signature = side.ordinals.labels(ordinal);
                        duplicate_text(&signature, name, other, series)
                    });
                }
                kept.valid.subtract(&other_row.valid);
            }
            group.entries.push((series.clone(), kept));
            Ok(())
        })?;
        Ok(side)
    }

    /// One series of the many side against its match group.
    fn match_many(
        &self,
        side: &mut OneSide<'_>,
        ordinal: usize,
        (series, row): (&Series, &Row),
        out: &mut Row,
        results: &mut Results<'_, '_>,
        sink: &mut Sink<'_>,
    ) -> Done {
        let node = results.node;
        let MatchGroup { entries, matched } = &mut side.groups[ordinal];
        let mut rest = row.valid.clone();
        for (one, one_row) in entries {
            let mut steps = row.valid.clone();
            steps.keep(&one_row.valid);
            rest.subtract(&steps);
            out.copy_at(row, steps);
            let result = self.result(node, series, one);
            let claimed = results.claim((ordinal, matched), &result.labels, &out.valid)?;
            let Some(number) = claimed else { continue };
            let mut sink = |series: &Series, row: &mut Row| {
                results.give(number, &row.valid)?;
                sink(series, row)
            };
            let plain = !row.has_histograms() && !one_row.has_histograms() && !node.op.trims();
            if plain {
                self.emit(node, &result, out, |step| one_row.values[step], false, &mut sink)?;
            } else {
                self.emit_mixed(node, &result, out, Other::Row(one_row), false, &mut sink)?;
            }
        }
        if let Some(fill) = node.matching.fill.1
            && !rest.is_empty()
        {
            let one = Series { labels: side.ordinals.labels(ordinal), drop_name: false };
            out.copy_at(row, rest);
            let result = self.result(node, series, &one);
            let claimed = results.claim((ordinal, matched), &result.labels, &out.valid)?;
            let Some(number) = claimed else { return Ok(()) };
            self.emit_mixed(node, &result, out, Other::Number(fill), false, &mut |series, row| {
                results.give(number, &row.valid)?;
                sink(series, row)
            })?;
        }
        Ok(())
    }

    /// Series of the one side that found no match meet the value that stands in for the many side.
    fn fill_unmatched(
        &self,
        side: &mut OneSide<'_>,
        out: &mut Row,
        results: &mut Results<'_, '_>,
        sink: &mut Sink<'_>,
    ) -> Done {
        let node = results.node;
        let Some(fill) = node.matching.fill.0 else { return Ok(()) };
        for (ordinal, group) in side.groups.iter_mut().enumerate() {
            let matched = group.matched.clone();
            let many = Series { labels: side.ordinals.labels(ordinal), drop_name: false };
            for (one, one_row) in std::mem::take(&mut group.entries) {
                out.copy_at(&one_row, one_row.valid.clone());
                out.valid.subtract(&matched);
                let result = self.result(node, &many, &one);
                let of_group = (ordinal, &mut group.matched);
                let claimed = results.claim(of_group, &result.labels, &out.valid)?;
                let Some(number) = claimed else { continue };
                let mut sink = |series: &Series, row: &mut Row| {
                    results.give(number, &row.valid)?;
                    sink(series, row)
                };
                self.emit_mixed(node, &result, out, Other::Number(fill), true, &mut sink)?;
            }
        }
        Ok(())
    }

    /// Applies the operator to a row and values of the other side. `row_is_one`: whose values the row holds.
    fn emit(
        &self,
        node: &Join,
        result: &Series,
        row: &mut Row,
        other: impl Fn(usize) -> f64,
        row_is_one: bool,
        sink: &mut Sink<'_>,
    ) -> Done {
        let swapped = node.matching.cardinality == Cardinality::OneToMany;
        row.map(|step, value| {
            let other = other(step);
            let (a, b) = if swapped == row_is_one { (value, other) } else { (other, value) };
            operator::elements(node.op, a, b, a, node.return_bool)
        });
        if row.valid.is_empty() { Ok(()) } else { sink(result, row) }
    }

    /// What the result of a pair is called.
    fn result(&self, node: &Join, many: &Series, one: &Series) -> Series {
        let matching = &node.matching;
        let eager = !self.delayed_name_removal && node.return_bool;
        let mut labels = many.labels.clone();
        if eager || node.op.changes_meaning() {
            labels = without_name(&labels);
        }
        if matching.cardinality == Cardinality::OneToOne {
            let listed = |name: &str| matching.labels.iter().any(|label| label == name);
            labels = labels.filter(|name| listed(name) == matching.on);
        }
        if !matching.include.is_empty() {
            let mut builder = labels.to_builder();
            for name in &matching.include {
                builder.set(name.as_str(), one.labels.value(name));
            }
            labels = builder.build();
        }
        Series { labels, drop_name: node.return_bool }
    }
}

impl OneSide<'_> {
    /// The number of the match group of a signature.
    fn group<'l>(
        &mut self,
        signature: impl Iterator<Item = (&'l str, &'l str)>,
        grid: Grid,
    ) -> Result<usize, QueryError> {
        let (ordinal, new) = self.ordinals.of(signature)?;
        if new {
            self.memory.grow(size_of::<MatchGroup>() + Steps::bytes(grid.len))?;
            let matched = Steps::none(grid.len);
            self.groups.push(MatchGroup { entries: Vec::new(), matched });
        }
        Ok(ordinal)
    }
}

impl<'n, 'q> Results<'n, 'q> {
    fn new(evaluator: &'q Evaluator<'_>, node: &'n Join) -> Self {
        const WHAT: &str = "label sets of results";
        Self {
            node,
            ordinals: evaluator.ordinals(WHAT),
            claims: Vec::new(),
            errors: Earliest::default(),
            memory: evaluator.reserve(WHAT),
        }
    }

    fn is_one_to_one(&self) -> bool {
        self.node.matching.cardinality == Cardinality::OneToOne
    }

    /// Marks steps of a match group, which comes with those that found a match, as used up; the many side may claim
    /// each only once (per result, when it may be many). Gives the number of the result if all went well.
    fn claim(
        &mut self,
        (group, matched): (usize, &mut Steps),
        result: &Labels,
        steps: &Steps,
    ) -> Result<Option<usize>, QueryError> {
        let one_to_one = self.is_one_to_one();
        let mut number = 0;
        let claimed = if one_to_one {
            matched
        } else {
            matched.add(steps);
            number = self.number(result, steps.len())?;
            self.of_group(number, group, steps.len())?
        };
        let conflict = claimed.first_common(steps);
        claimed.add(steps);
        let Some(step) = conflict else { return Ok(Some(number)) };
        let what = if one_to_one {
            "many-to-one matching must be explicit (group_left/group_right)"
        } else {
            "grouping labels must ensure unique matches"
        };
        self.errors.add(step, || format!("multiple matches for labels: {what}"));
        Ok(None)
    }

    /// The number of a result.
    fn number(&mut self, result: &Labels, len: usize) -> Result<usize, QueryError> {
        let (number, new) = self.ordinals.of(result.iter())?;
        if new {
            self.memory.grow(size_of::<Claims>() + Steps::bytes(len))?;
            self.claims.push(Claims { of_groups: Vec::with_capacity(1), given: Steps::none(len) });
        }
        Ok(number)
    }

    /// The steps of a result that a match group has used up.
    fn of_group(
        &mut self,
        number: usize,
        group: usize,
        len: usize,
    ) -> Result<&mut Steps, QueryError> {
        let of_groups = &mut self.claims[number].of_groups;
        let known = of_groups.iter().position(|(other, _)| *other == group);
        let at = known.unwrap_or(of_groups.len());
        if known.is_none() {
            self.memory.grow(size_of::<(usize, Steps)>() + Steps::bytes(len))?;
            of_groups.push((group, Steps::none(len)));
        }
        Ok(&mut of_groups[at].1)
    }

    /// Refuses two values of one result at one step.
    fn give(&mut self, number: usize, steps: &Steps) -> Done {
        if self.is_one_to_one() {
            return Ok(());
        }
        let given = &mut self.claims[number].given;
        if given.first_common(steps).is_some() {
            return Err(same_labelset());
        }
        given.add(steps);
        Ok(())
    }
}

fn duplicate_text(signature: &Labels, side: &str, a: &Series, b: &Series) -> String {
    let (a, b) = (a.labels.to_string(), b.labels.to_string());
    let (first, second) = if a > b { (b, a) } else { (a, b) };
    format!(
        "found duplicate series for the match group {signature} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )
}
