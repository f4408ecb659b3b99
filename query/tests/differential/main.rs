//! PromQL against a real Prometheus: generated queries over the same blocks give the same answers.
//!
//! `SHOAL_DIFFERENTIAL_QUERIES=20000 SHOAL_DIFFERENTIAL_SEED=7` asks more and others.

#![allow(clippy::unwrap_used, reason = "a test that lacks its world has failed")]
#![allow(clippy::print_stdout, reason = "how many queries each known difference explains")]

mod answer;
mod ask;
mod block;
mod data;
mod generate;
mod narrow;
mod random;
mod rules;

use answer::{Answer, difference};
use ask::{Ours, Theirs};
use generate::Query;
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
    let count = number("SHOAL_DIFFERENTIAL_QUERIES", 6000) as usize;
    let queries = generate::queries(seed, count);
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
                "{query:?}\n    {text}\n  because of {:?}\n    {}",
                culprit.query,
                innermost.unwrap_or_default()
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
