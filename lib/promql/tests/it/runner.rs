//! What the runner of scripts accepts, and what it does not let pass.

use promql::script::run;

/// What is wrong with a script's only eval.
fn failure(eval: &str) -> Option<String> {
    let text = format!("load 1m\n  up 0 1 2 3\n  load_total 0 1 2 3\n\n{eval}\n");
    let outcomes = run(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((outcomes.len(), outcomes[0].line), (1, 5));
    outcomes[0].error.clone()
}

fn refused(script: &str) -> String {
    run(script).map(|outcomes| format!("{outcomes:?}")).unwrap_err().to_string()
}

#[test]
fn values_may_differ_by_a_millionth() {
    // The difference is compared with the sum of both.
    assert_eq!(failure("eval instant at 1m up * 1.0000019\n  {} 1"), None);
    assert!(failure("eval instant at 1m up * 1.0000021\n  {} 1").is_some());
    assert_eq!(failure("eval instant at 1m 1.0000019\n  1"), None);
    assert!(failure("eval instant at 1m 1.0000021\n  1").is_some());
    assert!(failure("eval instant at 1m up * 0\n  {} 0.000000001").is_some());
}

#[test]
fn an_instant_query_has_to_hold_at_other_times_and_as_a_step_of_a_range() {
    // Pinned by @ it is the same at all times, but the range around the first step begins before it.
    assert_eq!(failure("eval instant at 0 count_over_time(up[1m])\n  {} 1"), None);
    // Its time is not that of the evaluation, so it is not pinned.
    assert_eq!(failure("eval instant at 1m timestamp(up)\n  {} 60"), None);
    assert_eq!(failure("eval instant at 1m up @ end()\n  up 1"), None);
    // Without an order in ranges, only the instant query is compared.
    assert_eq!(failure("eval instant at 1m sort(up)\n  expect ordered\n  up 1"), None);
}

#[test]
fn expectations_hold_in_both_directions() {
    let query = "eval instant at 3m increase(up[2m])";
    let told = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"up\" (1:10)";
    let answer = "  {} 2";
    assert_eq!(failure(&format!("{query}\n{answer}")), None);
    assert_eq!(failure(&format!("{query}\n  expect info\n{answer}")), None);
    assert_eq!(failure(&format!("{query}\n  expect info msg: {told}\n{answer}")), None);
    assert_eq!(failure(&format!("{query}\n  expect info regex: not be a counter\n{answer}")), None);
    assert_eq!(failure(&format!("{query}\n  expect no_warn\n{answer}")), None);
    for wrong in ["no_info", "warn", "info msg: something else", "info regex: ^not", "fail"] {
        let failed = failure(&format!("{query}\n  expect {wrong}\n{answer}"));
        assert!(failed.is_some(), "{wrong}");
    }
    let quiet = "eval instant at 3m increase(load_total[2m])";
    assert_eq!(failure(&format!("{quiet}\n  expect no_info\n  expect no_warn\n{answer}")), None);
    assert!(failure(&format!("{quiet}\n  expect info\n{answer}")).is_some());
    // One of two texts was met, the other was not.
    let half =
        format!("{query}\n  expect info regex: counter\n  expect info regex: gauge\n{answer}");
    assert!(failure(&half).is_some());
    let error = "found duplicate series for the match group {} on the right";
    let join = "eval instant at 1m up + on () {__name__=~\"up|load_total\"}";
    assert_eq!(failure(&format!("{join}\n  expect fail")), None);
    assert_eq!(failure(&format!("{join}\n  expect fail regex: {error}")), None);
    assert!(failure(&format!("{join}\n  expect fail msg: {error}")).is_some());
    assert!(failure(join).is_some());
}

#[test]
fn series_and_values_have_to_be_those_that_are_expected() {
    assert!(failure("eval instant at 1m up\n  up 1\n  down 1").is_some(), "one is missing");
    assert!(failure("eval instant at 1m {__name__=~\"up|load_total\"}\n  up 1").is_some());
    assert!(failure("eval instant at 1m up\n  1").is_some(), "a vector is no scalar");
    assert!(failure("eval instant at 1m 1\n  up 1").is_some(), "a scalar is no vector");
    assert_eq!(failure("eval range from 0 to 3m step 1m up\n  up 0 1 2 3"), None);
    assert!(failure("eval range from 0 to 3m step 1m up\n  up 0 1 2").is_some());
    assert!(failure("eval range from 0 to 3m step 1m up\n  up 0 1 _ 3").is_some());
    // What is no PromQL does not fail as expected.
    let unclosed = failure("eval instant at 1m sum(up\n  expect fail");
    assert_eq!(unclosed.as_deref(), Some("1:7: parse error: unclosed left parenthesis"));
}

#[test]
fn what_is_no_script_is_an_error_with_its_line() {
    for (script, words) in [
        ("clear\nfill 1m", "line 2: unknown command"),
        ("eval instant at 1m up\n  up 1 2", "line 1: several values"),
        ("eval instant at 1m up\n  expect warn\n  expect no_warn", "line 1: is to say"),
        ("eval instant at 1m up\n  expect warn of: x", "line 1: \"expect warn of: x\": neither"),
        ("eval instant at 1m up\n  expect snow", "line 1: \"expect snow\": unknown"),
        (
            "eval instant at 1m up\n  expect fail msg: a\n  expect fail msg: b",
            "line 1: \"expect fail msg: b\": is to fail in two ways",
        ),
        ("load 1m\n  up@st -1m -1m\n  up 1", "up 1: not as many samples as starts"),
        ("load 1m\n  up@st -1m", "starts without samples"),
    ] {
        let error = refused(script);
        assert!(error.starts_with(words), "{script}: {error}");
    }
}
