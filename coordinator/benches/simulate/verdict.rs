//! What was promised, and whether a run kept it.

use super::excursions::{self, EVEN, Excursion};
use super::fleet::Marks;
use super::{duplicate, imbalance};

/// What one shard more does to a cluster at rest: the share of targets that moved for it, and max/mean afterwards.
pub(crate) type OneMore = (f64, f64);

/// Says of each promise whether this run kept it, by the worst of our groups, and of each peer in what it is better or
/// worse. The promises that were broken.
pub(crate) fn judge(lives: &[(String, Marks)], added: &[(&str, OneMore)]) -> Vec<String> {
    let (ours, peers): (Vec<_>, Vec<_>) =
        lives.iter().partition(|(name, _)| name.starts_with("shoal"));
    let ours: Vec<&Marks> = ours.into_iter().map(|(_, marks)| marks).collect();
    let worst = |of: &dyn Fn(&Marks) -> f64| ours.iter().map(|m| of(m)).fold(0.0, f64::max);
    let mut broken = Vec::new();
    let mut say = |promise: &str, figure: String, met: bool| {
        println!("  {promise:<56} {figure:>9}  {}", if met { "met" } else { "MISSED" });
        if !met {
            broken.push(promise.to_owned());
        }
    };
    println!("\nwhat is promised, by the worst of the groups");
    let missed = worst(&|marks| marks.missed as f64);
    say("no scrape missed outside of crashes", format!("{missed}"), missed == 0.0);
    let uneven = worst(&|marks| imbalance(&marks.imbalance).2);
    say("max/mean <= 1.10, always", format!("{uneven:.3}"), uneven <= EVEN);
    let part = worst(&too_many);
    let within = format!("{:.2} %", (1.0 - part) * 100.0);
    say("shards <= ceil(load / (cap x fill)) + 1, always", within, part == 0.0);
    let (_, one_more) = added[0];
    let percent = one_more.0 * 100.0;
    say("one shard more moves <= 0.5 %", format!("{percent:.2} %"), one_more.0 <= FEW);
    let overload = worst(&|marks| marks.overload as f64) / 60.0;
    say("no shard beyond its capacity", format!("{overload:.1} h"), overload == 0.0);
    for (name, peer) in peers {
        let theirs = added.iter().find(|(rule, _)| name.starts_with(rule));
        let theirs = theirs.map_or((0.0, 0.0), |(_, one_more)| *one_more);
        let better = compare(&ours, one_more, name, (peer, theirs));
        say(&format!("better than {name}"), String::new(), better);
    }
    println!("\nnot promised, and how it is");
    let worst_ever = worst(&|marks| imbalance(&marks.imbalance_of_all).2);
    let uneven = worst(&|marks| beyond(&marks.imbalance_of_all)) * 100.0;
    println!(
        "  max/mean with shards that are being filled or emptied {worst_ever:.3}; beyond 1.10 for {uneven:.2} % of the time"
    );
    let excursions: Vec<Excursion> =
        ours.iter().flat_map(|marks| marks.excursions.iter().cloned()).collect();
    excursions::tell(&excursions, ours.iter().map(|marks| marks.imbalance.len()).sum());
    broken
}

/// The share of targets that may move when one shard is added.
const FEW: f64 = 0.005;

/// How much of the time shards were less even than is promised.
fn beyond(looks: &[f64]) -> f64 {
    let beyond = looks.iter().filter(|look| **look > EVEN).count();
    beyond as f64 / looks.len().max(1) as f64
}

/// How much of the time there were more shards than the bound and one.
fn too_many(marks: &Marks) -> f64 {
    marks.too_many as f64 / marks.imbalance.len().max(1) as f64
}

/// Whether our worst group is better than a peer: in nothing that is promised worse, and in something better. What else
/// the peer has less of is shown.
fn compare(ours: &[&Marks], mine: OneMore, name: &str, (peer, theirs): (&Marks, OneMore)) -> bool {
    type Column<'a> = (&'a str, &'a dyn Fn(&Marks) -> f64);
    let promised: [Column<'_>; 4] = [
        ("scrapes missed", &|marks| marks.missed as f64),
        ("max/mean p99", &|marks| imbalance(&marks.imbalance).1),
        ("max/mean at its worst", &|marks| imbalance(&marks.imbalance).2),
        ("% of the time too many shards", &|marks| too_many(marks) * 100.0),
    ];
    let others: [Column<'_>; 4] = [
        ("shards", &|marks| marks.shard_steps as f64 / marks.imbalance.len().max(1) as f64),
        ("hours beyond capacity", &|marks| marks.overload as f64 / 60.0),
        ("moves", &|marks| marks.moved as f64),
        ("seconds scraped twice", &|marks| duplicate(marks)),
    ];
    let worst = |of: &dyn Fn(&Marks) -> f64| ours.iter().map(|m| of(m)).fold(0.0, f64::max);
    let mut compared: Vec<(&str, f64, f64)> =
        promised.iter().map(|(column, of)| (*column, worst(of), of(peer))).collect();
    // Moving nothing is no merit of a rule that leaves the new shard empty: of those that move few, it is how even the
    // shards are afterwards.
    compared.push(if mine.0 <= FEW && theirs.0 <= FEW {
        ("max/mean with one shard more", mine.1, theirs.1)
    } else {
        ("% moved for one shard more", mine.0 * 100.0, theirs.0 * 100.0)
    });
    println!("  {name}");
    for (column, mine, theirs) in &compared {
        let word = if mine < theirs { "better" } else { "equal" };
        let word = if mine > theirs { "WORSE" } else { word };
        println!("    {column:<42} {mine:>9.2} {theirs:>9.2}  {word}");
    }
    let less = others
        .iter()
        .map(|(column, of)| (*column, worst(of), of(peer)))
        .filter(|(_, mine, theirs)| theirs < mine);
    let less: Vec<String> = less
        .map(|(column, mine, theirs)| format!("{column} ({theirs:.2}, ours {mine:.2})"))
        .collect();
    if !less.is_empty() {
        println!("    though it has fewer {}", less.join(", "));
    }
    compared.iter().all(|(_, mine, theirs)| mine <= theirs)
        && compared.iter().any(|(_, mine, theirs)| mine < theirs)
}
