//! Days of a cluster's life in virtual time, under the coordinator's planner and under its peers' rules side by side.
//!
//! Nodes come and go, deployments are rolled and scaled with the hour, targets grow, shards crash and are restarted in
//! turn, the coordinator restarts (once with a discovery that is slow to answer), discovery of a job fails, pushes are
//! lost or overtaken, shards cannot reach what they are to take over. The same seed gives the same days. Then one shard
//! is added to a cluster at rest. What each column counts is in ADR 5. `-- --seeds 5 --days 3 --seed 7`: more of it;
//! `--alone`: without the peers; `--explain`: what the planner decided, and when something was not as promised.
#![allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures of a simulation"
)]

#[path = "simulate/excursions.rs"]
mod excursions;
#[path = "simulate/fleet.rs"]
mod fleet;
#[path = "simulate/hashed.rs"]
mod hashed;
#[path = "simulate/kvass.rs"]
mod kvass;
#[path = "simulate/ours.rs"]
mod ours;
#[path = "simulate/trace.rs"]
mod trace;
#[path = "simulate/verdict.rs"]
mod verdict;

use std::collections::BTreeMap;

use excursions::{EVEN, Watch};
use fleet::{Fleet, Marks};
use hashed::{Hashed, Rule};
use kvass::Kvass;
use ours::Ours;
use trace::Trace;

const CAPACITY: u64 = 500_000;
/// What the planner fills shards to, in percent: the bound is the number of shards that are needed at that.
const FILL: u64 = 90;
/// The first placement is not yet the state that is measured.
const WARM_UP: i64 = 1_800;

/// What is run.
#[derive(Debug, Clone, Copy)]
struct Options {
    seed: u64,
    seeds: u64,
    days: i64,
    /// Whether to leave the peers out, and with them the verdict.
    alone: bool,
    /// Whether to say when something is not as promised, and what the planner decides.
    explain: bool,
}

