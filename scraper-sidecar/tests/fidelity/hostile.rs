//! Configurations that are wrong right beside a secret: no answer, page or log line quotes it.

use std::collections::BTreeSet;
use std::fs;

use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};

use crate::coordinated::Coordinated;
use crate::scraped::PATIENCE;
use crate::secrets::{self, Log};
use crate::shard::Shard;

/// A job's lines; each is refused. The last four are no YAML.
const BROKEN: &[&str] = &[
    "authorization: s3cret-scalar",
    "basic_auth: [s3cret-list]",
    "basic_auth: {username: u, password: {s3cret-key: 1}}",
    "basic_auth: {password: s3cret-two, password_file: f}",
    "authorization: {type: basic, credentials: s3cret-type}",
    "bearer_token: s3cret-token\n  bearer_token_file: f",
    "bearer_token: s3cret-token\n  basic_auth: {username: u}",
    "oauth2: {client_secret: s3cret-oauth}",
    "oauth2: {client_id: i, token_url: u, client_secret: [s3cret-oauth]}",
    "proxy_url: 'http://u:s3cret-proxy@:bad port/'",
    "proxy_url: 's3cret-relative'",
    "proxy_url: 'http://u:s3cret-proxy@h'\n  proxy_from_environment: true",
    "http_sd_configs: [{url: 'http://u:s3cret-sd@'}]",
    "http_sd_configs: [{url: 'ftp://u:s3cret-sd@h/'}]",
    "tls_config: {key: s3cret-key}",
    "http_headers: {Host: {secrets: [s3cret-header]}}",
    "http_headers: {X: {secrets: {s3cret-header: x}}}",
    "bearer_token: \"s3cret-unclosed",
    "bearer_token: *s3cret-anchor",
    "bearer_token: s3cret-colon: x",
    "bearer_token: |\n s3cret-indent\n  x: y\n z",
];

#[tokio::test]
async fn a_refusal_never_quotes_a_secret() {
    testkit::init();
    let log = Log::capture();
    let folder = tempfile::tempdir().unwrap();
    let shard = Shard::start(folder.path()).await;
    let mut wrong = Vec::new();
    for (version, lines) in (1..).zip(BROKEN) {
        let config = format!("scrape_configs:\n- job_name: broken\n  {lines}\n");
        match shard.assign(version, &config, Vec::new()).await {
            Ok(_) => wrong.push(format!("taken: {lines}")),
            Err(status) => {
                let quoted = secrets::in_text(&format!("{status:?}"));
                if !quoted.is_empty() {
                    wrong.push(format!("quoted: {}", status.message()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(secrets::in_text(&shard.said().await), BTreeSet::new());
    assert_eq!(secrets::in_text(&log.text()), BTreeSet::new());
    shard.stop().await;
}

/// In the coordinator, that is where people make them.
#[tokio::test]
async fn a_refused_edit_names_file_line_and_key_once_and_changes_nothing() {
    testkit::init();
    let log = Log::capture();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, "scrape_configs: [{job_name: good}]\n").unwrap();
    let system = Coordinated::start(&file, 1, &["--coordinator.interval=100ms"]).await;
    eventually(PATIENCE, "the shard has the configuration", async || {
        !system.shards[0].report().await.config_hash.is_empty()
    })
    .await;
    let mut wrong = Vec::new();
    for (place, lines) in BROKEN.iter().enumerate() {
        fs::write(&file, format!("scrape_configs:\n- job_name: broken\n  {lines}\n")).unwrap();
        let answer = system.reload().await;
        let answer = answer.trim_end();
        let key = lines.split(':').next().unwrap();
        let is_yaml = place + 4 < BROKEN.len();
        let is_named = answer.contains("scrape_configs[0]") && answer.contains(key);
        let line = answer.split("prometheus.yml:").nth(1).and_then(|rest| rest.split(':').next());
        let line = line.and_then(|line| line.parse::<usize>().ok());
        let is_there = line.is_some_and(|line| (2..=6).contains(&line));
        let is_one = answer.matches("prometheus.yml:").count() == 1 && !answer.contains('\n');
        if is_yaml != is_named || !is_there || !is_one {
            wrong.push(format!("{lines}\n  {answer}"));
        }
        if !secrets::in_text(answer).is_empty() {
            wrong.push(format!("quoted: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let shard = fs::read_to_string(system.shards[0].config_file()).unwrap();
    assert!(shard.contains("good") && !shard.contains("broken"), "{shard}");
    assert_eq!(secrets::in_text(&system.said().await), BTreeSet::new());
    assert_eq!(secrets::in_text(&log.text()), BTreeSet::new());
    system.stop().await;
}

/// What we carry through unread, Prometheus refuses: it quotes the value, and we do not.
#[tokio::test]
async fn what_prometheus_refuses_is_told_without_its_values() {
    testkit::init();
    let log = Log::capture();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, "").unwrap();
    let system = Coordinated::start(&file, 1, &["--coordinator.interval=100ms"]).await;
    let shard = &system.shards[0];
    let _prometheus = Prometheus::start(PrometheusOptions {
        config: PrometheusConfig::File(shard.config_file()),
        port: Some(shard.prometheus_port),
        ..PrometheusOptions::default()
    })
    .await;
    fs::write(&file, "remote_write: [{url: 'http://w/', authorization: s3cret-x}]\n").unwrap();
    eventually(PATIENCE, "prometheus has refused it", async || {
        let said = shard.said().await;
        if said.contains("cannot unmarshal !!str into") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(secrets::in_text(&system.said().await), BTreeSet::new());
    assert_eq!(secrets::in_text(&log.text()), BTreeSet::new());
    system.stop().await;
}
