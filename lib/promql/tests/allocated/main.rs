//! What the memory budget says against what the allocator really gives out. A binary of its own, because an allocator
//! is one for all tests of a binary.

#![allow(clippy::unwrap_used, reason = "all of it is test code")]
#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Labels;
use promql::storage::{Samples, SelectRequest, SeriesData, SeriesSet, Storage, StorageError};
use promql::{Engine, QueryOptions};

struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system allocator's; only sizes are counted beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Series that are made when they are asked for, so that the storage itself takes no memory.
struct Made;

struct Making {
    next: usize,
    range: (i64, i64),
}

const SERIES: usize = 2000;
const INTERVAL: i64 = 15_000;

impl Storage for Made {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(Making { next: 0, range: (request.start, request.end) }))
    }
}

impl SeriesSet for Making {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        let n = self.next;
        self.next += 1;
        if n == SERIES {
            return Ok(None);
        }
        let (pod, le) = (format!("pod-{:05}", n / 10), format!("{}", n % 10));
        let pairs = [("__name__", "requests_total"), ("le", &le), ("pod", &pod)];
        let first = (self.range.0 + INTERVAL - 1) / INTERVAL;
        let timestamps: Vec<i64> =
            (first..=self.range.1 / INTERVAL).map(|n| n * INTERVAL).collect();
        let values = timestamps.iter().map(|t| (*t / 1000) as f64 * (n + 1) as f64).collect();
        let samples = Samples { timestamps, values, ..Samples::default() };
        Ok(Some(SeriesData { labels: Labels::from_pairs(pairs), samples }))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// How far the two may be apart, both ways.
const FACTOR: f64 = 1.5;

#[test]
fn the_peak_of_the_budget_is_within_half_of_what_is_really_allocated() {
    let engine = Engine::default();
    let options = QueryOptions::default();
    let mut wrong = Vec::new();
    for query in [
        "requests_total",
        "rate(requests_total[5m])",
        "requests_total * 10",
        "sum by (pod, le) (rate(requests_total[5m]))",
        "avg by (pod) (requests_total)",
        "quantile by (le) (0.9, requests_total)",
        "stddev by (pod) (requests_total)",
        "topk(5, requests_total)",
        "requests_total + on (pod, le) requests_total",
        "requests_total * on (pod) group_left sum by (pod) (requests_total)",
        "requests_total and requests_total",
        "requests_total or requests_total offset 1m",
        "histogram_quantile(0.9, requests_total)",
        "count_values(\"v\", requests_total % 7)",
        "max_over_time(sum by (pod) (requests_total)[10m:1m])",
        "label_replace(requests_total, \"x\", \"$1\", \"pod\", \"(.*)\")",
        "absent(requests_total)",
    ] {
        let before = USED.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let result = engine.range(&Made, query, 3_600_000, 7_200_000, 30_000, &options).unwrap();
        let real = (PEAK.load(Ordering::Relaxed) - before) as f64;
        let reserved = result.stats.peak_bytes as f64;
        let factor = reserved / real;
        println!("{query}: {reserved} reserved, {real} allocated, {factor:.2}");
        if !(1.0 / FACTOR..=FACTOR).contains(&factor) {
            wrong.push(format!("{query}: {reserved} reserved, {real} allocated"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