impl Options {
    fn from_args() -> anyhow::Result<Self> {
        let mut options = Self { seed: 7, seeds: 3, days: 2, alone: false, explain: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            // Cargo's own.
            if arg == "--bench" {
                continue;
            }
            if arg == "--alone" {
                options.alone = true;
                continue;
            }
            if arg == "--explain" {
                options.explain = true;
                continue;
            }
            let value = args.next().unwrap_or_default();
            match arg.as_str() {
                "--seed" => options.seed = value.parse()?,
                "--seeds" => options.seeds = value.parse()?,
                "--days" => options.days = value.parse()?,
                _ => {
                    anyhow::bail!(
                        "what is {arg}? There are --seed, --seeds, --days, --alone and --explain"
                    )
                }
            }
        }
        Ok(options)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::from_args()?;
    let mut lives: Vec<(String, Marks)> = Vec::new();
    let mut added: Vec<(&str, (f64, f64))> = Vec::new();
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in options.seed..options.seed + options.seeds {
        for (at, (name, marks)) in live(seed, options, &mut causes).into_iter().enumerate() {
            match lives.get_mut(at) {
                Some((_, sum)) => sum.add(marks),
                None => lives.push((name, marks)),
            }
        }
        for (at, (name, (moved, imbalance))) in plus_one(seed, options).into_iter().enumerate() {
            match added.get_mut(at) {
                Some((_, worst)) => *worst = (worst.0.max(moved), worst.1.max(imbalance)),
                None => added.push((name, (moved, imbalance))),
            }
        }
    }
    if options.alone {
        lives.retain(|(name, _)| name.starts_with("shoal"));
    }
    println!("{} seeds from {}, {} days each", options.seeds, options.seed, options.days);
    println!(
        "{:<16} {:>7} {:>8} {:>10} {:>7} {:>9} {:>6} {:>6} {:>6} {:>7} {:>6} {:>9} {:>7} {:>7} {:>9} {:>9}",
        "rule",
        "missed",
        "by crash",
        "dup s/t/d",
        "moves",
        "max/mean",
        "p99",
        "worst",
        "of all",
        "longest",
        "over h",
        "shards",
        "bound",
        "beyond",
        "with all",
        "too many"
    );
    for (name, marks) in &lives {
        show(name, marks);
    }
    println!(
        "\none shard added at rest: share of targets moved, max/mean afterwards, the worst of all seeds (ours once at rest, peers after ten minutes)"
    );
    for (name, (moved, imbalance)) in &added {
        println!("{name:<16} {:>7.2} % {imbalance:>7.3}", moved * 100.0);
    }
    println!("\nwhy targets moved, all three groups: {causes:?}");
    let broken = verdict::judge(&lives, &added);
    anyhow::ensure!(broken.is_empty(), "promises that were not kept: {}", broken.join("; "));
    Ok(())
}

fn plus_one(seed: u64, options: Options) -> Vec<(&'static str, (f64, f64))> {
    if options.alone {
        return vec![("shoal", ours_plus_one(seed))];
    }
    vec![
        ("shoal", ours_plus_one(seed)),
        ("kvass", peer_plus_one(seed, None)),
        ("hashmod", peer_plus_one(seed, Some(Rule::Hashmod))),
        ("ring", peer_plus_one(seed, Some(Rule::Ring))),
        ("least targets", peer_plus_one(seed, Some(Rule::LeastTargets))),
    ]
}

fn live(
    seed: u64,
    options: Options,
    causes: &mut BTreeMap<&'static str, u64>,
) -> Vec<(String, Marks)> {
    let mut trace = Trace::new(seed, options.days);
    let enough = trace.load().div_ceil(CAPACITY * FILL / 100) as usize;
    let mut ours = Ours::new(3, ours::limits(CAPACITY));
    // Once filled to the brim, as is its way, and once with the room that the others leave.
    let mut kvass = [CAPACITY, CAPACITY * FILL / 100].map(|most| Kvass::new(most, enough));
    let mut hashed = [Rule::Hashmod, Rule::Ring, Rule::LeastTargets]
        .map(|rule| Hashed::new(rule, CAPACITY, FILL, enough));
    let mut watches: Vec<Watch> = (0..3).map(|_| Watch::new(seed)).collect();
    while !trace.is_over() {
        trace.advance();
        ours.step(&trace);
        if options.explain {
            let hour = trace.now as f64 / 3_600.0;
            ours.decisions.iter().for_each(|decision| println!("{hour:.3} {decision}"));
        }
        if !options.alone {
            kvass.iter_mut().for_each(|kvass| kvass.step(&trace));
            hashed.iter_mut().for_each(|peer| peer.step(&trace));
        }
        let peers = kvass.iter_mut().map(|kvass| &mut kvass.fleet);
        let peers = peers.chain(hashed.iter_mut().map(|peer| &mut peer.fleet));
        if trace.now == WARM_UP {
            for fleet in ours.fleets.iter_mut().chain(peers) {
                fleet.marks = Marks::default();
            }
        } else if trace.now % 60 == 0 && trace.now > WARM_UP {
            for group in 0..3 {
                let idle = ours.draining(group);
                let fleet = &mut ours.fleets[group as usize];
                fleet.measure(&trace, CAPACITY, FILL, idle);
                let came = &ours.came;
                let why = |target: u64| came.get(&(group, target)).copied().unwrap_or("new");
                let counted = fleet.counted(&trace, idle);
                watches[group as usize].look(fleet, &trace, &counted, why);
                if options.explain {
                    explain(fleet, &trace, group, idle);
                }
            }
            peers.for_each(|fleet| fleet.measure(&trace, CAPACITY, FILL, None));
        }
    }
    for (watch, fleet) in watches.into_iter().zip(&mut ours.fleets) {
        fleet.marks.excursions = watch.excursions;
    }
    for (cause, count) in &ours.causes {
        *causes.entry(cause).or_default() += count;
    }
    let ours = ours.fleets.into_iter().enumerate();
    let mut lives: Vec<(String, Marks)> =
        ours.map(|(group, fleet)| (format!("shoal group {group}"), fleet.marks)).collect();
    for (name, kvass) in ["kvass to 100 %", "kvass to 90 %"].into_iter().zip(kvass) {
        lives.push((name.to_owned(), kvass.fleet.marks));
    }
    for (name, peer) in ["hashmod", "ring", "least targets"].into_iter().zip(hashed) {
        lives.push((name.to_owned(), peer.fleet.marks));
    }
    lives
}

/// What a group's shards hold, in thousandths of their capacity, when that is not as promised.
fn explain(fleet: &Fleet, trace: &Trace, group: u32, idle: Option<usize>) {
    let last = fleet.marks.imbalance.last().copied().unwrap_or(1.0);
    let used = fleet.marks.last_beyond;
    if last <= EVEN && used <= 1 {
        return;
    }
    let shards = fleet.loads(trace).into_iter().zip(&fleet.shards).enumerate();
    let shards = shards.map(|(at, (load, shard))| {
        let away = if shard.is_up(trace.now) { "" } else { "away:" };
        let emptied = if Some(at) == idle { "emptied:" } else { "" };
        format!("{away}{emptied}{}", load * 1_000 / CAPACITY)
    });
    let (hour, shards) = (trace.now as f64 / 3_600.0, shards.collect::<Vec<_>>().join(" "));
    println!("{hour:.3} ! group {group}: max/mean {last:.3}, {used:+} shards: {shards}");
}

fn show(name: &str, marks: &Marks) {
    let (mean, p99, worst) = imbalance(&marks.imbalance);
    let (_, _, worst_of_all) = imbalance(&marks.imbalance_of_all);
    let measured = marks.imbalance.len().max(1) as f64;
    println!(
        "{name:<16} {:>7} {:>8} {:>10.1} {:>7} {mean:>9.3} {p99:>6.3} {worst:>6.3} {worst_of_all:>6.3} {:>7} {:>6.1} {:>9.2} {:>7.2} {:>7} {:>9} {:>7.2} %",
        marks.missed,
        marks.missed_by_crash,
        marks.duplicate as f64 / marks.scrapes.max(1) as f64
            * (trace::DAY / trace::INTERVAL) as f64,
        marks.moved,
        marks.longest,
        marks.overload as f64 / 60.0,
        marks.shard_steps as f64 / measured,
        marks.bound_steps as f64 / measured,
        marks.beyond,
        marks.beyond_with_all,
        marks.too_many as f64 * 100.0 / measured,
    );
}

/// Seconds a day that a target was scraped twice.
fn duplicate(marks: &Marks) -> f64 {
    let scrapes_a_day = (trace::DAY / trace::INTERVAL) as f64;
    marks.duplicate as f64 / marks.scrapes.max(1) as f64 * scrapes_a_day
}

/// Max/mean load of the shards: its mean over time, 99th percentile and worst.
fn imbalance(looks: &[f64]) -> (f64, f64, f64) {
    let mut sorted = looks.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| {
        sorted.get((sorted.len().saturating_sub(1) as f64 * part) as usize).copied().unwrap_or(0.0)
    };
    let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
    (mean, at(0.99), at(1.0))
}

fn ours_plus_one(seed: u64) -> (f64, f64) {
    let mut trace = Trace::new(seed, 1);
    let mut limits = ours::limits(CAPACITY);
    limits.max_idle = std::time::Duration::ZERO;
    let mut ours = Ours::new(1, limits);
    let mut run = |ours: &mut Ours, seconds: i64| {
        let until = trace.now + seconds;
        while trace.now < until {
            trace.now += trace::STEP;
            ours.step(&trace);
        }
        (
            trace.targets.len() as f64,
            imbalance_now(&ours.fleets[0], &trace),
            ours.is_calm(trace.now),
        )
    };
    run(&mut ours, WARM_UP * 2);
    let before = ours.fleets[0].marks.moved;
    let shards = ours.fleets[0].shards.len();
    ours.set_minimum(shards + 1);
    // Until it has come to rest, which has to be within a day.
    let mut after = run(&mut ours, WARM_UP);
    for _ in 0..48 {
        if after.2 {
            break;
        }
        after = run(&mut ours, WARM_UP);
    }
    let (targets, imbalance, calm) = after;
    let moved = (ours.fleets[0].marks.moved - before) as f64 / targets;
    (if calm { moved } else { f64::INFINITY }, imbalance)
}

fn peer_plus_one(seed: u64, rule: Option<Rule>) -> (f64, f64) {
    let mut trace = Trace::new(seed, 1);
    let shards = trace.load().div_ceil(CAPACITY * FILL / 100) as usize;
    let mut kvass = Kvass::new(CAPACITY, shards);
    let rule_or_any = rule.unwrap_or(Rule::Hashmod);
    let mut hashed = Hashed::new(rule_or_any, CAPACITY, FILL, shards);
    let mut moved = 0;
    for half in 0..2 {
        if half == 1 {
            moved = if rule.is_some() { hashed.fleet.marks.moved } else { kvass.fleet.marks.moved };
            hashed.fleet.resize(shards + 1, trace.now);
            let count = kvass.fleet.shards.len();
            kvass.fleet.resize(count + 1, trace.now);
        }
        // Within its idle time Kvass does not take the shard away again.
        let until = trace.now + if half == 0 { WARM_UP * 2 } else { 590 };
        while trace.now < until {
            trace.now += trace::STEP;
            if rule.is_some() { hashed.step_without_scaling(&trace) } else { kvass.step(&trace) }
        }
    }
    let fleet = if rule.is_some() { &hashed.fleet } else { &kvass.fleet };
    ((fleet.marks.moved - moved) as f64 / trace.targets.len() as f64, imbalance_now(fleet, &trace))
}

fn imbalance_now(fleet: &Fleet, trace: &Trace) -> f64 {
    let loads = fleet.loads(trace);
    let (sum, max) = (loads.iter().sum::<u64>(), loads.iter().max().copied().unwrap_or(0));
    max as f64 * loads.len() as f64 / sum.max(1) as f64
}
