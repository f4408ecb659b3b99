//! What a plan costs: CPU seconds of a cycle at rest and of a first placement, and memory, at 10k, 100k and 1M targets.
//!
//! Fifty series a target and 500 targets a shard: 2,000 shards at the largest size. A coordinator plans each ten seconds,
//! and nothing of a world is in the processor's caches by then; so nothing is here. The best of some runs counts.
//!
//! Fails when a cycle takes more than a second of CPU, the first one of a million targets included, or ten times the
//! targets more than 25 times as long.
#![allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::plan::{
    Condition, History, Holding, LifeLimits, Limits, Plan, ShardId, ShardLife, ShardView, Size,
    Snapshot, State, Tag, TargetView, plan,
};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const TARGETS_PER_SHARD: usize = 500;
const SERIES: u64 = 50;
const RUNS: usize = 5;
const PLACINGS: usize = 3;
const MAX_SECONDS: f64 = 1.0;
const MAX_GROWTH: f64 = 25.0;
const NOW: i64 = 1_700_000_000_000;

fn main() -> anyhow::Result<()> {
    println!("   targets  shards  groups  first placement  at rest  us/target  growth    RSS");
    let mut before = None;
    for targets in SIZES {
        let rest = measure(targets, 1)?;
        let growth = before.map(|before: f64| rest / before);
        if let Some(growth) = growth {
            println!("{:>62.1}", growth);
            anyhow::ensure!(growth <= MAX_GROWTH, "ten times the targets cost {growth:.1} times");
        }
        before = Some(rest);
        anyhow::ensure!(rest <= MAX_SECONDS, "a cycle at rest takes {rest:.2} s of CPU");
    }
    measure(SIZES[1], 3)?;
    Ok(())
}

/// Prints a line; CPU seconds of a cycle at rest.
fn measure(targets: usize, groups: u32) -> anyhow::Result<f64> {
    let shards = u32::try_from(targets / TARGETS_PER_SHARD)?;
    let limits = limits();
    let job: Arc<str> = Arc::from("pods");
    let mut seen = Snapshot {
        targets: sizes(targets, &job).into(),
        shards: fleet(shards, groups, limits.max_series),
        groups,
        ..Snapshot::default()
    };
    let place = || plan(&seen, &limits, &History::default(), NOW);
    let (mut first, placed) = timed(place);
    for _ in 1..PLACINGS {
        first = first.min(timed(place).0);
    }
    anyhow::ensure!(placed.unassigned.is_empty(), "{} not placed", placed.unassigned.len());
    anyhow::ensure!(placed.placed.len() == targets * groups as usize, "not everything placed");
    hand_over(&mut seen, &placed, &job);
    let history = placed.history.clone();
    drop(placed);
    anyhow::ensure!(history.moves.is_empty());
    let mut best = f64::MAX;
    for _ in 0..RUNS {
        let (seconds, at_rest) = timed(|| plan(&seen, &limits, &history, NOW + 10_000));
        let still = at_rest.moves.is_empty() && at_rest.placed.is_empty();
        anyhow::ensure!(
            still,
            "{} moves, {} placements at rest",
            at_rest.moves.len(),
            at_rest.placed.len()
        );
        best = best.min(seconds);
    }
    anyhow::ensure!(first <= MAX_SECONDS * f64::from(groups), "placing takes {first:.2} s of CPU");
    let each = best * 1e6 / (targets * groups as usize) as f64;
    println!(
        "{targets:>10}  {shards:>6}  {groups:>6}  {first:>13.3} s  {best:>5.3} s  {each:>9.3}  {:>6}  {:>4} MiB",
        "",
        resident()? >> 20
    );
    Ok(best)
}

fn limits() -> Limits {
    Limits {
        max_series: 30_000,
        max_samples: 0,
        max_head: 0,
        min_shards: 1,
        max_shards: 10_000,
        scalable: true,
        max_idle: Duration::ZERO,
        good_scrapes: 2,
        move_timeout: Duration::from_secs(1_800),
        grace: Duration::from_secs(120),
        moves_per_minute: 600,
        fill_to: 90,
        relieve_to: 95,
        drain_to: 90,
        life: LifeLimits::default(),
    }
}

/// Half to one and a half times the mean, in an order that has nothing to do with size.
fn sizes(targets: usize, job: &Arc<str>) -> Vec<TargetView> {
    let size = |id: u64| SERIES / 2 + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (SERIES + 1);
    (0..targets as u64)
        .map(|id| TargetView {
            id,
            job: Arc::clone(job),
            size: Size::Counted(size(id)),
            tag: Tag::default(),
            interval_ms: 0,
            churn: 0,
        })
        .collect()
}

fn fleet(shards: u32, groups: u32, capacity: u64) -> Vec<ShardView> {
    let ids =
        (0..groups).flat_map(|group| (0..shards).map(move |ordinal| ShardId { group, ordinal }));
    ids.map(|id| ShardView {
        id,
        capacity,
        condition: Condition::Ready,
        known: true,
        holdings: Vec::new(),
        life: ShardLife::default(),
    })
    .collect()
}

fn hand_over(seen: &mut Snapshot, placed: &Plan, job: &Arc<str>) {
    let series: BTreeMap<u64, u64> = seen
        .targets
        .iter()
        .map(|target| match target.size {
            Size::Counted(series) | Size::Tentative(series) => (target.id, series),
            Size::Unknown => (target.id, 0),
        })
        .collect();
    for shard in &mut seen.shards {
        let desired = placed.shards.get(&shard.id).into_iter().flatten();
        shard.holdings = desired
            .map(|desired| Holding {
                target: desired.target,
                job: Arc::clone(job),
                state: State::Active,
                series: series[&desired.target],
                interval_ms: 0,
                churn: 0,
                scrapes: 10,
                good_scrapes: 10,
                down: false,
            })
            .collect();
    }
}

/// Seconds of this thread on a CPU, and the answer: how busy the machine is does not matter.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    empty_caches();
    let before = on_cpu();
    let answer = work();
    (on_cpu() - before, answer)
}

/// Fills the processor's caches with something else.
fn empty_caches() {
    const BYTES: usize = 128 << 20;
    let mut other = vec![1_u8; BYTES];
    other.iter_mut().step_by(64).for_each(|byte| *byte = std::hint::black_box(*byte) + 1);
    std::hint::black_box(&other);
}

fn on_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}
