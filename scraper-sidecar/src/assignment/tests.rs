//! Which pushes are taken.

mod exchange;

use super::*;

fn target(id: u64) -> wire::Target {
    let labels = Labels::from_pairs([("__address__", "a:1"), ("job", "j")]);
    wire::Target {
        id,
        job: "j".to_owned(),
        labels: labels_to_coordination(&labels),
        state: TargetState::Active.into(),
        series: 3,
        churn_per_hour: Some(12),
    }
}

fn push(epoch: u64, version: u64, ids: &[u64]) -> wire::AssignRequest {
    wire::AssignRequest {
        epoch,
        version,
        config: "global: {}".into(),
        config_hash: "h1".to_owned(),
        targets: ids.iter().map(|id| target(*id)).collect(),
        ..wire::AssignRequest::default()
    }
}

fn applied(held: &Assignment, push: wire::AssignRequest, now_ms: i64) -> Assignment {
    match decide(held, held.epoch, push, Authority::Coordinator, now_ms) {
        Ok(Decision::Apply(assignment)) => assignment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn epoch_and_version_only_go_up() {
    let held = applied(&Assignment::default(), push(5, 7, &[1]), 0);
    for (epoch, version, expected) in [
        (4, 99, Decision::Stale),
        (5, 6, Decision::Stale),
        (5, 7, Decision::Unchanged),
        // Even when another leader got as far as being asked for its configuration only.
        (5, 8, Decision::Stale),
    ] {
        let seen = if version == 8 { 6 } else { 5 };
        let decision =
            decide(&held, seen, push(epoch, version, &[1]), Authority::Coordinator, 0).unwrap();
        assert_eq!(decision, expected, "{epoch} {version}");
    }
    assert_eq!(applied(&held, push(5, 8, &[1, 2]), 0).targets.len(), 2);
    assert_eq!(applied(&held, push(6, 0, &[]), 0).targets.len(), 0);
}

#[test]
fn an_unknown_configuration_is_asked_for_and_a_known_one_is_kept() {
    let held = applied(&Assignment::default(), push(1, 1, &[1]), 0);
    let mut without = push(1, 2, &[1, 2]);
    without.config.clear();
    assert_eq!(applied(&held, without.clone(), 0).config, held.config);
    without.config_hash = "h2".to_owned();
    let decision = decide(&held, 1, without.clone(), Authority::Coordinator, 0).unwrap();
    assert_eq!(decision, Decision::NeedConfig);
    let decision = decide(&held, 1, without, Authority::LocalFile, 0).unwrap();
    assert!(matches!(decision, Decision::Apply(applied) if applied.config == held.config));
}

#[test]
fn a_kept_target_keeps_the_time_it_was_given_and_a_returning_one_does_not() {
    let first = applied(&Assignment::default(), push(1, 1, &[1, 2]), 100);
    let second = applied(&first, push(1, 2, &[2, 3]), 200);
    let third = applied(&second, push(1, 3, &[3, 2, 1]), 300);
    let given: Vec<(u64, i64)> = third.targets.iter().map(|t| (t.id, t.given_ms)).collect();
    assert_eq!(given, [(1, 300), (2, 100), (3, 200)]);
}

#[test]
fn malformed_pushes_are_refused_with_the_reason() {
    let held = Assignment::default();
    let refuse = |push: wire::AssignRequest| {
        decide(&held, 0, push, Authority::Coordinator, 0).unwrap_err().to_string()
    };
    assert_eq!(refuse(push(1, 1, &[4, 4])), "assignment: target 4 is given twice");
    let mut nameless = push(1, 1, &[4]);
    nameless.targets[0].labels.clear();
    assert_eq!(refuse(nameless), "assignment: target 4 has no address or no job");
    let mut binary = push(1, 1, &[]);
    binary.config = vec![0xFF].into();
    assert!(refuse(binary).contains("not UTF-8"));
}

#[test]
fn a_configuration_does_not_print_its_text() {
    let held = applied(&Assignment::default(), push(1, 1, &[1]), 0);
    assert!(!format!("{held:?}").contains("global"));
}
