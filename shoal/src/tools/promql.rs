//! `shoal tools promql`: queries read, formatted, evaluated and tested at a terminal.

mod explain;
mod serve;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::promql::ast::Expr;
use ::promql::parse::{ParseOptions, parse_with};
use anyhow::{Context as _, bail};

/// The longest API answer that is read, bytes.
const MAX_ANSWER: usize = 256 << 20;

/// What to do with PromQL.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Runs test scripts in promqltest's syntax; fails when any eval does.
    Test {
        /// Scripts.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Prints how a query is understood, a node a line.
    Parse {
        /// The query.
        query: String,
    },
    /// Prints a query over several lines, as Prometheus' `format_query` does.
    Format {
        /// The query.
        query: String,
    },
    /// Asks a server with Prometheus' HTTP API, or a folder of blocks, and prints a table.
    Eval(EvalArgs),
    /// Prints the plan of a query; of a server, perhaps with what each part cost.
    Explain(explain::ExplainArgs),
    /// Serves Prometheus' HTTP API over a folder of blocks, such as the data of a stopped Prometheus.
    Serve(serve::Args),
}

/// Flags of `shoal tools promql eval`, exactly as typed.
#[derive(Debug, Clone, clap::Args)]
pub struct EvalArgs {
    /// Where the server is: `http://host:port`, perhaps with a path prefix.
    #[arg(long = "url", required_unless_present = "tsdb_path", conflicts_with = "tsdb_path")]
    url: Option<String>,
    /// A folder of blocks in place of a server.
    #[arg(long = "tsdb.path")]
    tsdb_path: Option<PathBuf>,
    /// Time of an instant query: seconds since the epoch or RFC 3339; now when not given.
    #[arg(long = "time", conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// First time of a range query.
    #[arg(long = "start", requires = "end", requires = "step")]
    start: Option<String>,
    /// Last time of a range query.
    #[arg(long = "end", requires = "start")]
    end: Option<String>,
    /// Step of a range query: seconds or a duration.
    #[arg(long = "step", requires = "start")]
    step: Option<String>,
    /// How long to wait for the answer.
    #[arg(long = "timeout", default_value = "2m", value_parser = svc::args::duration)]
    timeout: Duration,
    /// The query.
    query: String,
}

/// Does it.
pub fn run(command: Command) -> ExitCode {
    let outcome = match command {
        Command::Test { files } => return test(&files),
        Command::Parse { query } => {
            parsed(&query).map(|expr| ::promql::describe(&expr).to_string())
        }
        Command::Format { query } => parsed(&query).map(|expr| ::promql::pretty(&expr)),
        Command::Explain(args) if args.url.is_none() => explain::plan(&args),
        Command::Explain(args) => {
            return svc::run(async move |ctx| {
                let text = explained(args).await?;
                say(&text);
                ctx.shutdown.trigger();
                Ok(())
            });
        }
        Command::Eval(args) => {
            return svc::run(async move |ctx| {
                let text = eval(args, &ctx).await?;
                say(&text);
                ctx.shutdown.trigger();
                Ok(())
            });
        }
        Command::Serve(args) => return svc::run(async move |ctx| serve::run(args, &ctx).await),
    };
    match outcome {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let _closed_pipe = writeln!(std::io::stdout().lock(), "{text}");
}

fn complain(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{text}");
}

fn parsed(query: &str) -> anyhow::Result<Expr> {
    Ok(parse_with(query, &ParseOptions::ALL)?)
}

/// What came of all scripts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failures: Vec<String>,
}

impl Tally {
    fn script(&mut self, name: &str, text: &str) {
        let outcomes = match ::promql::script::run(text) {
            Ok(outcomes) => outcomes,
            Err(error) => return self.failures.push(format!("{name}: {error}")),
        };
        for outcome in outcomes {
            match outcome.error {
                None => self.passed += 1,
                Some(error) => {
                    let (line, query) = (outcome.line, outcome.query);
                    self.failures.push(format!("{name}:{line}: {query}\n    {error}"));
                }
            }
        }
    }
}

