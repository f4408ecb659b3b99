//! What is written, and what is left alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use proto::coordination::TargetState;

use super::*;
use crate::assignment::Target;

fn config(folder: &Path) -> Config {
    Config {
        http_address: ([127, 0, 0, 1], 0).into(),
        grpc_address: ([127, 0, 0, 1], 0).into(),
        prometheus_url: "http://127.0.0.1:9/".parse().unwrap(),
        data_dir: folder.to_owned(),
        output_file: folder.join("prometheus.yml"),
        source: ConfigSource::Pushed { base_dir: folder.to_owned() },
        labels: vec![("prometheus_replica".to_owned(), "0".to_owned())],
        poll_interval: std::time::Duration::from_secs(1),
        churn_interval: std::time::Duration::from_secs(300),
    }
}

fn target(id: u64, job: &str) -> Target {
    Target {
        id,
        job: job.to_owned(),
        labels: Labels::from_pairs([("__address__", "a:1"), ("job", job)]),
        state: TargetState::Active,
        series: 0,
        churn_per_hour: None,
        given_ms: 0,
    }
}

#[test]
fn a_targets_file_carries_the_hidden_id() {
    let assignment = Assignment { targets: vec![target(7, "j")], ..Assignment::default() };
    let files = render_targets(&assignment, &Passing::default());
    let (name, content) = files.first_key_value().unwrap();
    assert_eq!(*name, shard_file::targets_file_name("j"));
    assert!(content.contains("\"__shoal_target_id__\":\"7\""), "{content}");
    assert!(content.contains("\"targets\":[\"a:1\"]"), "{content}");
}

#[test]
fn only_what_differs_is_written_and_what_is_gone_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let files = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    assert_eq!(write_targets(path, &files(&[("a.json", "1"), ("b.json", "1")])).unwrap(), 2);
    let inode = |name: &str| fs::metadata(path.join(name)).unwrap().ino();
    let before = inode("a.json");
    assert_eq!(write_targets(path, &files(&[("a.json", "1"), ("c.json", "1")])).unwrap(), 2);
    assert_eq!(inode("a.json"), before);
    assert!(!path.join("b.json").exists());
    assert_eq!(write_targets(path, &files(&[("a.json", "1"), ("c.json", "1")])).unwrap(), 0);
}

#[test]
fn files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    write_if_changed(&path, "secret").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn without_a_configuration_the_shard_has_its_external_labels() {
    let folder = tempfile::tempdir().unwrap();
    let text = render_config(&config(folder.path()), None).unwrap();
    let read = promconf::parse(&text, Path::new("out.yml")).unwrap();
    let labels = [("prometheus_replica".to_owned(), "0".to_owned())];
    assert_eq!(read.global.external_labels, labels);
}

#[test]
fn a_broken_configuration_is_refused_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let text = "global: {}\nscrape_configs:\n- job_name: a\n  scrape_interval: often\n".to_owned();
    let user = UserConfig { text, hash: "h".to_owned() };
    let error = render_config(&config(folder.path()), Some(&user)).unwrap_err().to_string();
    assert!(error.contains("prometheus.yml:4:"), "{error}");
    assert!(error.contains("scrape_configs[0].scrape_interval"), "{error}");
}
