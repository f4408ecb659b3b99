//! Aggregations: each series' group is found once, its row folded into the group's and dropped.

use std::collections::HashMap;

use model::Labels;

use super::annotation::Note;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::function::histogram::text;
use super::go;
use super::grid::Grid;
use super::ordinals::KeyLabels;
use super::plan::Aggregate;
use super::row::Row;
use crate::ast::{AggregateOp, Span};
use crate::error::QueryError;

mod fold;
mod histogram;
mod pick;

impl Aggregate {
    /// The labels that a group has in common.
    fn key(&self) -> KeyLabels<'_> {
        KeyLabels::chosen(&self.grouping, !self.without)
    }
}

/// The parameter of an aggregation at each step.
struct Parameter {
    column: Vec<f64>,
    span: Span,
}

impl Parameter {
    fn extremes(&self) -> (f64, f64) {
        let numbers = || self.column.iter().copied().filter(|value| !value.is_nan());
        (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max))
    }

    fn has_nan(&self) -> bool {
        self.column.iter().any(|value| value.is_nan())
    }
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, node: &Aggregate, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let parameter = match &node.parameter {
            Some((scalar, span)) => Parameter { column: self.scalar(scalar, grid)?, span: *span },
            None => Parameter { column: Vec::new(), span: Span::default() },
        };
        match node.op {
            AggregateOp::CountValues => self.count_values(node, grid, sink),
            AggregateOp::Quantile => {
                self.check_quantile(&parameter);
                self.fold(node, &parameter.column, grid, sink)
            }
            op if op.reduces() => self.fold(node, &[], grid, sink),
            _ if !self.check_selection(node.op, &parameter)? => {
                // Nothing will be picked, but the input may still be wrong.
                self.vector(&node.input, grid, &mut |_, _| Ok(()))
            }
            _ => self.pick(node, &parameter.column, grid, sink),
        }
    }

    fn check_quantile(&self, parameter: &Parameter) {
        let (least, most) = parameter.extremes();
        let warn = |value: f64| self.note(Note::InvalidQuantile(value), Some(parameter.span));
        if parameter.has_nan() {
            warn(f64::NAN);
        }
        if most > 1.0 {
            warn(most);
        }
        if least < 0.0 {
            warn(least);
        }
    }

    /// Whether anything can be picked; errors and warnings about the parameter.
    fn check_selection(&self, op: AggregateOp, parameter: &Parameter) -> Result<bool, QueryError> {
        const BOUND: f64 = 9_223_372_036_854_775_808.0;
        let error = |text: String| Err(QueryError::Execution(text));
        let (least, most) = parameter.extremes();
        if op == AggregateOp::LimitRatio {
            if parameter.has_nan() {
                return error("Ratio value is NaN".to_owned());
            }
            for (value, capped) in [(most, 1.0), (least, -1.0)] {
                if value.abs() > 1.0 && value.signum() == capped {
                    self.note(Note::InvalidRatio(value, capped), Some(parameter.span));
                }
            }
            return Ok(most != 0.0 || least != 0.0);
        }
        if !parameter.has_nan() && most < 1.0 {
            return Ok(false);
        }
        if parameter.has_nan() {
            return error("Parameter value is NaN".to_owned());
        }
        if least <= -BOUND {
            return error(format!("Scalar value {} underflows int64", go::general(least)));
        }
        if most >= BOUND {
            return error(format!("Scalar value {} overflows int64", go::general(most)));
        }
        Ok(true)
    }

    /// `count_values`: how many series of a group have a value, per value.
    fn count_values(&self, node: &Aggregate, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let key = node.key();
        let mut ordinals = self.ordinals("values that are counted");
        let mut rows: Vec<Row> = Vec::new();
        let mut memory = self.reserve("values that are counted");
        // Text and group of a value are made once per series and distinct value.
        self.vector(&node.input, grid, &mut |series, row| {
            let mut known: HashMap<u64, usize> = HashMap::new();
            for (step, value) in row.iter() {
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                let ordinal = match known.get(&bits) {
                    Some(ordinal) if row.histogram(step).is_none() => *ordinal,
                    _ => {
                        let text = match row.histogram(step) {
                            Some(histogram) => text(histogram),
                            None => go::plain(value),
                        };
                        let with_value = with_label(&series.labels, &node.label, &text);
                        let (ordinal, new) = ordinals.of(key.of(with_value.into_iter()))?;
                        if new {
                            self.hold(grid.len)?;
                            memory.grow(size_of::<Row>() + Row::plain_bytes(grid.len))?;
                            rows.push(Row::none(grid.len));
                        }
                        if row.histogram(step).is_none() {
                            known.insert(bits, ordinal);
                        }
                        ordinal
                    }
                };
                let counts = &mut rows[ordinal];
                let count = counts.get(step).unwrap_or(0.0) + 1.0;
                counts.set(step, count);
            }
            Ok(())
        })?;
        self.release(rows.len() * grid.len);
        for (ordinal, mut row) in rows.into_iter().enumerate() {
            let labels = ordinals.labels(ordinal);
            sink(&Series { labels, drop_name: false }, &mut row)?;
        }
        Ok(())
    }
}

/// Labels, sorted, with one set. Its value is not empty.
fn with_label<'l>(labels: &'l Labels, name: &'l str, value: &'l str) -> Vec<(&'l str, &'l str)> {
    let mut pairs: Vec<_> = labels.iter().filter(|(other, _)| *other != name).collect();
    let at = pairs.partition_point(|(other, _)| *other < name);
    pairs.insert(at, (name, value));
    pairs
}
