//! What PromQL costs us, beside Debian's Prometheus and VictoriaMetrics over the same samples.
//!
//! Each server is a process of its own, asked over HTTP; what is compared is its CPU time for whole calls and its peak
//! memory. Our answers are compared with Prometheus' before anything is measured. Printed are ratios and whether each
//! keeps its bound; nothing is asserted about time.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and fails loudly")]

#[path = "promql/answer.rs"]
mod answer;
#[path = "promql/data.rs"]
mod data;
#[path = "promql/memory.rs"]
mod memory;
#[path = "promql/queries.rs"]
mod queries;
#[path = "promql/server.rs"]
mod server;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use queries::{QUERIES, Query};
use server::{Kind, Server};

/// How much is measured: in full, or with the argument `quick`. Numbers of queries, `memory` and `concurrent` choose.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Measurements per query and server, of which the median counts.
    rounds: usize,
    /// So much CPU time goes into one measurement, because the kernel tells it in hundredths of a second.
    seconds: f64,
}

const FULL: Effort = Effort { rounds: 5, seconds: 0.4 };
const QUICK: Effort = Effort { rounds: 3, seconds: 0.1 };

/// Most and least calls per measurement.
const CALLS: (f64, f64) = (4.0, 100.0);
/// Concurrent and single calls compared.
const CONCURRENT: usize = 40;
const PATIENCE: Duration = Duration::from_secs(300);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first == server::SERVE) {
        return server::serve();
    }
    testkit::init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(compare());
    ExitCode::SUCCESS
}

async fn compare() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let effort = if arguments.iter().any(|word| word == "quick") { QUICK } else { FULL };
    let only: Vec<usize> = arguments.iter().filter_map(|number| number.parse().ok()).collect();
    let folder = tempfile::tempdir().unwrap();
    if arguments.iter().any(|word| word == "memory") {
        return memory::compare(folder.path()).await;
    }
    let blocks = folder.path().join("requests");
    data::requests(&blocks);
    if arguments.iter().any(|word| word == "concurrent") {
        let server = Server::start(Kind::Shoal, &blocks).await;
        return concurrent(&server, &blocks, effort).await;
    }
    let servers = start(folder.path(), &blocks).await;
    let rounds = effort.rounds;
    println!(
        "{} series x {} samples at 30 s; 2 h at 30 s step; whole HTTP calls; CPU ms a call, median of {rounds}",
        data::SERIES,
        data::SAMPLES
    );
    println!(
        "{:>2} {:<46} {:>8} {:>10} {:>8} {:>8} {:>6} {:>6} {:>7}",
        "#", "query", "shoal", "Prometheus", "VM", "Prom/us", "must", "goal", "VM/us"
    );
    let mut kept = [0; 3];
    let queries = QUERIES.iter().filter(|q| only.is_empty() || only.contains(&q.number));
    for query in queries.clone() {
        let keeps = compare_one(query, &servers, effort).await;
        for (kept, keeps) in kept.iter_mut().zip(keeps) {
            *kept += usize::from(keeps);
        }
    }
    let all = queries.count();
    let total =
        |what: &str, kept: usize| println!("{what}: {kept} of {all}  {}", verdict(kept == all));
    total("CPU of Prometheus over ours as it must be", kept[0]);
    total("CPU of Prometheus over ours as we want it (the goal, no bound)", kept[1]);
    total("no slower than VictoriaMetrics", kept[2]);
    peaks(&servers);
    if only.is_empty() {
        concurrent(&servers[0], &blocks, effort).await;
        drop(servers);
        memory::compare(folder.path()).await;
    }
}

/// Measures and prints a query; gives whether it keeps what it must, the goal, and up with VictoriaMetrics.
async fn compare_one(query: &Query, servers: &[Server; 3], effort: Effort) -> [bool; 3] {
    answer::same(query, &servers[0], &servers[1]).await;
    let [us, prometheus, victoria] = cost(query, servers, effort).await.map(|cost| cost * 1000.0);
    let (over, beside) = (prometheus / us, victoria / us);
    let keeps = [over >= query.bound.must, over >= query.bound.goal, beside >= 1.0];
    println!(
        "{:>2} {:<46} {us:>8.1} {prometheus:>10.1} {victoria:>8.1} {over:>7.1}x {:>5}x {:>5}x {beside:>6.1}x  {}",
        query.number,
        query.text,
        query.bound.must,
        query.bound.goal,
        verdict(keeps[0] && keeps[2])
    );
    keeps
}

