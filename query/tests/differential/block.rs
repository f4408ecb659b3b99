//! Writes series as blocks.

use std::collections::BTreeSet;
use std::path::Path;

use tsdb::block::BlockWriter;

use crate::data::{END, MINUTE, START, Series};

const TWO_HOURS: i64 = 120 * MINUTE;

/// Two blocks that meet and a third that lies over both: one of the sites' samples of an hour are only there.
pub fn write(folder: &Path, series: &[Series]) {
    let over = START + 90 * MINUTE..START + 150 * MINUTE;
    let is_over = |series: &Series, time: i64| {
        series.labels.get("site") == Some("north") && over.contains(&time)
    };
    let first = |series: &Series, time| time < START + TWO_HOURS && !is_over(series, time);
    let second =
        |series: &Series, time| (START + TWO_HOURS..END).contains(&time) && !is_over(series, time);
    one(folder, 1, series, first);
    one(folder, 2, series, second);
    one(folder, 3, series, is_over);
}

/// A block of the samples that are wanted.
fn one(folder: &Path, number: u32, series: &[Series], wanted: impl Fn(&Series, i64) -> bool) {
    let block = folder.join(format!("01HF7YAT00TEST00000000000{number}"));
    let texts = series.iter().flat_map(|series| series.labels.iter());
    let symbols: BTreeSet<&str> = texts.flat_map(|(name, value)| [name, value]).collect();
    let mut writer = BlockWriter::new(&block, symbols).unwrap();
    for series in series {
        let samples = series.samples.iter().copied();
        let samples: Vec<(i64, f64)> = samples.filter(|(time, _)| wanted(series, *time)).collect();
        if !samples.is_empty() {
            writer.floats(&series.labels, &samples).unwrap();
        }
    }
    writer.finish().unwrap();
}
