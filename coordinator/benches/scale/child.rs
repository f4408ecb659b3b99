//! The coordinator, in a process of its own.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use coordinator::{Args, Config};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, Command};

use crate::world::World;

/// Set in the child.
const MARK: &str = "SHOAL_BENCH_COORDINATOR";
/// Seldom: with thousands of shards the metrics are a large page.
const LOOK: Duration = Duration::from_secs(2);
/// What `/proc` counts in a second: 100 wherever Linux runs.
const TICKS: f64 = 100.0;
/// Nothing takes that long unless it never ends.
const PATIENCE: Duration = Duration::from_secs(1_800);

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs the coordinator until standard input ends.
pub(crate) async fn run() -> anyhow::Result<()> {
    let config = Config::try_from(Cli::parse().args)?;
    let ctx = svc::Context::new();
    let running = coordinator::run(config, ctx.clone()).await?;
    println!("{}", running.http);
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    ctx.shutdown.trigger();
    ctx.tasks.join(Duration::from_secs(30)).await?;
    Ok(())
}

/// A running one.
pub(crate) struct Child {
    process: tokio::process::Child,
    stdin: ChildStdin,
    pid: u32,
    url: String,
    client: reqwest::Client,
}

impl Child {
    pub(crate) async fn start(world: &World) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(world.flags())
            .env(MARK, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the coordinator")?;
        let stdout = process.stdout.take().context("its standard output")?;
        let stdin = process.stdin.take().context("its standard input")?;
        let pid = process.id().context("its id")?;
        let address = BufReader::new(stdout).lines().next_line().await?;
        let address = address.context("the coordinator ended at once")?;
        let client = svc::http::client(Duration::from_secs(60))?;
        Ok(Self { process, stdin, pid, url: format!("http://{address}/metrics"), client })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { mut process, stdin, .. } = self;
        drop(stdin);
        let status = process.wait().await?;
        anyhow::ensure!(status.success(), "the coordinator ended with {status}");
        Ok(())
    }

    async fn page(&self) -> anyhow::Result<String> {
        Ok(self.client.get(&self.url).send().await?.text().await?)
    }

    /// The value of a metric's line; `name` may have labels.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let page = self.page().await?;
        let start = format!("shoal_coordinator_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(start.as_str()));
        value.with_context(|| format!("no metric {name}"))?.parse().context("read a metric")
    }

    /// The mean time of each part of a turn since the start.
    pub(crate) async fn phases(&self) -> anyhow::Result<String> {
        let mut shown = String::from("mean wall time of a turn's parts:");
        for phase in ["observe", "plan", "apply", "show"] {
            let of =
                |what: &str| format!("cycle_phase_duration_seconds_{what}{{phase=\"{phase}\"}}");
            let (sum, count) = (self.metric(&of("sum")).await?, self.metric(&of("count")).await?);
            shown += &format!(" {phase} {:.3} s", sum / count.max(1.0));
        }
        Ok(shown)
    }

    /// Turns that have ended.
    pub(crate) async fn turns(&self) -> anyhow::Result<f64> {
        self.metric("cycle_duration_seconds_count").await
    }

    /// Until so many further turns have ended.
    pub(crate) async fn wait_for_turns(&self, turns: u64) -> anyhow::Result<()> {
        let before = self.turns().await?;
        self.wait_for(async || Ok(self.turns().await? >= before + turns as f64)).await
    }

    /// Until it is so.
    pub(crate) async fn wait_for(
        &self,
        is_so: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !is_so().await? {
            if tokio::time::Instant::now() > until {
                bail!("it has not come so far:\n{}", self.page().await?);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Seconds on a CPU since the start.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>());
        let ticks: u64 = ticks.sum::<Result<u64, _>>()?;
        Ok(ticks as f64 / TICKS)
    }

    /// Bytes that are resident, and that were at most.
    pub(crate) fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let of = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next());
            Ok(kib.with_context(|| format!("no {name}"))?.parse::<u64>()? << 10)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }
}
