//! Scripts against the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Labels;

use crate::ast::{At, Expr, Shift};
use crate::parse::{ParseOptions, parse_with};
use crate::{Engine, EngineOptions, QueryOptions, QueryResult, Value, VectorSample};

use super::check;
use super::histogram;
use super::memory::Memory;
use super::read::{Command, Eval, Line, Times, script};

/// What became of one eval.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Line of the `eval`, from 1.
    pub line: usize,
    /// The query as written.
    pub query: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// A script that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScriptError {
    /// What is wrong, and where.
    pub message: String,
}

/// The engine as upstream's own test runner sets it up.
#[must_use]
pub fn engine() -> Engine {
    Engine::new(EngineOptions {
        parser: ParseOptions::ALL,
        delayed_name_removal: true,
        use_start_timestamps: true,
        ..EngineOptions::default()
    })
}

/// Runs all commands of a script against an engine of its own: one outcome per `eval`, in order (promqltest/test.go).
///
/// # Errors
///
/// A line that is no command, with its number. An `eval` that fails is no error but its [`Outcome`].
pub fn run(text: &str) -> Result<Vec<Outcome>, ScriptError> {
    let engine = engine();
    let mut memory = Memory::default();
    let mut outcomes = Vec::new();
    for command in script(text).map_err(|message| ScriptError { message })? {
        match command {
            Command::Clear => memory = Memory::default(),
            Command::Load { step, series, with_nhcb } => {
                // Of two lines with one label set the last counts.
                let lines: BTreeMap<_, _> =
                    series.into_iter().map(|line| (line.labels.clone(), line)).collect();
                load(&mut memory, lines, step, with_nhcb);
            }
            Command::Eval(eval) => {
                let error = judge(&engine, &memory, &eval).err();
                outcomes.push(Outcome { line: eval.line, query: eval.query, error });
            }
        }
    }
    Ok(outcomes)
}

fn load(memory: &mut Memory, lines: BTreeMap<Labels, Line>, step: i64, with_nhcb: bool) {
    let time = |at: usize| i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(step);
    if with_nhcb {
        for (labels, points) in histogram::from_classic(lines.values()) {
            let points = points.into_iter().map(|(at, histogram)| (time(at), histogram));
            memory.append_histograms(labels, points);
        }
    }
    for line in lines.into_values() {
        super::start::keep(memory, &line, step);
        let histograms =
            line.histograms.into_iter().map(|written| (time(written.index), written.histogram));
        memory.append_histograms(line.labels.clone(), histograms);
        let points = line.values.iter().enumerate();
        let points = points.filter_map(|(at, value)| Some((time(at), (*value)?)));
        memory.append(line.labels, points);
    }
}

/// Runs one eval as upstream does: as written; then with the evaluation time pinned by `@`, at other times; and around
/// each of these as the middle step of a range query.
fn judge(engine: &Engine, memory: &Memory, eval: &Eval) -> Result<(), String> {
    // What is no PromQL is no expected failure either.
    let mut expr =
        parse_with(&eval.query, &ParseOptions::ALL).map_err(|error| error.to_string())?;
    let time = match eval.times {
        Times::Range { start, end, step } => {
            let answer = engine.range(memory, &eval.query, start, end, step, &options());
            return check::answer(eval, &answer);
        }
        Times::Instant(time) => time,
    };
    instant(engine, memory, eval, &eval.query, time)?;
    if !pin(&mut expr, time) {
        return Ok(());
    }
    let query = expr.to_string();
    let times = if time == 0 {
        vec![-1000, 0, 1000]
    } else {
        vec![-10 * time, 0, time / 5, time, 10 * time]
    };
    for time in times {
        instant(engine, memory, eval, &query, time)
            .map_err(|error| format!("as {query} at {time}: {error}"))?;
    }
    Ok(())
}

fn options() -> QueryOptions {
    QueryOptions { max_samples: 1_000_000, ..QueryOptions::default() }
}

/// A query at one time, and as the middle step of a range query (`runInstantQuery` of promqltest/test.go).
fn instant(
    engine: &Engine,
    memory: &Memory,
    eval: &Eval,
    query: &str,
    time: i64,
) -> Result<(), String> {
    let answer = engine.instant(memory, query, time, &options());
    check::answer(eval, &answer)?;
    let of_the_query = ["start()", "end()", "range()", "step()"];
    let only_instant = eval.answer_times.is_some()
        || eval.string.is_some()
        || of_the_query.iter().any(|call| query.contains(call));
    if answer.is_err() || only_instant {
        return Ok(());
    }
    let (start, end) = (time - 60_000, time + 60_000);
    let answer = engine.range(memory, query, start, end, 60_000, &options());
    let answer = answer.map_err(|error| format!("failed in a range query: {error}"))?;
    if eval.ordered {
        // Ranges have an order of their own.
        return Ok(());
    }
    check::value_only(eval, at_step(answer, time))
        .map_err(|error| format!("in a range query: {error}"))
}

/// One step of a range query's answer, as an instant query's.
fn at_step(result: QueryResult, time: i64) -> Value {
    let Value::Matrix(series) = result.value else { return result.value };
    let samples = series.into_iter().filter_map(|series| {
        let at = series.timestamps.binary_search(&time).ok()?;
        let histogram = series.histograms.iter().find(|sample| sample.index == at);
        let histogram = histogram.map(|sample| Arc::clone(&sample.histogram));
        let value = *series.values.get(at)?;
        Some(VectorSample { labels: series.labels.clone(), time, value, histogram })
    });
    Value::Vector(samples.collect())
}

/// Pins every selector to a time, unless it or a subquery around it has one. Gives whether the expression then has one
/// answer at all times (`atModifierTestCases` of promqltest/test.go, `AtModifierUnsafeFunctions` of promql/functions.go).
fn pin(expr: &mut Expr, time: i64) -> bool {
    const VARYING: &[&str] = &[
        "days_in_month",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "hour",
        "minute",
        "month",
        "year",
        "predict_linear",
        "time",
        "timestamp",
        "start",
        "end",
        "range",
        "step",
    ];
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Selector(selector) => {
            pin_shift(&mut selector.shift, time);
            true
        }
        Expr::Matrix(matrix) => {
            pin_shift(&mut matrix.selector.shift, time);
            true
        }
        Expr::Subquery(subquery) => {
            // Its own times no longer depend on the query's.
            pin_shift(&mut subquery.shift, time);
            true
        }
        Expr::Unary(unary) => pin(&mut unary.expr, time),
        Expr::Paren(paren) => pin(&mut paren.expr, time),
        Expr::Binary(binary) => pin(&mut binary.left, time) & pin(&mut binary.right, time),
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.as_mut().is_none_or(|expr| pin(expr, time));
            pin(&mut aggregate.expr, time) & parameter
        }
        Expr::Call(call) => {
            let varies = VARYING.contains(&call.function.name);
            call.arguments.iter_mut().fold(!varies, |all, expr| pin(expr, time) & all)
        }
    }
}

/// Upstream takes `@ start()` and `@ end()` for no time.
fn pin_shift(shift: &mut Shift, time: i64) {
    if !matches!(shift.at, Some(At::Time(_))) {
        shift.at = Some(At::Time(time));
    }
}
