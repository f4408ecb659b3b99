//! The samples that all servers hold.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use model::Labels;
use tsdb::block::BlockWriter;

use crate::server::Times;

const PODS: usize = 1_000;
const CONTAINERS: usize = 3;
pub const SERIES: usize = PODS * CONTAINERS;
pub const SAMPLES: usize = 721;

/// Even hours, as Prometheus cuts blocks.
const START: i64 = 1_700_000_000_000 / 7_200_000 * 7_200_000;
/// Milliseconds from an even time to each sample. No window of the queries begins or ends on a sample: there,
/// Prometheus 2 and 3 differ by language.
const OFF: i64 = 7_000;

/// The last two hours of six.
pub const TIMES: Times = Times { start: FIRST, end: FIRST + 2 * 3600, step: 30 };

const FIRST: i64 = START / 1000 + 4 * 3600 + 15;

/// Whole numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn labels(pod: usize, container: usize) -> [(&'static str, String); 3] {
    [
        ("__name__", "http_requests_total".to_owned()),
        ("container", format!("c{container}")),
        ("pod", format!("p{pod}")),
    ]
}

/// A counter that starts over now and then.
fn counter(seed: u64, count: usize, step: i64) -> Vec<(i64, f64)> {
    let mut chance = Chance((seed + 1) * 0x9E37_79B9_7F4A_7C15);
    let mut value = chance.below(1000) as f64;
    let sample = |at: usize| {
        value = if chance.below(2000) == 0 { 0.0 } else { value + chance.below(100) as f64 };
        (START + OFF + at as i64 * step, value)
    };
    (0..count).map(sample).collect()
}

fn all() -> Vec<(Labels, Vec<(i64, f64)>)> {
    let mut all = Vec::with_capacity(SERIES);
    for pod in 0..PODS {
        for container in 0..CONTAINERS {
            let seed = (pod * CONTAINERS + container) as u64;
            let labels = Labels::from_pairs(labels(pod, container));
            all.push((labels, counter(seed, SAMPLES, 30_000)));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn write(folder: &Path, series: impl Fn() -> Box<dyn Iterator<Item = (Labels, Vec<(i64, f64)>)>>) {
    let mut symbols = BTreeSet::new();
    for (labels, _) in series() {
        for (name, value) in labels.iter() {
            if !symbols.contains(name) {
                symbols.insert(name.to_owned());
            }
            if !symbols.contains(value) {
                symbols.insert(value.to_owned());
            }
        }
    }
    let block = folder.join("01HF7YAT00BENCH00000000000");
    let mut writer = BlockWriter::new(&block, symbols.iter().map(String::as_str)).unwrap();
    for (labels, samples) in series() {
        writer.floats(&labels, &samples).unwrap();
    }
    writer.finish().unwrap();
}

/// A block with the series of the queries.
pub fn requests(folder: &Path) {
    write(folder, || Box::new(all().into_iter()));
}

/// The same in VictoriaMetrics' import format.
pub fn import_lines() -> String {
    let mut lines = String::new();
    for (labels, samples) in all() {
        let metric: Vec<String> = labels.iter().map(|(n, v)| format!("\"{n}\":\"{v}\"")).collect();
        let times: Vec<String> = samples.iter().map(|(time, _)| time.to_string()).collect();
        let values: Vec<String> = samples.iter().map(|(_, value)| value.to_string()).collect();
        writeln!(
            lines,
            "{{\"metric\":{{{}}},\"values\":[{}],\"timestamps\":[{}]}}",
            metric.join(","),
            values.join(","),
            times.join(",")
        )
        .unwrap();
    }
    lines
}

/// A day of one sample in five minutes.
pub const DAY: Times =
    Times { start: START / 1000 + 300, end: START / 1000 + 24 * 3600, step: 300 };

/// Series of [`day`].
pub const DAY_SERIES: usize = 100_000;

/// A block of series in 100 zones. In each zone, one of a hundred is of the first tier and nine are of the second.
pub fn day(folder: &Path) {
    let tier = |at: usize| match at / 100 % 100 {
        0 => "first",
        1..=9 => "second",
        _ => "rest",
    };
    let series = move |at: usize| {
        let labels = Labels::from_pairs([
            ("__name__", "load_total".to_owned()),
            ("instance", format!("i{at:06}")),
            ("tier", tier(at).to_owned()),
            ("zone", format!("z{}", at % 100)),
        ]);
        (labels, counter(at as u64, 289, 300_000))
    };
    write(folder, || Box::new((0..DAY_SERIES).map(series)));
}
