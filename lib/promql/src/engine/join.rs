//! Operators between two vectors (`VectorBinop` of promql/engine.go).
//!
//! The "one" side is kept, by match group; the "many" side streams past it. Upstream looks for duplicates step by step
//! and reports those of the first step that has any, so an error is only kept here until all series were seen.

use std::collections::HashMap;

use model::Labels;

use super::aggregate::Ordinals;
use super::collect::Distinct;
use super::evaluate::{Done, Evaluator, Series, Sink, without_name};
use super::grid::Grid;
use super::memory::{ENTRY, keep};
use super::mixed::Other;
use super::operator;
use super::plan::{Join, Vector};
use super::row::{Row, Steps};
use crate::ast::Cardinality;
use crate::budget::{Reserved, labels_bytes};
use crate::error::QueryError;

/// The kept side.
struct OneSide {
    ordinals: Ordinals,
    groups: Vec<MatchGroup>,
    present: Steps,
    /// Per step the first two series that share a match group.
    duplicates: HashMap<usize, String>,
    held: usize,
    memory: Reserved,
}

struct MatchGroup {
    signature: Labels,
    /// Series of the group; no two have a step in common.
    entries: Vec<(Series, Row)>,
    claims: Claims,
}

/// Which steps of a match group the many side has used up.
struct Claims {
    /// Steps at which the group has found a match (one-to-one).
    matched: Steps,
    /// The same per result (many-to-one).
    results: HashMap<Labels, Steps>,
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
        let mut errors = Earliest::default();
        let mut present = Steps::none(grid.len);
        let mut seen = Distinct::new(self);
        let mut out = Row::none(grid.len);
        let mut checked = |series: &Series, row: &mut Row| {
            // One-to-one, results of one label set come from one match group.
            if node.matching.cardinality != Cardinality::OneToOne {
                seen.check(&series.labels, &row.valid)?;
            }
            sink(series, row)
        };
        self.vector(many, grid, &mut |series, row| {
            present.add(&row.valid);
            let signature = node.matching.signature(&series.labels);
            let ordinal = match side.ordinals.find(&signature) {
                Some(ordinal) => ordinal,
                None if node.matching.fill.1.is_some() => side.add_group(signature, grid)?.0,
                None => return Ok(()),
            };
            let group = &mut side.groups[ordinal];
            self.match_many(node, group, (series, row), &mut out, &mut errors, &mut checked)
        })?;
        self.fill_unmatched(node, &mut side, &mut out, &mut errors, &mut checked)?;
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

    fn one_side(&self, node: &Join, plan: &Vector, grid: Grid) -> Result<OneSide, QueryError> {
        let mut side = OneSide {
            ordinals: Ordinals::default(),
            groups: Vec::new(),
            present: Steps::none(grid.len),
            duplicates: HashMap::new(),
            held: 0,
            memory: self.reserve("series of the one side of a join"),
        };
        let name =
            if node.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        self.vector(plan, grid, &mut |series, row| {
            let samples = row.valid.count();
            self.hold(samples)?;
            side.held += samples;
            side.present.add(&row.valid);
            let (ordinal, _) = side.add_group(node.matching.signature(&series.labels), grid)?;
            let group = &mut side.groups[ordinal];
            keep(&mut side.memory, series, row)?;
            let mut kept = row.clone();
            for (other, other_row) in &group.entries {
                let mut common = kept.valid.clone();
                common.keep(&other_row.valid);
                for step in common.iter() {
                    side.duplicates
                        .entry(step)
                        .or_insert_with(|| duplicate_text(&group.signature, name, other, series));
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
        node: &Join,
        group: &mut MatchGroup,
        (series, row): (&Series, &Row),
        out: &mut Row,
        errors: &mut Earliest,
        sink: &mut Sink<'_>,
    ) -> Done {
        let mut rest = row.valid.clone();
        for (one, one_row) in &group.entries {
            let mut steps = row.valid.clone();
            steps.keep(&one_row.valid);
            rest.subtract(&steps);
            out.copy_at(row, steps);
            let result = self.result(node, series, one);
            if group.claims.claim(node, &result.labels, &out.valid, errors) {
                let plain = !row.has_histograms() && !one_row.has_histograms() && !node.op.trims();
                if plain {
                    self.emit(node, &result, out, |step| one_row.values[step], false, sink)?;
                } else {
                    self.emit_mixed(node, &result, out, Other::Row(one_row), false, sink)?;
                }
            }
        }
        if let Some(fill) = node.matching.fill.1
            && !rest.is_empty()
        {
            let one = Series { labels: group.signature.clone(), drop_name: false };
            out.copy_at(row, rest);
            let result = self.result(node, series, &one);
            if group.claims.claim(node, &result.labels, &out.valid, errors) {
                self.emit_mixed(node, &result, out, Other::Number(fill), false, sink)?;
            }
        }
        Ok(())
    }

    /// Series of the one side that found no match meet the value that stands in for the many side.
    fn fill_unmatched(
        &self,
        node: &Join,
        side: &mut OneSide,
        out: &mut Row,
        errors: &mut Earliest,
        sink: &mut Sink<'_>,
    ) -> Done {
        let Some(fill) = node.matching.fill.0 else { return Ok(()) };
        for group in &mut side.groups {
            let matched = group.claims.matched.clone();
            for (one, one_row) in std::mem::take(&mut group.entries) {
                out.copy_at(&one_row, one_row.valid.clone());
                out.valid.subtract(&matched);
                let many = Series { labels: group.signature.clone(), drop_name: false };
                let result = self.result(node, &many, &one);
                if group.claims.claim(node, &result.labels, &out.valid, errors) {
                    self.emit_mixed(node, &result, out, Other::Number(fill), true, sink)?;
                }
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

impl OneSide {
    fn add_group(&mut self, signature: Labels, grid: Grid) -> Result<(usize, bool), QueryError> {
        let (ordinal, new) = self.ordinals.of(signature.clone());
        if new {
            let group = size_of::<MatchGroup>() + Steps::bytes(grid.len);
            self.memory.grow(labels_bytes(&signature) + ENTRY + group)?;
            self.groups.push(MatchGroup {
                signature,
                entries: Vec::new(),
                claims: Claims { matched: Steps::none(grid.len), results: HashMap::new() },
            });
        }
        Ok((ordinal, new))
    }
}

impl Claims {
    /// Marks steps as matched; the many side may claim each only once (per result, when it may be many). Gives whether
    /// all went well.
    fn claim(
        &mut self,
        node: &Join,
        result: &Labels,
        steps: &Steps,
        errors: &mut Earliest,
    ) -> bool {
        let one_to_one = node.matching.cardinality == Cardinality::OneToOne;
        let claimed = if one_to_one {
            &mut self.matched
        } else {
            self.matched.add(steps);
            self.results.entry(result.clone()).or_insert_with(|| Steps::none(steps.len()))
        };
        let conflict = claimed.first_common(steps);
        claimed.add(steps);
        if let Some(step) = conflict {
            let what = if one_to_one {
                "many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "grouping labels must ensure unique matches"
            };
            errors.add(step, || format!("multiple matches for labels: {what}"));
        }
        conflict.is_none()
    }
}

fn duplicate_text(signature: &Labels, side: &str, a: &Series, b: &Series) -> String {
    let (a, b) = (a.labels.to_string(), b.labels.to_string());
    let (first, second) = if a > b { (b, a) } else { (a, b) };
    format!(
        "found duplicate series for the match group {signature} on the {side} hand-side of the operation: [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )
}