fn peaks(servers: &[Server; 3]) {
    let [us, prometheus, victoria] = servers.each_ref().map(|server| server.peak_bytes() / 1e6);
    let ratio = us / prometheus;
    println!(
        "peak RSS: shoal {us:.1} MB, Prometheus {prometheus:.1} MB, VM {victoria:.1} MB; shoal/Prometheus {ratio:.2} (must 0.6, goal 0.35)  {}",
        verdict(ratio <= 0.6)
    );
}

fn verdict(kept: bool) -> &'static str {
    if kept { "KEPT" } else { "NOT KEPT" }
}

async fn start(folder: &Path, blocks: &Path) -> [Server; 3] {
    let victoria = Server::start(Kind::VictoriaMetrics, &folder.join("victoria")).await;
    victoria.import(data::import_lines()).await;
    // Once more from the start, so that its peak memory is that of queries.
    victoria.stop();
    [
        Server::start(Kind::Shoal, blocks).await,
        Server::start(Kind::Prometheus, blocks).await,
        Server::start(Kind::VictoriaMetrics, &folder.join("victoria")).await,
    ]
}

/// Seconds of CPU per call, of each server. They take turns, so that what else happens on the machine hits all.
async fn cost(query: &Query, servers: &[Server; 3], effort: Effort) -> [f64; 3] {
    let mut calls = [1.0; 3];
    for (server, calls) in servers.iter().zip(&mut calls) {
        server.call(query.text, data::TIMES).await;
        let once = measured(query, server, 4).await;
        *calls = (effort.seconds / once.max(1e-4)).clamp(CALLS.0, CALLS.1);
    }
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..effort.rounds {
        for (at, server) in servers.iter().enumerate() {
            all[at].push(measured(query, server, calls[at] as u32).await);
        }
    }
    all.map(median)
}

/// Of an odd number of measurements.
fn median(mut measurements: Vec<f64>) -> f64 {
    measurements.sort_by(f64::total_cmp);
    measurements[measurements.len() / 2]
}

async fn measured(query: &Query, server: &Server, calls: u32) -> f64 {
    let before = server.cpu_seconds();
    for _ in 0..calls {
        server.call(query.text, data::TIMES).await;
    }
    (server.cpu_seconds() - before) / f64::from(calls)
}

/// Calls one after another, and the same number two at a time: of one server, and of two that share nothing but the
/// machine. What the latter reach is what this machine's second core is worth at the moment.
async fn concurrent(server: &Server, blocks: &Path, effort: Effort) {
    let other = Server::start(Kind::Shoal, blocks).await;
    let text = QUERIES[12].text;
    let run = async |server: &Server, count: usize| {
        for _ in 0..count {
            server.call(text, data::TIMES).await;
        }
    };
    run(&other, 3).await;
    let (mut shared, mut apart) = (Vec::new(), Vec::new());
    for _ in 0..2 * effort.rounds + 1 {
        let started = Instant::now();
        run(server, CONCURRENT).await;
        let single = started.elapsed().as_secs_f64();
        for (second, ratios) in [(server, &mut shared), (&other, &mut apart)] {
            let started = Instant::now();
            tokio::join!(run(server, CONCURRENT / 2), run(second, CONCURRENT / 2));
            ratios.push(single / started.elapsed().as_secs_f64());
        }
    }
    let [shared, apart] = [shared, apart].map(median);
    println!(
        "two concurrent queries against one: {shared:.2}x the throughput (must 1.8 on two idle cores)  {}",
        verdict(shared >= 1.8)
    );
    println!(
        "two queries of two processes against one: {apart:.2}x, of which one process reaches {:.2} (must 0.9)  {}",
        shared / apart,
        verdict(shared >= 0.9 * apart)
    );
}
