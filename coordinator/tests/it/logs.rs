//! Lines of the log: each decision with the numbers that it rests on.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use testkit::eventually;
use tracing::subscriber::DefaultGuard;

use crate::fake::Mode;
use crate::system::{PATIENCE, World};

/// What this thread logs, as JSON.
#[derive(Debug, Clone, Default)]
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Until the guard is dropped. A test's tasks all run on its own thread.
    fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn all(&self) -> Vec<Value> {
        let bytes = self.bytes.lock().clone();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// The first line with this message and, in one of its fields, these words.
    async fn line(&self, message: &str, words: &str) -> Value {
        eventually(PATIENCE, &format!("{message:?} with {words:?}"), async || {
            let fits = |line: &&Value| {
                let has_words = |value: &Value| value.as_str().is_some_and(|v| v.contains(words));
                line["message"] == message && line.as_object().unwrap().values().any(has_words)
            };
            self.all().iter().find(fits).cloned().ok_or_else(|| format!("{:?}", self.all()))
        })
        .await
    }
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no {field} in {line}"))
}

#[tokio::test]
async fn decisions_are_logged_with_the_numbers_they_rest_on() {
    let (log, _guard) = Log::capture();
    let world = World::new(2, &[400, 400]).await;
    let coordinator = world.coordinator(&["--shard.max-series=2000", "--shard.grace=1s"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let url = format!("http://{}/metrics", world.targets[0].address());
    let found = log.line("discovery has changed", "").await;
    assert_eq!((&found["new"], &found["gone"], &found["total"]), (&2.into(), &0.into(), &2.into()));
    assert_eq!(log.line("target counted", &url).await["series"], 400);
    assert_eq!(log.line("target assigned", &url).await["load"], 405);
    log.line("leading from now on", "").await;

    // One grows, so that one of them has to go.
    for sidecar in &world.sidecars {
        sidecar.shard.lock().series.insert(world.targets[0].address().to_owned(), 1_900);
    }
    let begun = log.line("target moves", "begun").await;
    assert!(
        text(&begun, "detail").ends_with("the shard holds 2310 series, 2000 at most are allowed")
    );
    let (from, to) = (text(&begun, "from").to_owned(), text(&begun, "to").to_owned());
    assert!(from != to && begun["load"].as_u64().unwrap() >= 405, "{begun}");
    let finished = log.line("target moves", "finished").await;
    assert!(text(&finished, "detail").contains("2 good scrapes"), "{finished}");

    // The shard with the small one goes, and the other one has no room for it.
    eventually(PATIENCE, "each target has one owner", async || world.all_owned()).await;
    let small = world.targets[1].address();
    let lost = (0..2).find(|i| world.sidecars[*i].state_of(small).is_some()).unwrap();
    world.sidecars[lost].shard.lock().mode = Mode::Hang;
    let trouble = log.line("shard is in trouble", "").await;
    assert!(text(&trouble, "error").contains("no answer within 1s"), "{trouble}");
    let decided = log.line("decided", "is lost").await;
    assert_eq!(decided["kind"], "lost");
    let detail = text(&decided, "decision");
    assert!(detail.ends_with("its 1 targets with 405 series move to others"), "{detail}");
    let stuck = log.line("targets are not scraped", small).await;
    assert_eq!((&stuck["reason"], &stuck["targets"]), (&"owner_lost".into(), &1.into()));
    assert!(text(&stuck, "detail").contains("its 405 series wait for a place"), "{stuck}");

    // It comes back.
    world.sidecars[lost].shard.lock().mode = Mode::Normal;
    log.line("all targets have a place again", "owner_lost").await;
    let events = coordinator.events("not_scraped").await;
    assert!(events[0].starts_with("1 targets are not scraped, http://"), "{events:?}");
    coordinator.stop().await;
}
