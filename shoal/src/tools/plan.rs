//! `shoal tools plan`: how many shards a configuration would need. Starts none.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::coordinator::forecast::{self, Forecast, Request};
use anyhow::Context as _;

/// Problems, unassigned and oversize targets that the table names; the rest as a number.
const NAMED: usize = 20;

/// Flags of `shoal tools plan`, exactly as typed.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("known").required(true).multiple(true).args(["config_file", "snapshot"]))]
pub(crate) struct Args {
    /// The prometheus.yml: its targets are discovered, and scraped once where their size is not known.
    #[arg(long = "config.file")]
    config_file: Option<PathBuf>,
    /// Known sizes: what `/api/v1/snapshot` of a coordinator answers, or a Prometheus to
    /// `/api/v1/query?query=scrape_samples_post_metric_relabeling`. Without --config.file its targets are all there
    /// are.
    #[arg(long = "snapshot")]
    snapshot: Option<PathBuf>,
    /// Placement rules, as `shoal coordinator` takes them.
    #[arg(long = "placement.config-file", requires = "config_file")]
    placement_file: Option<PathBuf>,
    /// Most series a shard may hold.
    #[arg(long = "shard.max-series", default_value_t = 1_000_000)]
    max_series: u64,
    /// Most samples a second that a shard of --shard.max-series may scrape; 0: not limited.
    #[arg(long = "shard.max-samples-per-second", requires = "config_file", default_value_t = 0)]
    max_samples: u64,
    /// Most series that the head of a shard's Prometheus may have, churn of the snapshot's targets included; 0: not
    /// limited.
    #[arg(long = "shard.max-head-series", requires = "snapshot", default_value_t = 0)]
    max_head: u64,
    /// Most shards of a replica group; as many as it takes when not given.
    #[arg(long = "shard.max-shard")]
    max_shards: Option<u32>,
    /// Replica groups, each scraping everything.
    #[arg(long = "replicas", default_value_t = 1)]
    replicas: u32,
    /// Do not scrape targets whose size is not known; they count as the mean of their job.
    #[arg(long = "no-scrape")]
    no_scrape: bool,
    /// How many targets are scraped at the same time.
    #[arg(long = "explore.concurrence", default_value_t = 200)]
    concurrency: usize,
    /// How long discovery and scrapes may take together.
    #[arg(long = "timeout", default_value = "2m", value_parser = svc::args::duration)]
    timeout: Duration,
    /// How the answer is written.
    #[arg(long = "output", value_enum, default_value = "table")]
    output: Output,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Prints the forecast.
pub(crate) fn run(args: Args) -> ExitCode {
    svc::run(async |ctx| {
        let Args {
            config_file,
            snapshot,
            placement_file,
            max_series,
            max_samples,
            max_head,
            max_shards,
            replicas,
            ..
        } = args;
        let request = Request {
            config_file,
            snapshot,
            placement_file,
            max_series,
            max_samples,
            max_head,
            max_shards,
            replicas,
            scrape: !args.no_scrape,
            concurrency: args.concurrency.max(1),
            timeout: args.timeout,
        };
        let forecast = forecast::run(request, &ctx).await?;
        let mut text = match args.output {
            Output::Table => table(&forecast),
            Output::Json => serde_json::to_string_pretty(&forecast)?,
        };
        text.push('\n');
        std::io::stdout().lock().write_all(text.as_bytes()).context("write the answer")?;
        ctx.shutdown.trigger();
        Ok(())
    })
}

fn table(forecast: &Forecast) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    if write_table(&mut out, forecast).is_err() {
        out.push_str("no table\n");
    }
    out.trim_end().to_owned()
}

fn write_table(out: &mut String, forecast: &Forecast) -> std::fmt::Result {
    let Forecast { targets, counted, guessed, dropped, load, max_series, .. } = forecast;
    let counts: Vec<String> = forecast.shards_per_group.iter().map(u32::to_string).collect();
    writeln!(
        out,
        "{} shards for {load} series of {targets} targets ({max_series} at most a shard, no placement needs fewer \
         than {})",
        counts.join(" + "),
        forecast.lower_bound,
    )?;
    writeln!(
        out,
        "targets: {counted} counted, {guessed} guessed, {dropped} dropped by relabelling"
    )?;
    if forecast.churn_per_hour > 0 {
        writeln!(out, "churn: {} series an hour", forecast.churn_per_hour)?;
    }
    if let Some(now) = forecast.shards_now {
        writeln!(out, "shards in the snapshot: {now}")?;
    }
    writeln!(
        out,
        "\n{:<40} {:>9} {:>9} {:>12} {:>12}",
        "JOB", "TARGETS", "GUESSED", "SERIES", "LARGEST"
    )?;
    for job in &forecast.jobs {
        let (name, guessed) = (&job.job, job.guessed);
        writeln!(
            out,
            "{name:<40} {:>9} {guessed:>9} {:>12} {:>12}",
            job.targets, job.load, job.largest
        )?;
    }
    writeln!(out, "\n{:<40} {:>9} {:>9} {:>12}", "SHARD", "TARGETS", "FULL", "SERIES")?;
    for shard in &forecast.shards {
        let full = format!("{}%", shard.load_percent);
        writeln!(out, "{:<40} {:>9} {full:>9} {:>12}", shard.id, shard.targets, shard.load)?;
    }
    let oversize = forecast.oversize.iter().map(|target| {
        format!("{} (job {}): {} series", target.url, target.job, target.series.unwrap_or(0))
    });
    list(out, "larger than a shard", oversize)?;
    let unassigned = forecast.unassigned.iter();
    list(
        out,
        "not scraped",
        unassigned.map(|target| format!("{} (job {}): {}", target.url, target.job, target.reason)),
    )?;
    list(out, "problems", forecast.problems.iter().cloned())
}

fn list(
    out: &mut String,
    title: &str,
    lines: impl ExactSizeIterator<Item = String>,
) -> std::fmt::Result {
    let count = lines.len();
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "\n{title}: {count}")?;
    for line in lines.take(NAMED) {
        writeln!(out, "  {line}")?;
    }
    if count > NAMED {
        writeln!(out, "  … and {} more", count - NAMED)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_how_many_shards_and_why() {
        let forecast = Forecast {
            shards_per_group: vec![2, 2],
            lower_bound: 2,
            max_series: 1000,
            targets: 3,
            counted: 2,
            guessed: 1,
            load: 1515,
            jobs: vec![forecast::JobForecast {
                job: "pods".to_owned(),
                targets: 3,
                guessed: 1,
                load: 1515,
                largest: 505,
            }],
            shards: vec![forecast::ShardForecast {
                id: "0-0".to_owned(),
                targets: 1,
                load: 505,
                load_percent: 50,
            }],
            churn_per_hour: 70,
            problems: (0..22).map(|n| format!("problem {n}")).collect(),
            ..Forecast::default()
        };
        let table = table(&forecast);
        assert!(
            table.starts_with("2 + 2 shards for 1515 series of 3 targets (1000 at most"),
            "{table}"
        );
        assert!(table.contains("targets: 2 counted, 1 guessed, 0 dropped"), "{table}");
        assert!(table.contains("\nchurn: 70 series an hour\n"), "{table}");
        let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(line("pods")), ["pods", "3", "1", "1515", "505"]);
        assert_eq!(words(line("0-0")), ["0-0", "1", "50%", "505"]);
        assert!(table.contains("problems: 22\n  problem 0\n") && table.ends_with("… and 2 more"));
        assert!(!table.contains("not scraped"), "{table}");
    }
}
