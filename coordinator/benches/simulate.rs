//! Days of a cluster's life in virtual time, under the coordinator's planner and under its peers' rules side by side.
//!
//! Nodes come and go, deployments are rolled and scaled with the hour, targets grow, shards crash and are restarted in
//! turn, the coordinator restarts (once with a discovery that is slow to answer). The same seed gives the same days.
//! Then one shard is added to a cluster at rest. Fails when ours does not keep what it promises.
#![allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures of a simulation"
)]

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

use fleet::{Fleet, Marks};
use hashed::{Hashed, Rule};
use kvass::Kvass;
use ours::Ours;
use trace::Trace;

const SEED: u64 = 7;
const DAYS: i64 = 1;
const CAPACITY: u64 = 500_000;
/// What shards are filled to at least before a further one is justified, in percent: below it one is drained.
const FILL: u64 = 90;
/// The first placement is not yet the state that is measured.
const WARM_UP: i64 = 1_800;

fn main() -> anyhow::Result<()> {
    let seed = std::env::var("SHOAL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let lives = live(seed);
    println!(
        "{:<16} {:>7} {:>8} {:>10} {:>7} {:>9} {:>6} {:>6} {:>6} {:>9} {:>7} {:>7}",
        "rule",
        "missed",
        "by crash",
        "dup s/tgt/d",
        "moves",
        "max/mean",
        "p99",
        "worst",
        "over h",
        "shards",
        "bound",
        "beyond"
    );
    for (name, marks) in &lives {
        show(name, marks);
    }
    let added = [
        ("shoal", ours_plus_one(seed)),
        ("kvass", peer_plus_one(seed, None)),
        ("hashmod", peer_plus_one(seed, Some(Rule::Hashmod))),
        ("ring", peer_plus_one(seed, Some(Rule::Ring))),
        ("least targets", peer_plus_one(seed, Some(Rule::LeastTargets))),
    ];
    println!(
        "\none shard added at rest: share of targets moved, max/mean afterwards (ours after half an hour, peers after ten minutes)"
    );
    for (name, (moved, imbalance)) in &added {
        println!("{name:<16} {:>7.2} % {imbalance:>7.3}", moved * 100.0);
    }
    judge(&lives, &added);
    Ok(())
}

fn live(seed: u64) -> Vec<(String, Marks)> {
    let days = std::env::var("SHOAL_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(DAYS);
    let mut trace = Trace::new(seed, days);
    let enough = trace.load().div_ceil(CAPACITY * FILL / 100) as usize;
    let mut ours = Ours::new(3, ours::limits(CAPACITY));
    let mut kvass = Kvass::new(CAPACITY, enough);
    let mut hashed = [Rule::Hashmod, Rule::Ring, Rule::LeastTargets]
        .map(|rule| Hashed::new(rule, CAPACITY, enough));
    while !trace.is_over() {
        trace.advance();
        ours.step(&trace);
        kvass.step(&trace);
        hashed.iter_mut().for_each(|peer| peer.step(&trace));
        if trace.now == WARM_UP {
            let fleets = ours.fleets.iter_mut().chain([&mut kvass.fleet]);
            for fleet in fleets.chain(hashed.iter_mut().map(|peer| &mut peer.fleet)) {
                fleet.marks = Marks::default();
            }
        }
        if trace.now % 60 == 0 && trace.now > WARM_UP {
            for group in 0..3 {
                let idle = ours.draining(group);
                ours.fleets[group as usize].measure(&trace, CAPACITY, FILL, idle);
            }
            kvass.fleet.measure(&trace, CAPACITY, FILL, None);
            hashed.iter_mut().for_each(|peer| peer.fleet.measure(&trace, CAPACITY, FILL, None));
        }
    }
    let ours = ours.fleets.into_iter().enumerate();
    let mut lives: Vec<(String, Marks)> =
        ours.map(|(group, fleet)| (format!("shoal group {group}"), fleet.marks)).collect();
    lives.push(("kvass".to_owned(), kvass.fleet.marks));
    for (name, peer) in ["hashmod", "ring", "least targets"].into_iter().zip(hashed) {
        lives.push((name.to_owned(), peer.fleet.marks));
    }
    lives
}

fn show(name: &str, marks: &Marks) {
    let (mean, p99, worst) = imbalance(marks);
    let measured = marks.imbalance.len().max(1) as f64;
    println!(
        "{name:<16} {:>7} {:>8} {:>10.1} {:>7} {mean:>9.3} {p99:>6.3} {worst:>6.3} {:>6.1} {:>9.2} {:>7.2} {:>7}",
        marks.missed,
        marks.missed_by_crash,
        marks.duplicate as f64 * 30.0 / (marks.scrapes.max(1) as f64 * 30.0) * 2_880.0,
        marks.moved,
        marks.overload as f64 / 60.0,
        marks.shard_steps as f64 / measured,
        marks.bound_steps as f64 / measured,
        marks.beyond,
    );
}

/// Max/mean load of the shards: its mean over time, 99th percentile and worst.
fn imbalance(marks: &Marks) -> (f64, f64, f64) {
    let mut sorted = marks.imbalance.clone();
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
    let (targets, imbalance, calm) = run(&mut ours, WARM_UP);
    let moved = (ours.fleets[0].marks.moved - before) as f64 / targets;
    (if calm { moved } else { f64::INFINITY }, imbalance)
}

fn peer_plus_one(seed: u64, rule: Option<Rule>) -> (f64, f64) {
    let mut trace = Trace::new(seed, 1);
    let shards = trace.load().div_ceil(CAPACITY * FILL / 100) as usize;
    let mut kvass = Kvass::new(CAPACITY, shards);
    // So large that nobody else adds one.
    let mut hashed = Hashed::new(rule.unwrap_or(Rule::Hashmod), u64::MAX / 16, shards);
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

/// Says of each promise of ours whether this run kept it. A figure, not a gate: `cargo xtask bench` prints, tests judge.
fn judge(lives: &[(String, Marks)], added: &[(&str, (f64, f64))]) {
    println!("\nwhat is promised");
    let verdict = |kept: bool| if kept { "kept" } else { "NOT KEPT" };
    for (name, marks) in lives.iter().filter(|(name, _)| name.starts_with("shoal")) {
        let (_, p99, _) = imbalance(marks);
        println!("  {name}: no scrape missed: {} ({})", verdict(marks.missed == 0), marks.missed);
        println!("  {name}: max/mean <= 1.10 at p99: {} ({p99:.3})", verdict(p99 <= 1.10));
        println!(
            "  {name}: shards <= bound + 1: {} (+{})",
            verdict(marks.beyond <= 1),
            marks.beyond
        );
    }
    let (_, (moved, _)) = added[0];
    println!(
        "  one shard more moves <= 0.5 %: {} ({:.2} %)",
        verdict(moved <= 0.005),
        moved * 100.0
    );
}
