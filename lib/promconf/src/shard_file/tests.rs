//! What a shard's file keeps and what it replaces.

use std::fs;
use std::process::Command;

use super::*;
use crate::load::parse_document;

mod effective;
mod mutated;

fn nothing(_: &str) -> Option<String> {
    None
}

fn rewritten_with(
    text: &str,
    labels: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    let edits = Edits {
        targets_dir: Path::new("/t"),
        labels,
        env,
        config_dir: Path::new("/etc/prometheus"),
    };
    rewrite(text, Path::new("p.yml"), &edits)
}

fn rewritten(text: &str) -> String {
    rewritten_with(text, &[], &nothing).unwrap()
}

/// What replaces a job's discovery.
fn provider(job: &str, indent: &str) -> String {
    let file = targets_file_name(job);
    format!(
        "{indent}file_sd_configs:\n{indent}- files:\n{indent}  - \"/t/{file}\"\n{indent}  refresh_interval: 1m\n"
    )
}

/// What every kind of scalar, merge and section may look like.
const EVERYTHING: &str = r#"
global:
  scrape_interval: &interval 15s
  external_labels:
    version: 1.10
    hex: 0x1F
    octal: 0o17
    plus: +5
    long: 123456789012345678901234567890123456789012
    yes: off
    time: 12:30:45
    quoted: "1.10"
    single: 'it''s'
    literal: |
      two
        lines
    folded: >-
      one
      line
    plain: a multi
      line text
rule_files: ["rules/*.yml", /abs/rules.yml]
alerting:
  alertmanagers:
  - static_configs: [{targets: ["am:9093"]}]
    basic_auth: {username: u, password_file: secret/am}
remote_write:
- url: http://rw/api
  basic_auth: {username: u, password_file: rw.secret}
  write_relabel_configs:
  - {source_labels: [__name__], regex: 'go_.*', action: drop}
storage:
  tsdb: {out_of_order_time_window: 5m}
scrape_configs:
- &base
  job_name: base
  scrape_interval: *interval
  honor_labels: yes
  params: {module: [1.0, "two"]}
  authorization: {credentials: hunter2}
  static_configs:
  - targets: [a:1]
    labels: {x: 1.10}
  relabel_configs: &rules
  - {source_labels: [__address__], target_label: a}
  metric_relabel_configs:
  - {source_labels: [__name__], regex: "a\\.b\n", replacement: 0x1F, target_label: b}
- <<: *base
  job_name: "second job"
  dns_sd_configs: [{names: [x]}]
  relabel_configs: *rules
- job_name: third
  sample_limit: 1_000
  authorization: {credentials_file: ./certs/../token}
  file_sd_configs: [{files: [x.json]}]
"#;

#[test]
fn discovery_and_relabelling_of_a_job_are_replaced() {
    let text = "scrape_configs:\n- job_name: a\n  relabel_configs: [{target_label: x}]\n  static_configs: [{targets: [h]}]\n  kubernetes_sd_configs: []\n  future_sd_configs: {}\n  metric_relabel_configs:\n  - target_label: m\n  unknown: 0o17\n";
    let expected = "scrape_configs:\n- job_name: a\n  metric_relabel_configs:\n  - target_label: m\n  unknown: 0o17\n";
    assert_eq!(rewritten(text), format!("{expected}{}", provider("a", "  ")));
}

#[test]
fn what_a_job_merges_loses_its_discovery_too() {
    let text = "scrape_configs:\n- <<: [{static_configs: [], x: 1, <<: {relabel_configs: []}}, {y: 2}]\n  job_name: a\n";
    let expected = "scrape_configs:\n- <<:\n  - x: 1\n    <<: {}\n  - y: 2\n  job_name: a\n";
    assert_eq!(rewritten(text), format!("{expected}{}", provider("a", "  ")));
}

#[test]
fn everything_else_is_kept_as_it_was_written() {
    let out = rewritten(EVERYTHING);
    for kept in [
        "    version: 1.10\n",
        "    hex: 0x1F\n",
        "    octal: 0o17\n",
        "    plus: +5\n",
        "    long: 123456789012345678901234567890123456789012\n",
        "    yes: off\n",
        "    time: 12:30:45\n",
        "    quoted: \"1.10\"\n",
        "    single: \"it's\"\n",
        "    literal: \"two\\n  lines\\n\"\n",
        "    folded: \"one line\"\n",
        "    plain: a multi line text\n",
        "  honor_labels: yes\n",
        "    - 1.0\n    - \"two\"\n",
        "    regex: \"a\\\\.b\\n\"\n    replacement: 0x1F\n",
        "  sample_limit: 1_000\n",
        "    credentials: hunter2\n",
        "  alertmanagers:\n  - static_configs:\n    - targets:\n      - \"am:9093\"\n",
    ] {
        assert!(out.contains(kept), "{kept}\n{out}");
    }
    assert!(!out.contains("dns_sd_configs"), "{out}");
}