fn test(files: &[PathBuf]) -> ExitCode {
    let mut all = Tally::default();
    for file in files {
        let name = file.display().to_string();
        let mut tally = Tally::default();
        match std::fs::read_to_string(file) {
            Ok(text) => tally.script(&name, &text),
            Err(error) => tally.failures.push(format!("{name}: {error}")),
        }
        for failure in &tally.failures {
            say(&format!("FAIL {failure}"));
        }
        say(&format!("{name}: {} passed, {} failed", tally.passed, tally.failures.len()));
        all.passed += tally.passed;
        all.failures.append(&mut tally.failures);
    }
    say(&format!("{} files: {} passed, {} failed", files.len(), all.passed, all.failures.len()));
    if all.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn eval(args: EvalArgs, ctx: &svc::Context) -> anyhow::Result<String> {
    let EvalArgs { url, tsdb_path, time, start, end, step, timeout, query } = args;
    let endpoint = if start.is_some() { "query_range" } else { "query" };
    let url = match (url, tsdb_path) {
        (Some(url), _) => url,
        (None, Some(folder)) => serve::here(folder, ctx).await?,
        (None, None) => bail!("neither --url nor --tsdb.path is given"),
    };
    let url = format!("{}/api/v1/{endpoint}", url.trim_end_matches('/'));
    let data = ask(&url, form(query, [time, start, end, step]), timeout).await?;
    Ok(table::of(&serde_json::from_value(data)?))
}

async fn explained(args: explain::ExplainArgs) -> anyhow::Result<String> {
    let explain::ExplainArgs { url, analyze, time, start, end, step, timeout, query } = args;
    let endpoint = match (start.is_some(), analyze) {
        (true, true) => "query_range",
        (true, false) => "query_range_explain",
        (false, true) => "query",
        (false, false) => "query_explain",
    };
    let url = url.unwrap_or_default();
    let url = format!("{}/api/v1/{endpoint}", url.trim_end_matches('/'));
    let mut form = form(query, [time, start, end, step]);
    // Of Thanos' two engines only this one has plans.
    form.push(("engine", "thanos".to_owned()));
    if analyze {
        form.push(("analyze", "true".to_owned()));
    }
    Ok(explain::tree(&ask(&url, form, timeout).await?))
}

type Form = Vec<(&'static str, String)>;

fn form(query: String, times: [Option<String>; 4]) -> Form {
    let given = ["time", "start", "end", "step"].into_iter().zip(times);
    let given = given.filter_map(|(name, value)| Some((name, value?)));
    std::iter::once(("query", query)).chain(given).collect()
}

/// The `data` of an answer; what is told beside it goes to the terminal.
async fn ask(url: &str, form: Form, timeout: Duration) -> anyhow::Result<serde_json::Value> {
    let client = svc::http::client(timeout)?;
    let response =
        client.post(url).form(&form).send().await.with_context(|| format!("ask {url}"))?;
    let status = response.status();
    let body = svc::http::read_body(response, MAX_ANSWER).await?;
    let Ok(answer) = serde_json::from_slice::<table::Answer>(&body) else {
        bail!("{url} answers {status} with what is no answer of Prometheus' API");
    };
    for told in answer.warnings.iter().chain(&answer.infos) {
        complain(told);
    }
    match answer.data {
        Some(data) => Ok(data),
        None => bail!("{}: {}", answer.error_type, answer.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failing_eval_is_named_with_its_line() {
        let script = "load 1m\n  up 1 1 1\n\neval instant at 1m up\n  up 1\n\neval instant at 1m up * 2\n  {} 3\n";
        let mut tally = Tally::default();
        tally.script("a.test", script);
        assert_eq!(tally.passed, 1);
        let [failure] = tally.failures.as_slice() else { panic!("{tally:?}") };
        assert!(failure.starts_with("a.test:7: up * 2\n"), "{failure}");
        tally.script("b.test", "no command\n");
        assert!(tally.failures[1].starts_with("b.test: line 1: "), "{tally:?}");
    }

    #[test]
    fn one_failure_in_any_file_is_the_failure_of_the_whole_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = file("good.test", "eval instant at 0 1 + 1\n  2\n");
        let bad = file("bad.test", "eval instant at 0 1 + 1\n  3\n");
        let gone = folder.path().join("gone.test");
        assert_eq!(test(std::slice::from_ref(&good)), ExitCode::SUCCESS);
        assert_eq!(test(&[bad, good.clone()]), ExitCode::FAILURE);
        assert_eq!(test(&[good, gone]), ExitCode::FAILURE);
    }
}
