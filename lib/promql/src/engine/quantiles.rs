//! `histogram_quantiles`: several quantiles of the same histograms, told apart by a label.

use super::collect::Distinct;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::go;
use super::grid::Grid;
use super::histogram::BucketsOf;
use super::plan::{BucketsKind, Quantiles};
use super::row::Steps;

impl Evaluator<'_> {
    /// Each quantile evaluates the input anew; there are ten at most.
    pub(super) fn quantiles(&self, node: &Quantiles, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let mut seen = Distinct::new(self);
        for (scalar, span) in &node.quantiles {
            let column = self.scalar(scalar, grid)?;
            let kind = BucketsKind::Quantile(scalar.clone(), *span);
            let buckets =
                BucketsOf { kind: &kind, input: &node.input, input_span: node.input_span };
            self.buckets(buckets, grid, &mut |series, row| {
                // A quantile that changes over time is a label that does.
                let mut parts: Vec<(u64, Steps)> = Vec::new();
                for step in row.valid.iter() {
                    let bits = column[step].to_bits();
                    let at = parts.iter().position(|(known, _)| *known == bits);
                    let at = at.unwrap_or_else(|| {
                        parts.push((bits, Steps::none(grid.len)));
                        parts.len() - 1
                    });
                    parts[at].1.insert(step);
                }
                for (bits, steps) in parts {
                    let value = open_metrics(f64::from_bits(bits));
                    let labels = series.labels.to_builder().set(node.label.as_str(), value).build();
                    let mut part = row.clone();
                    part.valid.keep(&steps);
                    seen.check(&labels, &part.valid)?;
                    sink(&Series { labels, drop_name: series.drop_name }, &mut part)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A number as OpenMetrics writes it: always with a point or an exponent.
fn open_metrics(value: f64) -> String {
    let text = go::general(value);
    let is_whole = value.is_finite() && !text.contains(['.', 'e']);
    if is_whole { format!("{text}.0") } else { text }
}
