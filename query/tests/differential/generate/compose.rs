//! Expressions of any depth out of all constructs, of the right types by construction.

use crate::random::Random;

use super::leaf::{self, Kind};
use super::systematic::{
    AGGREGATIONS, ARITHMETIC, COMPARISONS, COUNTER_RANGES, GAUGE_RANGES, MATH, OVER_TIME, SETS,
};

/// Builds texts.
#[derive(Debug)]
pub struct Composer<'a> {
    random: &'a mut Random,
}

impl<'a> Composer<'a> {
    pub fn new(random: &'a mut Random) -> Self {
        Self { random }
    }

    /// An instant vector for the most part, else a scalar.
    pub fn any(&mut self, depth: u32) -> String {
        if self.random.chance(4) { self.scalar(depth) } else { self.vector(depth) }
    }

    fn vector(&mut self, depth: u32) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return leaf::vector(self.random, Kind::Any);
        };
        match self.random.below(100) {
            0..=3 => leaf::vector(self.random, Kind::Any),
            4..=13 => format!("{}({})", self.random.pick(MATH), self.vector(depth)),
            14..=31 => self.over_range(depth),
            32..=51 => self.aggregation(depth),
            52..=60 => self.with_scalar(depth),
            61..=76 => self.matched(depth),
            77..=82 => self.set(depth),
            83..=87 => self.relabelled(depth),
            88..=90 => self.quantile_of_buckets(depth),
            91..=92 => format!("-{}", self.operand(depth)),
            93 => format!("vector({})", self.scalar(depth)),
            94..=95 => self.clamped(depth),
            96 => format!("absent({})", self.vector(depth)),
            97 => format!("timestamp({})", self.vector(depth)),
            _ => format!("({})", self.vector(depth)),
        }
    }

    /// A vector that stands at an operator.
    fn operand(&mut self, depth: u32) -> String {
        let text = self.vector(depth);
        if text.starts_with('-') || text.contains(' ') { format!("({text})") } else { text }
    }

    fn scalar(&mut self, depth: u32) -> String {
        let number =
            *self.random.pick(&["0", "1", "2", "0.5", "-1", "10", "100", "1e9", "3.7", "0x10"]);
        let Some(depth) = depth.checked_sub(1) else { return number.to_owned() };
        match self.random.below(12) {
            0..=5 => number.to_owned(),
            6 => "time()".to_owned(),
            7 => "pi()".to_owned(),
            8..=9 => format!(
                "scalar({}({}))",
                self.random.pick(&["sum", "max", "count"]),
                self.vector(depth)
            ),
            10 => format!(
                "({} {} {})",
                self.scalar(depth),
                self.random.pick(ARITHMETIC),
                self.scalar(depth)
            ),
            _ => format!("-{number}").replace("--", ""),
        }
    }

    fn matrix(&mut self, depth: u32, kind: Kind) -> String {
        if depth == 0 || self.random.chance(55) {
            return leaf::matrix(self.random, kind);
        }
        format!("{}{}", self.operand(depth - 1), leaf::subquery(self.random))
    }

    fn over_range(&mut self, depth: u32) -> String {
        match self.random.below(10) {
            0..=2 => {
                let matrix = self.matrix(depth, Kind::Counter);
                format!("{}({matrix})", self.random.pick(COUNTER_RANGES))
            }
            3..=4 => {
                let matrix = self.matrix(depth, Kind::Gauge);
                format!("{}({matrix})", self.random.pick(GAUGE_RANGES))
            }
            5..=7 => {
                let matrix = self.matrix(depth, Kind::Any);
                format!("{}({matrix})", self.random.pick(OVER_TIME))
            }
            8 => {
                let matrix = self.matrix(depth, Kind::Gauge);
                format!(
                    "quantile_over_time({}, {matrix})",
                    self.random.pick(&["0", "0.25", "0.5", "0.99", "1"])
                )
            }
            _ => {
                let matrix = self.matrix(depth, Kind::Gauge);
                match self.random.below(2) {
                    0 => format!(
                        "predict_linear({matrix}, {})",
                        self.random.pick(&["60", "-300", "3600", "0"])
                    ),
                    _ => format!("double_exponential_smoothing({matrix}, 0.3, 0.6)"),
                }
            }
        }
    }

    /// A label or two, in parentheses.
    fn labels(&mut self) -> String {
        let count = self.random.below(3);
        let labels: Vec<&str> = (0..count).map(|_| *self.random.pick(leaf::LABELS)).collect();
        format!("({})", labels.join(", "))
    }

    fn grouping(&mut self) -> String {
        match self.random.below(5) {
            0 => String::new(),
            1..=3 => format!(" by {}", self.labels()),
            _ => format!(" without {}", self.labels()),
        }
    }

    fn aggregation(&mut self, depth: u32) -> String {
        let (grouping, inner) = (self.grouping(), self.vector(depth));
        match self.random.below(10) {
            0..=6 => format!("{}{grouping} ({inner})", self.random.pick(AGGREGATIONS)),
            7 => {
                let phi = *self.random.pick(&["0", "0.1", "0.5", "0.9", "1", "-1", "2"]);
                format!("quantile{grouping} ({phi}, {inner})")
            }
            8 => format!(
                "{}{grouping} ({}, {inner})",
                self.random.pick(&["topk", "bottomk"]),
                self.random.pick(&["1", "2", "3", "5", "0"])
            ),
            _ => format!("count_values{grouping} (\"v\", {inner})"),
        }
    }

    fn operator(&mut self) -> String {
        if self.random.chance(65) {
            return (*self.random.pick(ARITHMETIC)).to_owned();
        }
        let bool = if self.random.chance(50) { " bool" } else { "" };
        format!("{}{bool}", self.random.pick(COMPARISONS))
    }

    fn with_scalar(&mut self, depth: u32) -> String {
        let (vector, scalar, operator) = (self.operand(depth), self.scalar(1), self.operator());
        if self.random.chance(70) {
            format!("{vector} {operator} {scalar}")
        } else {
            format!("{scalar} {operator} {vector}")
        }
    }

    /// Two vectors whose series have the same labels by construction, for the most part.
    fn matched(&mut self, depth: u32) -> String {
        let operator = self.operator();
        match self.random.below(5) {
            0 => {
                let one = self.operand(depth);
                format!("{one} {operator} {one}")
            }
            1 => {
                let (a, b) = (self.operand(depth), self.operand(depth));
                let labels = self.labels();
                format!("sum by {labels} ({a}) {operator} max by {labels} ({b})")
            }
            2 => {
                let (a, b) = (self.operand(depth), self.operand(depth));
                let label = *self.random.pick(&["instance", "job", "missing"]);
                format!("{a} {operator} on ({label}) group_left () sum by ({label}) ({b})")
            }
            3 => {
                let (a, b) = (self.operand(depth), self.operand(depth));
                format!(
                    "avg by (instance) ({a}) {operator} ignoring (job, version) group_right (version) (max by (job, instance, version) ({b}))"
                )
            }
            _ => {
                let (a, b) = (self.operand(depth), self.operand(depth));
                let word = *self.random.pick(&["on", "ignoring"]);
                format!("{a} {operator} {word} {} {b}", self.labels())
            }
        }
    }

    fn set(&mut self, depth: u32) -> String {
        let (a, b) = (self.operand(depth), self.operand(depth));
        let matching = match self.random.below(3) {
            0 => String::new(),
            1 => format!("on {} ", self.labels()),
            _ => format!("ignoring {} ", self.labels()),
        };
        format!("{a} {} {matching}{b}", self.random.pick(SETS))
    }

    fn relabelled(&mut self, depth: u32) -> String {
        let inner = self.vector(depth);
        match self.random.below(4) {
            0 => format!("label_join({inner}, \"joined\", \"-\", \"job\", \"instance\", \"n\")"),
            1 => format!("label_replace({inner}, \"host\", \"$1\", \"instance\", \"(.*):.*\")"),
            2 => format!("label_replace({inner}, \"instance\", \"\", \"instance\", \"a.*\")"),
            _ => format!(
                "label_replace({inner}, \"job\", \"x-${{1}}-$2\", \"instance\", \"(.)(:.*)\")"
            ),
        }
    }

    fn quantile_of_buckets(&mut self, depth: u32) -> String {
        let phi = *self.random.pick(&["0.1", "0.5", "0.9", "0.99", "1", "0"]);
        let metric = *self.random.pick(&[
            "request_seconds_bucket",
            "request_seconds_bucket",
            "broken_bucket",
        ]);
        let inner = match self.random.below(4) {
            0 => metric.to_owned(),
            1 => format!("rate({metric}[{}])", self.random.pick(&["2m", "5m", "10m"])),
            2 => format!("sum by (le, job) (rate({metric}[5m]))"),
            _ => format!("sum by (le) ({metric}) * {}", self.operand(depth.min(1))),
        };
        format!("histogram_quantile({phi}, {inner})")
    }

    fn clamped(&mut self, depth: u32) -> String {
        let inner = self.vector(depth);
        match self.random.below(4) {
            0 => format!("clamp({inner}, -5, 20)"),
            1 => format!("clamp_min({inner}, {})", self.scalar(1)),
            2 => format!("clamp_max({inner}, {})", self.scalar(1)),
            _ => format!("round({inner}, {})", self.random.pick(&["0.1", "5", "10", "0.25"])),
        }
    }
}
