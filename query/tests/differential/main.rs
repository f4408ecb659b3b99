//! PromQL against a real Prometheus: generated queries over the same blocks give the same answers.
//!
//! `SHOAL_DIFFERENTIAL_QUERIES=20000 SHOAL_DIFFERENTIAL_SEED=7` asks more and others.

#![allow(clippy::unwrap_used, reason = "a test that lacks its world has failed")]
#![allow(clippy::print_stdout, reason = "how many queries each known difference explains")]

mod answer;
mod ask;
mod block;
mod coverage;
mod data;
mod generate;
mod narrow;
mod random;
mod rules;

use answer::{Answer, difference};
use ask::{Ours, Theirs};
use generate::{Query, When};
use narrow::Culprit;
use rules::RULES;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// What was seen.
#[derive(Default)]
struct Tally {
    empty: usize,
    errors: usize,
    explained: [usize; RULES.len()],
    unexplained: Vec<String>,
}

#[tokio::test]
async fn thousands_of_generated_queries_answer_like_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let series = data::series();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    block::write(&ours, &series);
    block::write(&theirs, &series);
    let (ours, theirs) = (Ours::open(&ours), Theirs::start(&theirs).await);
    let seed = number("SHOAL_DIFFERENTIAL_SEED", 1);
    let count = number("SHOAL_DIFFERENTIAL_QUERIES", 4500) as usize;
    let queries = generate::queries(seed, count);
    coverage::check(&theirs, &queries).await;
    let mut tally = Tally::default();
    for query in &queries {
        let answers = (ours.ask(query), theirs.ask(query).await);
        tally.empty += usize::from(answers.1.is_empty());
        tally.errors += usize::from(answers.1.error().is_some());
        if let Some(text) = difference(&answers.0, &answers.1, query.is_ordered()) {
            explain(&mut tally, (&ours, &theirs), query, answers, &text).await;
        }
    }
    report(&tally, queries.len());
    windows_exclude_their_start(&ours, &theirs).await;
}

/// 3.0 (prometheus#13904, #15431): a sample at the very start of a window is not in it. No other query here has one.
async fn windows_exclude_their_start(ours: &Ours, theirs: &Theirs) {
    let minute = |minute: i64| When::Instant(data::START + minute * data::MINUTE);
    let cases = [
        ("count_over_time(even[5m])", minute(60), (Some(10.0), Some(11.0))),
        ("count_over_time(even[5m:1m])", minute(60), (Some(5.0), Some(6.0))),
        ("min_over_time(even[5m] offset 10m)", minute(60), (Some(91.0), Some(90.0))),
        ("increase(even[1m])", minute(60), (Some(2.0), Some(2.0))),
        ("even", minute(95), (None, Some(180.0))),
        ("even[30s]", minute(60), (Some(120.0), Some(119.0))),
    ];
    for (text, when, expected) in cases {
        let query = Query { text: text.to_owned(), when };
        let first = |answer: Answer| match answer {
            Answer::Vector(samples) => samples.first().map(|(_, (_, value))| *value),
            Answer::Matrix(series) => series.values().next().map(|points| points[0].1),
            other => panic!("{text}: {other:?}"),
        };
        let answers = (first(ours.ask(&query)), first(theirs.ask(&query).await));
        assert_eq!(answers, expected, "{text}");
    }
}

async fn explain(
    tally: &mut Tally,
    engines: (&Ours, &Theirs),
    query: &Query,
    answers: (Answer, Answer),
    text: &str,
) {
    let culprit = Culprit::find(engines, query, answers).await;
    match RULES.iter().position(|rule| (rule.explains)(&culprit)) {
        Some(rule) => tally.explained[rule] += 1,
        None => {
            let innermost = difference(&culprit.ours, &culprit.theirs, false);
            tally.unexplained.push(format!(
                "{query:?}\n    {text}\n  because of {:?}\n    {}\n    {:?}",
                culprit.query,
                innermost.unwrap_or_default(),
                rules::unequal(&culprit)
            ));
        }
    }
}

fn report(tally: &Tally, asked: usize) {
    let Tally { empty, errors, explained, unexplained } = tally;
    println!("{asked} queries, {empty} without result, {errors} refused by both or one");
    for (rule, count) in RULES.iter().zip(explained) {
        println!("{count:5}  {}", rule.change);
    }
    assert!(
        unexplained.is_empty(),
        "{} of {asked}:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    for (rule, count) in RULES.iter().zip(explained) {
        let most = rule.per_thousand * asked / 1000;
        assert!(*count <= most, "{count} of {asked} queries are excused by: {}", rule.change);
    }
    assert!(empty * 3 < asked, "{empty} of {asked} queries have no result");
    assert!(errors * 10 < asked, "{errors} of {asked} queries are refused");
}
