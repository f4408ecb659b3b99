//! What `promtool check config` says of each file and of what a sidecar makes of it.

use std::process::{Command, Stdio};

use testkit::eventually;

use crate::coordinated::Coordinated;
use crate::corpus::{self, Copy};
use crate::scraped::PATIENCE;

/// Files that Prometheus 2.42 does not know a field of, and that field.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("headers", "http_headers"),
    ("prometheus3", "scrape_protocols"),
    ("proxy-newer", "no_proxy"),
    ("tls-inline", "field ca not found"),
    ("unknown-fields", "quantum_scrape"),
    ("utf8-names", "metric_name_validation_scheme|is not a valid label name"),
];

/// Files that only the original makes it refuse: the field is gone from what a shard gets. Its Debian build has no
/// cloud discovery.
const REFUSED_ORIGINALS: &[&str] = &["included", "kube-apiserver-discovery"];

/// Whether the original cannot run here.
pub(crate) fn is_refused(name: &str) -> bool {
    REFUSED.iter().any(|(refused, _)| *refused == name) || REFUSED_ORIGINALS.contains(&name)
}

#[tokio::test]
async fn promtool_accepts_what_a_shard_gets() {
    testkit::init();
    let mut wrong = Vec::new();
    for name in corpus::names() {
        let copy = Copy::plain(&name);
        let system =
            Coordinated::start(&copy.config_file(), 1, &["--coordinator.interval=100ms"]).await;
        let shard = &system.shards[0];
        eventually(PATIENCE, &format!("{name}: the shard has the configuration"), async || {
            !shard.report().await.config_hash.is_empty()
        })
        .await;
        let verdict = promtool(&shard.config_file());
        let complaint = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, text)| *text);
        match (verdict, complaint) {
            (Ok(()), None) => {}
            (Err(text), Some(complaint)) if complaint.split('|').any(|c| text.contains(c)) => {}
            (verdict, _) => wrong.push(format!("{name}: {verdict:?}")),
        }
        let original = promtool(&copy.config_file());
        if original.is_err() != is_refused(&name) {
            wrong.push(format!("{name}, the original: {original:?}"));
        }
        system.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn promtool(file: &std::path::Path) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(["check", "config"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("promtool has to be installed: apt-get install prometheus");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
