//! `shoal tools promql explain`: what a query would do, and what it cost a server to do it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::promql::parse::ParseOptions;
use ::promql::{Engine, EngineOptions, QueryOptions};
use anyhow::{Context as _, bail};
use serde_json::Value;

/// Flags of `shoal tools promql explain`, exactly as typed.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// A server to ask in place of planning here: `http://host:port`, perhaps with a path prefix.
    #[arg(long = "url")]
    pub url: Option<String>,
    /// Run the query on the server and say what each operator cost.
    #[arg(long = "analyze", requires = "url")]
    pub analyze: bool,
    /// Time of an instant query: seconds since the epoch, for a server also RFC 3339; now when not given.
    #[arg(long = "time", conflicts_with_all = ["start", "end", "step"])]
    pub time: Option<String>,
    /// First time of a range query.
    #[arg(long = "start", requires = "end", requires = "step")]
    pub start: Option<String>,
    /// Last time of a range query.
    #[arg(long = "end", requires = "start")]
    pub end: Option<String>,
    /// Step of a range query: seconds or a duration.
    #[arg(long = "step", requires = "start")]
    pub step: Option<String>,
    /// How long to wait for the server.
    #[arg(long = "timeout", default_value = "2m", value_parser = svc::args::duration)]
    pub timeout: Duration,
    /// The query.
    pub query: String,
}

/// Plans here, without any data.
pub fn plan(args: &ExplainArgs) -> anyhow::Result<String> {
    let engine =
        Engine::new(EngineOptions { parser: ParseOptions::ALL, ..EngineOptions::default() });
    let options = QueryOptions::default();
    let plan = match (&args.start, &args.end, &args.step) {
        (Some(start), Some(end), Some(step)) => {
            let (start, end, step) = (time(start)?, time(end)?, length(step)?);
            if step <= 0 || end < start {
                bail!("expected --start, --end and --step of a range that has a step");
            }
            engine.explain_range(&args.query, start, end, step, &options)?
        }
        _ => {
            let at = args.time.as_deref().map_or_else(now, time)?;
            engine.explain_instant(&args.query, at, &options)?
        }
    };
    Ok(plan.to_string())
}

fn now() -> anyhow::Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    Ok(i64::try_from(since.as_millis())?)
}

/// Seconds to milliseconds.
fn time(text: &str) -> anyhow::Result<i64> {
    let seconds: f64 =
        text.parse().with_context(|| format!("time {text:?} is no number of seconds"))?;
    #[expect(clippy::cast_possible_truncation, reason = "beyond all time is the end of it")]
    Ok((seconds * 1000.0).round() as i64)
}

fn length(text: &str) -> anyhow::Result<i64> {
    match text.parse::<f64>() {
        Ok(_) => time(text),
        Err(_) => {
            let length = svc::args::duration(text).map_err(|error| anyhow::anyhow!("{error}"))?;
            Ok(i64::try_from(length.as_millis())?)
        }
    }
}

/// The tree in a server's answer: of `query_explain`, or the `analysis` of a query.
pub fn tree(data: &Value) -> String {
    let mut lines = Vec::new();
    line(data.get("analysis").unwrap_or(data), "", "", &mut lines);
    lines.join("\n")
}

fn line(node: &Value, first: &str, rest: &str, lines: &mut Vec<String>) {
    let name = node.get("name").and_then(Value::as_str).unwrap_or("?");
    lines.push(format!("{first}{name}{}", cost(node)));
    let children: Vec<&Value> =
        node.get("children").and_then(Value::as_array).into_iter().flatten().collect();
    for (at, child) in children.iter().enumerate() {
        let (branch, below) =
            if at + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        line(child, &format!("{rest}{branch}"), &format!("{rest}{below}"), lines);
    }
}

/// What a server says of the cost; Thanos says less than Shoal.
fn cost(node: &Value) -> String {
    let keys = [
        ("selfTime", "self"),
        ("executionTime", "total"),
        ("seriesIn", "series in"),
        ("seriesOut", "series out"),
        ("totalSamples", "samples"),
        ("peakBytes", "peak bytes"),
    ];
    let told: Vec<String> = keys
        .iter()
        .filter_map(|(key, word)| {
            let value = node.get(key)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(format!("{word} {text}"))
        })
        .collect();
    if told.is_empty() { String::new() } else { format!("  ({})", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(query: &str, range: Option<[&str; 3]>) -> ExplainArgs {
        let [start, end, step] = range.map_or([None; 3], |range| range.map(Some));
        ExplainArgs {
            url: None,
            analyze: false,
            time: Some("60".to_owned()).filter(|_| range.is_none()),
            start: start.map(str::to_owned),
            end: end.map(str::to_owned),
            step: step.map(str::to_owned),
            timeout: Duration::from_secs(1),
            query: query.to_owned(),
        }
    }

    #[test]
    fn a_query_is_planned_without_a_server() {
        let plan_of = |query, range| plan(&args(query, range)).unwrap();
        assert_eq!(
            plan_of("count(up)", None),
            "[query] at 60, lookback 5m\n└─ [aggregate] count\n   └─ [select] up, reads -239.999 to 60, hints func=count"
        );
        assert!(plan_of("up", Some(["0", "60", "15s"])).contains("step 15s, 5 steps"));
        assert!(plan(&args("up", Some(["60", "0", "15"]))).is_err());
        assert!(plan(&args("up(", None)).unwrap_err().to_string().contains("parse error"));
    }

    #[test]
    fn an_analysis_is_a_tree_of_lines() {
        let data = serde_json::json!({ "result": [], "analysis": {
            "name": "a", "executionTime": "2ms", "children": [
                { "name": "b", "totalSamples": 3, "children": [{ "name": "c" }] },
                { "name": "d" },
            ],
        }});
        assert_eq!(tree(&data), "a  (total 2ms)\n├─ b  (samples 3)\n│  └─ c\n└─ d");
    }
}