#[test]
fn relative_paths_start_at_the_users_folder() {
    let out = rewritten(EVERYTHING);
    for path in ["rules/*.yml", "secret/am", "rw.secret", "token"] {
        assert!(out.contains(&format!("\"/etc/prometheus/{path}\"")), "{path}\n{out}");
    }
    assert!(out.contains("- /abs/rules.yml\n"));
    let out = rewritten(
        "tracing: {tls_config: {ca_file: ca.pem}}\nglobal: {query_log_file: q, scrape_interval: 5s}\n",
    );
    assert!(
        out.contains("\"/etc/prometheus/ca.pem\"") && out.contains("\"/etc/prometheus/q\""),
        "{out}"
    );
}

#[test]
fn the_shards_labels_are_added_and_the_users_win() {
    let labels = [("shard".to_owned(), "0".to_owned()), ("replica".to_owned(), "1".to_owned())];
    let out =
        rewritten_with("global:\n  external_labels: {replica: mine}\n", &labels, &nothing).unwrap();
    assert_eq!(out, "global:\n  external_labels:\n    replica: mine\n    \"shard\": \"0\"\n");
    for text in ["", "global:\n", "global: {}\n", "global:\n  external_labels:\n"] {
        let out = rewritten_with(text, &labels[..1], &nothing).unwrap();
        assert_eq!(out, "global:\n  external_labels:\n    \"shard\": \"0\"\n", "{text}");
    }
}

#[test]
fn variables_in_round_brackets_are_expanded_and_others_left_to_prometheus() {
    let env = |name: &str| (name == "POD").then(|| "pod-0: x".to_owned());
    let text =
        "global:\n  external_labels:\n    a: x-$(POD)-y$(POD)\n    b: ${POD}\n    c: $POD $(open\n";
    assert_eq!(
        rewritten_with(text, &[], &env).unwrap(),
        "global:\n  external_labels:\n    a: \"x-pod-0: x-ypod-0: x\"\n    b: ${POD}\n    c: $POD $(open\n"
    );
    assert_eq!(
        rewritten_with("global:\n  external_labels:\n    a: $(NONE)\n", &[], &env)
            .unwrap_err()
            .to_string(),
        "p.yml:3: global.external_labels.a: environment variable NONE is not defined"
    );
}

#[test]
fn a_job_without_targets_still_appears() {
    assert!(rewritten("scrape_configs:\n- job_name: empty\n").contains("job_name: empty"));
}

#[test]
fn bad_files_are_errors_with_their_line() {
    let error = |text: &str| rewritten_with(text, &[], &nothing).unwrap_err().to_string();
    assert!(error("a: [\n").starts_with("p.yml:2: "), "{}", error("a: [\n"));
    assert_eq!(
        error("scrape_configs:\n- scheme: http\n"),
        "p.yml:2: scrape_configs[0].job_name: is empty"
    );
}

#[test]
fn jobs_of_other_files_are_inlined() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("x.yml"),
        "scrape_configs:\n- job_name: x\n  static_configs: []\n",
    )
    .unwrap();
    let edits = Edits {
        targets_dir: Path::new("/t"),
        labels: &[],
        env: &nothing,
        config_dir: folder.path(),
    };
    let out = rewrite("scrape_config_files: ['*.yml']\n", Path::new("p.yml"), &edits).unwrap();
    assert_eq!(out, format!("scrape_configs:\n- job_name: x\n{}", provider("x", "  ")));
}

#[test]
fn files_of_targets_are_sorted_json() {
    let a =
        Labels::from_pairs([("__address__", "b:1"), ("job", "x\"y"), ("__shoal_target_id__", "7")]);
    let b = Labels::from_pairs([("__address__", "a:1"), ("job", "x")]);
    assert_eq!(
        targets_file([&a, &b].into_iter()),
        "[\n{\"labels\":{\"job\":\"x\"},\"targets\":[\"a:1\"]},\n{\"labels\":{\"__shoal_target_id__\":\"7\",\"job\":\"x\\\"y\"},\"targets\":[\"b:1\"]}\n]\n"
    );
    assert_eq!(targets_file(std::iter::empty()), "[]\n");
}

#[test]
fn names_of_files_are_readable_and_distinct() {
    assert!(targets_file_name("node exporter/x").starts_with("node_exporter_x-"));
    assert_ne!(targets_file_name("a/b"), targets_file_name("a_b"));
    assert!(targets_file_name(&"é".repeat(500)).len() < 100);
}

#[test]
fn the_same_input_gives_the_same_output_and_a_rewritten_file_can_be_rewritten() {
    let once = rewritten(EVERYTHING);
    assert_eq!(once, rewritten(EVERYTHING));
    assert_eq!(once, rewritten(&once));
}
