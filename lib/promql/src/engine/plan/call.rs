//! Function calls to nodes of the plan.

use model::regex::AnchoredRegex;
use model::{Labels, METRIC_NAME, MatchType, Matcher};

use super::build::{Planned, Planner, unsupported};
use super::{
    Buckets, BucketsKind, LabelJoin, LabelReplace, Map, MapFunction, Range, RangeFunction, Scalar,
    SortOrder, Vector,
};
use crate::ast::{Call, Expr, ValueType};
use crate::engine::function::histogram::HistogramStat;
use crate::engine::function::{map, range};
use crate::error::QueryError;
use crate::storage::{Aggregate, Hints};

type Result<T> = std::result::Result<Planned<T>, QueryError>;

fn text(expr: &Expr) -> String {
    match expr.without_parens() {
        Expr::String(literal) => literal.value.clone(),
        _ => String::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a query fit a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl Planner {
    fn inside(&self, call: &Call) -> Self {
        let function = call.function.name.to_owned();
        let skip_buckets = match call.function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            "histogram_quantile"
            | "histogram_quantiles"
            | "histogram_fraction"
            | "histogram_stddev"
            | "histogram_stdvar" => false,
            _ => self.skip_buckets,
        };
        let aggregate = Aggregate::wanted_by(&function);
        let sees_labels = matches!(
            call.function.name,
            "histogram_quantile"
                | "histogram_quantiles"
                | "histogram_fraction"
                | "info"
                | "label_join"
                | "label_replace"
                | "sort_by_label"
                | "sort_by_label_desc"
                | "scalar"
        );
        let inner = if sees_labels { self.of_all_labels() } else { self.clone() };
        let hints = Hints { function, aggregate, ..inner.hints };
        Self { hints, skip_buckets, ..inner }
    }

    pub(super) fn scalar_call(&self, call: &Call) -> Result<Scalar> {
        let constant = |value: f64| Ok(Planned { node: Scalar::Number(value), invariant: true });
        match (call.function.name, call.arguments.as_slice()) {
            ("pi", _) => constant(std::f64::consts::PI),
            ("start", _) => constant(seconds(self.times.start)),
            ("end", _) => constant(seconds(self.times.end)),
            ("step", _) => constant(seconds(self.times.step)),
            ("range", _) => constant(seconds(self.times.end.saturating_sub(self.times.start))),
            ("time", _) => Ok(Planned { node: Scalar::Time, invariant: false }),
            ("min_of", [a, b]) => self.scalar_pair(a, b, Scalar::Min),
            ("max_of", [a, b]) => self.scalar_pair(a, b, Scalar::Max),
            ("scalar", [vector]) => {
                let vector = self.inside(call).vector(vector)?;
                let invariant = vector.invariant;
                Ok(Planned { node: Scalar::Of(Box::new(vector.node)), invariant })
            }
            (name, _) => Err(unsupported(format_args!("function {name}()"))),
        }
    }

    pub(super) fn vector_call(&self, call: &Call) -> Result<Vector> {
        let inside = self.inside(call);
        let name = call.function.name;
        if let Some(function) = range::find(name) {
            return inside.range_call(call, function);
        }
        if let Some(function) = map::find(name) {
            return inside.map_call(call, function);
        }
        match (name, call.arguments.as_slice()) {
            ("vector", [scalar]) => {
                let scalar = inside.scalar(scalar)?;
                let invariant = scalar.invariant;
                Ok(Planned { node: Vector::Single(scalar.node, None), invariant })
            }
            ("timestamp", [argument]) => inside.timestamp(argument),
            ("start_timestamp", [argument]) => inside.start_timestamp(argument),
            ("info", [input]) => inside.info(input, None),
            ("info", [input, selector]) => inside.info(input, Some(selector)),
            ("histogram_quantiles", [input, label, quantiles @ ..]) => {
                inside.quantiles(input, text(label), quantiles)
            }
            ("absent", [argument]) => {
                let labels = absent_labels(argument.without_parens());
                let input = inside.vector(argument)?;
                let node = Vector::Absent(Box::new(input.node), labels);
                Ok(Planned { node, invariant: input.invariant })
            }
            ("absent_over_time", [argument]) => {
                let labels = absent_labels(argument.without_parens());
                let window = inside.window(argument)?;
                window.node.allow(name)?;
                let node = Vector::AbsentOverTime(Box::new(window.node), labels);
                Ok(Planned { node, invariant: window.invariant })
            }
            (
                "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc",
                [argument, by @ ..],
            ) => {
                let labels = name.contains("label").then(|| by.iter().map(text).collect());
                let order = SortOrder { descending: name.ends_with("desc"), labels };
                let input = inside.vector(argument)?;
                let node = Vector::Sort { input: Box::new(input.node), order, span: call.span };
                Ok(Planned { node, invariant: input.invariant })
            }
            ("label_replace", arguments) => inside.label_replace(arguments),
            ("label_join", arguments) => inside.label_join(arguments),
            ("histogram_quantile", [quantile, input]) => {
                let scalar = inside.scalar(quantile)?;
                let invariant = scalar.invariant;
                let kind = BucketsKind::Quantile(scalar.folded(), quantile.span());
                inside.buckets(kind, invariant, input)
            }
            ("histogram_fraction", [lower, upper, input]) => {
                let (lower, upper) = (inside.scalar(lower)?, inside.scalar(upper)?);
                let invariant = lower.invariant && upper.invariant;
                let kind = BucketsKind::Fraction(lower.folded(), upper.folded());
                inside.buckets(kind, invariant, input)
            }
            (name, [argument]) if let Some(stat) = HistogramStat::find(name) => {
                let input = inside.vector(argument)?;
                let node = Vector::HistogramStat(stat, Box::new(input.node));
                Ok(Planned { node, invariant: input.invariant })
            }
            (name, _) => Err(unsupported(format_args!("function {name}()"))),
        }
    }

    fn range_call(&self, call: &Call, function: &'static RangeFunction) -> Result<Vector> {
        let mut window = None;
        let mut parameters = Vec::new();
        let mut invariant = !function.uses_evaluation_time;
        for argument in &call.arguments {
            if argument.value_type() == ValueType::Matrix {
                window = Some(self.window(argument)?);
            } else {
                let scalar = self.scalar(argument)?;
                invariant &= scalar.invariant;
                parameters.push((scalar.folded(), argument.span()));
            }
        }
        let Some(window) = window else {
            return Err(unsupported(format_args!("{}() without a range", call.function.name)));
        };
        invariant &= window.invariant;
        window.node.allow(call.function.name)?;
        let node = Range { function, window: window.node, parameters };
        Ok(Planned { node: Vector::Range(Box::new(node)), invariant })
    }

    fn map_call(&self, call: &Call, function: MapFunction) -> Result<Vector> {
        let Some(input) = call.arguments.first() else {
            // Date functions without an argument are about the evaluation time.
            let node = Vector::Single(Scalar::Time, Some(function));
            return Ok(Planned { node, invariant: false });
        };
        let input = self.vector(input)?;
        let mut invariant = input.invariant;
        let mut parameters = Vec::new();
        for argument in &call.arguments[1..] {
            let scalar = self.scalar(argument)?;
            invariant &= scalar.invariant;
            parameters.push(scalar.folded());
        }
        let input = if invariant { input.node } else { input.folded() };
        let node = Vector::Map(Box::new(Map { function, input, parameters }));
        Ok(Planned { node, invariant })
    }

    /// `timestamp()` knows the time of a sample only when its argument is a selector and nothing else.
    fn timestamp(&self, argument: &Expr) -> Result<Vector> {
        if let Expr::Selector(selector) = argument.without_parens() {
            let select = self.select(selector, 0)?;
            let invariant = select.at.is_some();
            return Ok(Planned { node: Vector::SampleTime(select), invariant });
        }
        let input = self.vector(argument)?.folded();
        let map = Map { function: MapFunction::EvaluationTime, input, parameters: Vec::new() };
        Ok(Planned { node: Vector::Map(Box::new(map)), invariant: false })
    }

    fn buckets(&self, kind: BucketsKind, invariant: bool, input: &Expr) -> Result<Vector> {
        let input_span = input.span();
        let input = self.vector(input)?;
        let invariant = invariant && input.invariant;
        let input = if invariant { input.node } else { input.folded() };
        let node = Vector::Buckets(Box::new(Buckets { kind, input, input_span }));
        Ok(Planned { node, invariant })
    }

    fn label_replace(&self, arguments: &[Expr]) -> Result<Vector> {
        let [input, target, replacement, source, pattern] = arguments else {
            return Err(unsupported("label_replace() with other arguments"));
        };
        let pattern = text(pattern);
        let regex = AnchoredRegex::new(&pattern).map_err(|_| {
            QueryError::Execution(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
        let target = label("invalid destination label name in label_replace()", target)?;
        let input = self.vector(input)?;
        let node = LabelReplace {
            input: input.node,
            target,
            replacement: text(replacement),
            source: text(source),
            regex,
        };
        Ok(Planned { node: Vector::LabelReplace(Box::new(node)), invariant: input.invariant })
    }

    fn label_join(&self, arguments: &[Expr]) -> Result<Vector> {
        let [input, target, separator, sources @ ..] = arguments else {
            return Err(unsupported("label_join() with other arguments"));
        };
        let source = |source| label("invalid source label name in label_join()", source);
        let sources = sources.iter().map(source).collect::<std::result::Result<_, _>>()?;
        let target = label("invalid destination label name in label_join()", target)?;
        let input = self.vector(input)?;
        let node = LabelJoin { input: input.node, target, separator: text(separator), sources };
        Ok(Planned { node: Vector::LabelJoin(Box::new(node)), invariant: input.invariant })
    }
}

/// The text of a literal that has to be a label name: any UTF-8 text but the empty one.
fn label(what: &str, expr: &Expr) -> std::result::Result<String, QueryError> {
    match expr.without_parens() {
        Expr::String(literal) if literal.raw.is_none() && !literal.value.is_empty() => {
            Ok(literal.value.clone())
        }
        _ => Err(QueryError::Execution(format!("{what}: {}", text(expr)))),
    }
}

/// The labels that `absent()` can tell from its argument: those of equality matchers, each named once.
fn absent_labels(argument: &Expr) -> Labels {
    let matchers: &[Matcher] = match argument {
        Expr::Selector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    let mut labels = model::LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.kind == MatchType::Equal && !seen.contains(&matcher.name.as_str()) {
            labels.set(matcher.name.as_str(), matcher.value.as_str());
            seen.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}
