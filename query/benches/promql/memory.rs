//! Whether memory grows with the number of series that a sum reads.
//!
//! All sums read from one block of 100,000 series, so that what a server holds of a block is the same for all. What a
//! server holds in the end also depends on which of its threads worked, and when the allocator gives freed pages back
//! (quick calls one after another leave more behind than slow ones); so it is asked in several processes, each of which
//! has warmed up, and the median counts.

use std::path::Path;

use super::data;
use super::server::{Kind, Server};
use super::{median, verdict};

/// Series, and what selects them.
const SUMS: [(usize, &str); 3] = [
    (1_000, "sum by (zone) (load_total{tier=\"first\"})"),
    (10_000, "sum by (zone) (load_total{tier!=\"rest\"})"),
    (data::DAY_SERIES, "sum by (zone) (load_total)"),
];

/// One series: what every query needs is there afterwards.
const WARM_UP: &str = "sum by (zone) (load_total{instance=\"i000000\"})";

/// Calls of that.
const WARM_UP_CALLS: usize = 20;

/// Calls before the peak is read.
const CALLS: usize = 10;

/// Processes of our server a sum.
const PROCESSES: usize = 7;

/// Peak memory above idle of a sum over more and more series.
pub async fn compare(folder: &Path) {
    let blocks = folder.join("day");
    data::day(&blocks);
    println!(
        "sum by (zone) (load_total), 24 h at 5 m step: RSS when idle, and what the peak of {CALLS} calls adds, MB (median of {PROCESSES} processes)"
    );
    println!("{:>8} {:>15} {:>17}", "series", "shoal", "Prometheus");
    let mut ours = Vec::new();
    for (count, query) in SUMS {
        let (idle, added) = added(Kind::Shoal, &blocks, query, PROCESSES).await;
        let (prometheus, adds) = self::added(Kind::Prometheus, &blocks, query, 1).await;
        println!("{count:>8} {idle:>8.1} {added:>+6.2} {prometheus:>8.1} {adds:>+8.2}");
        ours.push((idle + added, added));
    }
    let ((few_peak, few), (many_peak, many)) = (ours[0], ours[ours.len() - 1]);
    let (peaks, ratio) = (many_peak / few_peak, many / few);
    println!(
        "peak RSS, {} series against {}: {peaks:.2}x (must 0.8 to 1.2); what the query adds to it: {ratio:.2}x (must not exceed 1.2)  {}",
        SUMS[SUMS.len() - 1].0,
        SUMS[0].0,
        verdict((0.8..=1.2).contains(&peaks) && ratio <= 1.2)
    );
}

/// Resident memory before a query, and what its calls add at the peak; both the median, MB.
async fn added(kind: Kind, blocks: &Path, query: &str, processes: usize) -> (f64, f64) {
    let (mut idle, mut added) = (Vec::new(), Vec::new());
    for _ in 0..processes {
        let server = Server::start(kind, blocks).await;
        for _ in 0..WARM_UP_CALLS {
            server.call(WARM_UP, data::DAY).await;
        }
        let before = server.start_peak_over();
        for _ in 0..CALLS {
            server.call(query, data::DAY).await;
        }
        idle.push(before / 1e6);
        added.push((server.peak_bytes() - before) / 1e6);
    }
    (median(idle), median(added))
}
