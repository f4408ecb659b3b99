//! What was promised, and whether a run kept it. Figures, not a gate: `cargo xtask bench` prints, tests judge.

use super::fleet::Marks;
use super::{duplicate, imbalance};

/// Says of each promise whether this run kept it, and of each peer where it did better than our worst group.
pub(crate) fn judge(lives: &[(String, Marks)], added: &[(&str, (f64, f64))]) {
    let (ours, peers): (Vec<_>, Vec<_>) =
        lives.iter().partition(|(name, _)| name.starts_with("shoal"));
    let ours: Vec<&Marks> = ours.into_iter().map(|(_, marks)| marks).collect();
    let worst = |of: &dyn Fn(&Marks) -> f64| ours.iter().map(|m| of(m)).fold(0.0, f64::max);
    println!("\nwhat is promised, by the worst of the groups");
    let missed = worst(&|marks| marks.missed as f64);
    say("no scrape missed outside of crashes", format!("{missed}"), missed == 0.0);
    let p99 = worst(&|marks| imbalance(&marks.imbalance).1);
    say("max/mean <= 1.10, 99 % of the time", format!("{p99:.3}"), p99 <= 1.10);
    let worst_ever = worst(&|marks| imbalance(&marks.imbalance).2);
    say("the same, always", format!("{worst_ever:.3}"), worst_ever <= 1.10);
    let beyond = worst(&|marks| marks.beyond as f64);
    let part = worst(&|marks| marks.too_many as f64 / marks.imbalance.len().max(1) as f64);
    let figure = format!("{:.2} %", (1.0 - part) * 100.0);
    say("shards <= ceil(load / (cap x fill)) + 1, 99 %", figure, part <= 0.01);
    say("the same, always", format!("+{beyond}"), beyond <= 1.0);
    let (_, (moved, _)) = added[0];
    let percent = moved * 100.0;
    say("one shard more moves <= 0.5 %", format!("{percent:.2} %"), moved <= 0.005);
    let overload = worst(&|marks| marks.overload as f64) / 60.0;
    say("no shard beyond its capacity", format!("{overload:.1} h"), overload == 0.0);
    for (name, peer) in peers {
        compare(&ours, name, peer);
    }
}

fn say(promise: &str, figure: String, met: bool) {
    println!("  {promise:<52} {figure:>9}  {}", if met { "met" } else { "MISSED" });
}

/// A peer is worse when it misses scrapes that we do not. What else it pays with, and what it has for that, is shown.
fn compare(ours: &[&Marks], name: &str, peer: &Marks) {
    type Column<'a> = (&'a str, &'a dyn Fn(&Marks) -> f64);
    let columns: [Column<'_>; 6] = [
        ("scrapes missed", &|marks| marks.missed as f64),
        ("max/mean", &|marks| imbalance(&marks.imbalance).1),
        ("shards", &|marks| marks.shard_steps as f64 / marks.imbalance.len().max(1) as f64),
        ("hours beyond capacity", &|marks| marks.overload as f64 / 60.0),
        ("moves", &|marks| marks.moved as f64),
        ("seconds scraped twice", &|marks| duplicate(marks)),
    ];
    let worst = |of: &dyn Fn(&Marks) -> f64| ours.iter().map(|m| of(m)).fold(0.0, f64::max);
    let mut better = Vec::new();
    for (column, of) in columns {
        let (mine, theirs) = (worst(of), of(peer));
        if theirs < mine {
            better.push(format!("{column} ({theirs:.2}, ours {mine:.2})"));
        }
    }
    let lost = worst(&|marks| marks.missed as f64) < peer.missed as f64;
    let but = if better.is_empty() { "nothing".to_owned() } else { better.join(", ") };
    say(&format!("better than {name}, which has less of: {but}"), String::new(), lost);
}
