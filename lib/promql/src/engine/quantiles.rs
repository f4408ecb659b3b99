//! `histogram_quantiles`: several quantiles of the same histograms, told apart by a label.

use super::collect::Distinct;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::go;
use super::grid::Grid;
use super::histogram::{Columns, Input};
use super::plan::Quantiles;
use super::row::Steps;

impl Evaluator<'_> {
    /// The input is evaluated once, whatever the number of quantiles.
    pub(super) fn quantiles(&self, node: &Quantiles, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let mut columns = Vec::new();
        let mut wanted = Vec::new();
        for (scalar, span) in &node.quantiles {
            let column = self.quantile_column(scalar, *span, grid)?;
            wanted.push(column.clone());
            columns.push(Columns::Quantile(column));
        }
        let mut seen = Distinct::default();
        let input = Input { node: &node.input, span: node.input_span };
        self.of_buckets(input, &columns, grid, &mut |number, series, row| {
            // A quantile that changes over time is a label that does.
            let mut parts: Vec<(u64, Steps)> = Vec::new();
            for step in row.valid.iter() {
                let bits = wanted[number][step].to_bits();
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
        })
    }
}

/// A number as OpenMetrics writes it: always with a point or an exponent.
fn open_metrics(value: f64) -> String {
    let text = go::general(value);
    let is_whole = value.is_finite() && !text.contains(['.', 'e']);
    if is_whole { format!("{text}.0") } else { text }
}
