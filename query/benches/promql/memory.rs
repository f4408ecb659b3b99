//! Whether memory grows with the number of series that a sum reads.

use std::path::Path;

use super::data;
use super::server::{Kind, Server};
use super::verdict;

const COUNTS: [usize; 3] = [1_000, 10_000, 100_000];
const QUERY: &str = "sum by (zone) (load_total)";

/// Calls before the peak is read.
const CALLS: usize = 10;

/// Peak memory above idle of a sum over more and more series, each in a process of its own.
pub async fn compare(folder: &Path) {
    println!(
        "{QUERY}, 24 h at 5 m step: RSS when idle, and what the peak of {CALLS} calls adds, MB"
    );
    println!("{:>8} {:>15} {:>17}", "series", "shoal", "Prometheus");
    let mut ours = Vec::new();
    for count in COUNTS {
        let blocks = folder.join(count.to_string());
        data::day(&blocks, count);
        let mut grown = Vec::new();
        for kind in [Kind::Shoal, Kind::Prometheus] {
            let server = Server::start(kind, &blocks).await;
            // One series, so that what a first query needs is there.
            server.call("sum(load_total{instance=\"i000000\"})", data::DAY).await;
            let idle = server.start_peak_over();
            for _ in 0..CALLS {
                server.call(QUERY, data::DAY).await;
            }
            grown.push((idle / 1e6, (server.peak_bytes() - idle) / 1e6));
        }
        let [(idle, added), (prometheus, adds)] = grown[..] else { unreachable!("two servers") };
        println!("{count:>8} {idle:>8.1} {added:>+6.2} {prometheus:>8.1} {adds:>+8.2}");
        ours.push(added);
    }
    let (least, most) = (COUNTS[0], COUNTS[COUNTS.len() - 1]);
    let ratio = ours[ours.len() - 1] / ours[0];
    println!(
        "what the query adds, {most} series against {least}: {ratio:.2}x (must 0.8 to 1.2)  {}",
        verdict((0.8..=1.2).contains(&ratio))
    );
}
