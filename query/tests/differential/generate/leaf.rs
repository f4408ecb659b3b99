//! Selectors.

use crate::data::{MINUTE, START};
use crate::random::Random;

/// What a metric is for: functions over anything else are legal, but say less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Any,
}

/// Metrics and the labels that tell their series apart.
const COUNTERS: &[(&str, &[&str])] = &[
    ("http_requests_total", &["job", "instance", "code", "method"]),
    ("node_cpu_seconds_total", &["instance", "cpu", "mode"]),
    ("request_seconds_bucket", &["job", "instance", "le"]),
    ("request_seconds_count", &["job", "instance"]),
    ("sparse_total", &["n"]),
    ("young_total", &["job", "instance"]),
];

const GAUGES: &[(&str, &[&str])] = &[
    ("temperature", &["site", "sensor"]),
    ("memory_bytes", &["job", "instance"]),
    ("load", &["instance"]),
    ("level", &["name", "state"]),
    ("flaky", &["instance"]),
    ("gappy", &["instance"]),
    ("uneven", &["n"]),
    ("constant", &["n"]),
    ("odd", &["kind"]),
    ("up", &["job", "instance"]),
    ("build_info", &["job", "instance", "version", "branch"]),
    ("text", &["value", "n"]),
    ("once", &["n"]),
];

const MATCHERS: &[(&str, &[&str])] = &[
    ("job", &["=\"api\"", "=\"web\"", "=~\"a.+\"", "!=\"api\"", "!~\"w.*\""]),
    ("instance", &["=\"a:9100\"", "=~\"(a|b):.*\"", "!=\"c:9100\"", "=~\"[bc]:9100\""]),
    ("code", &["=\"200\"", "=~\"4..|5..\"", "!~\"5.+\""]),
    ("method", &["=\"\"", "=\"GET\"", "!=\"\"", "=~\"GET|\"", "=~\".+\""]),
    ("mode", &["=\"idle\"", "!=\"idle\"", "=~\"(?i)USER\""]),
    ("site", &["=\"north\"", "=\"\"", "!=\"\"", "=~\"north|south\"", "!~\"s.*\""]),
    ("sensor", &["=\"1\"", "=~\"[12]\""]),
    ("state", &["=\"red\"", "!=\"red\""]),
    ("name", &["=\"wide\"", "=\"small\""]),
    (
        "kind",
        &["=\"mixed\"", "=\"mostly\"", "!~\"nan|.*inf.*|mixed\"", "=\"zeros\"", "=~\"inf|infs\""],
    ),
    ("le", &["=\"+Inf\"", "!=\"+Inf\"", "=\"1\""]),
    ("version", &["=\"1.0\"", "=\"1.1\""]),
    ("branch", &["=\"main\"", "=\"\""]),
    ("n", &["=\"1\"", "!=\"1\"", "=~\"1|2\""]),
    (
        "value",
        &["=\"ünïcode ☃\"", "=~\".*☃\"", "!=\"plain\"", "=\"say \\\"hi\\\"\"", "=~\"a[.]b\""],
    ),
    ("missing", &["=\"\"", "!=\"\"", "=~\".*\""]),
];

const LENGTHS: &[&str] = &["1m", "90s", "2m", "5m", "10m", "17m", "1h"];
const STEPS: &[&str] = &["", "30s", "1m", "2m", "10s"];

/// Labels that the series of some metric have.
pub const LABELS: &[&str] =
    &["job", "instance", "code", "mode", "site", "sensor", "name", "state", "n", "kind", "missing"];

/// A selector with neither `@` nor offset.
fn bare(random: &mut Random, kind: Kind) -> String {
    let counter = match kind {
        Kind::Counter => random.chance(85),
        Kind::Gauge => random.chance(10),
        Kind::Any => random.chance(45),
    };
    let (name, labels) = *random.pick(if counter { COUNTERS } else { GAUGES });
    let mut matchers = Vec::new();
    for _ in 0..*random.pick(&[0, 0, 0, 1, 1, 2]) {
        let label = if random.chance(8) { "missing" } else { random.pick(labels) };
        if let Some((_, values)) = MATCHERS.iter().find(|(name, _)| *name == label) {
            matchers.push(format!("{label}{}", random.pick(values)));
        }
    }
    if random.chance(4) {
        matchers.insert(0, format!("__name__=\"{name}\""));
        return format!("{{{}}}", matchers.join(","));
    }
    if matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", matchers.join(",")) }
}

/// Nothing for the most part, else `@` or offset, or both.
pub fn shift(random: &mut Random) -> String {
    let offset = *random.pick(&["10s", "1m", "5m", "-2m", "20m", "-30s", "1h"]);
    match random.below(20) {
        0..=2 => format!(" offset {offset}"),
        3 => format!(" @ {}", time(random)),
        4 => (*random.pick(&[" @ start()", " @ end()"])).to_owned(),
        5 => format!(" @ {} offset {offset}", time(random)),
        6 => format!(" offset {offset} @ end()"),
        _ => String::new(),
    }
}

fn time(random: &mut Random) -> String {
    let time = START + (20 + random.below(150) as i64) * MINUTE + 7_777;
    format!("{:.3}", time as f64 / 1000.0)
}

/// An instant vector selector.
pub fn vector(random: &mut Random, kind: Kind) -> String {
    format!("{}{}", bare(random, kind), shift(random))
}

/// A range vector selector.
pub fn matrix(random: &mut Random, kind: Kind) -> String {
    format!("{}[{}]{}", bare(random, kind), random.pick(LENGTHS), shift(random))
}

/// The range of a subquery and what may follow. An odd range, so that no step of a subquery in a subquery is at the
/// edge of its window.
pub fn subquery(random: &mut Random) -> String {
    let length = *random.pick(&["3m7s", "5m7s", "10m7s", "23m7s"]);
    format!("[{length}:{}]{}", random.pick(STEPS), shift(random))
}
