//! `/api/v1/parse_query` and `/api/v1/format_query`: how a query was understood.

use axum::extract::State;
use model::{MatchType, Matcher};
use promql::ast::{
    Aggregate, At, Binary, Border, Call, Cardinality, Expr, Length, LengthExpr, Matching,
    NumberLiteral, Shift, Subquery, ValueType, VectorSelector,
};
use serde_json::{Value, json};

use super::Api;
use super::json::Json;
use super::params::Params;
use super::respond::{Answer, ApiError};

fn parsed(api: &Api, params: &Params) -> Result<Expr, ApiError> {
    api.parse(params.get("query").unwrap_or_default())
}

/// The tree of a query, in the shape of Prometheus (web/api/v1/translate_ast.go).
pub(super) async fn parse(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    Ok(Answer::of(&tree(&parsed(&api, &params)?)))
}

/// A query in Prometheus' style, over several lines when it is long.
pub(super) async fn format(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    Ok(Answer::of(&json!(promql::pretty(&parsed(&api, &params)?))))
}

fn tree(expr: &Expr) -> Value {
    match expr {
        Expr::Number(number) => {
            json!({ "type": "numberLiteral", "val": Json::float_text(number.value) })
        }
        Expr::String(text) => json!({ "type": "stringLiteral", "val": text.value }),
        Expr::Selector(selector) => selector_node("vectorSelector", selector),
        Expr::Matrix(matrix) => {
            let mut node = selector_node("matrixSelector", &matrix.selector);
            node["range"] = milliseconds(Some(&matrix.range));
            node["rangeExpr"] = computed(Some(&matrix.range));
            node
        }
        Expr::Subquery(subquery) => subquery_node(subquery),
        Expr::Unary(unary) => json!({
            "type": "unaryExpr",
            "op": if unary.negative { "-" } else { "+" },
            "expr": tree(&unary.expr),
        }),
        Expr::Paren(paren) => json!({ "type": "parenExpr", "expr": tree(&paren.expr) }),
        Expr::Binary(binary) => binary_node(binary),
        Expr::Aggregate(aggregate) => aggregate_node(aggregate),
        Expr::Call(call) => call_node(call),
    }
}

/// A length that has to be computed first counts as 0 here; its tree is beside it.
fn milliseconds(length: Option<&Length>) -> Value {
    match length {
        Some(Length::Literal(milliseconds)) => json!(milliseconds),
        Some(Length::Computed(_)) | None => json!(0),
    }
}

fn computed(length: Option<&Length>) -> Value {
    match length {
        Some(Length::Computed(expr)) => length_node(expr),
        Some(Length::Literal(_)) | None => Value::Null,
    }
}

fn duration_node(op: &str, left: Value, right: Value) -> Value {
    json!({ "type": "durationExpr", "op": op, "lhs": left, "rhs": right, "wrapped": false })
}

fn length_number(number: &NumberLiteral) -> Value {
    let text = Json::float_text(number.value);
    json!({ "type": "numberLiteral", "val": text, "duration": number.duration })
}

fn length_node(expr: &LengthExpr) -> Value {
    match expr {
        LengthExpr::Number(number) => length_number(number),
        LengthExpr::Step => duration_node("step", Value::Null, Value::Null),
        LengthExpr::Range => duration_node("range", Value::Null, Value::Null),
        LengthExpr::Negate(inner) => duration_node("-", Value::Null, length_node(inner)),
        LengthExpr::Paren(inner) => {
            let mut node = match inner.as_ref() {
                // Upstream has no parentheses around a number, but around a sign.
                LengthExpr::Number(number) => {
                    duration_node("+", Value::Null, length_number(number))
                }
                inner => length_node(inner),
            };
            node["wrapped"] = json!(true);
            node
        }
        LengthExpr::Arithmetic(op, left, right, _) => {
            duration_node(op.as_str(), length_node(left), length_node(right))
        }
        LengthExpr::Min(left, right) => {
            duration_node("min_of", length_node(left), length_node(right))
        }
        LengthExpr::Max(left, right) => {
            duration_node("max_of", length_node(left), length_node(right))
        }
    }
}

fn at(shift: &Shift) -> (Value, Value) {
    match shift.at {
        None => (Value::Null, Value::Null),
        Some(At::Time(time)) => (json!(time), Value::Null),
        Some(At::Start) => (Value::Null, json!("start")),
        Some(At::End) => (Value::Null, json!("end")),
    }
}

fn matcher(matcher: &Matcher) -> Value {
    let kind = match matcher.kind {
        MatchType::Equal => "=",
        MatchType::NotEqual => "!=",
        MatchType::Regex => "=~",
        MatchType::NotRegex => "!~",
    };
    json!({ "name": matcher.name, "value": matcher.value, "type": kind })
}

fn selector_node(kind: &str, selector: &VectorSelector) -> Value {
    let (timestamp, start_or_end) = at(&selector.shift);
    json!({
        "type": kind,
        "name": selector.name,
        "offset": milliseconds(selector.shift.offset.as_ref()),
        "offsetExpr": computed(selector.shift.offset.as_ref()),
        "matchers": selector.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
        "anchored": selector.border == Border::Anchored,
        "smoothed": selector.border == Border::Smoothed,
    })
}

fn subquery_node(subquery: &Subquery) -> Value {
    let (timestamp, start_or_end) = at(&subquery.shift);
    json!({
        "type": "subquery",
        "expr": tree(&subquery.expr),
        "range": milliseconds(Some(&subquery.range)),
        "rangeExpr": computed(Some(&subquery.range)),
        "offset": milliseconds(subquery.shift.offset.as_ref()),
        "offsetExpr": computed(subquery.shift.offset.as_ref()),
        "step": milliseconds(subquery.step.as_ref()),
        "stepExpr": computed(subquery.step.as_ref()),
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
    })
}

fn matching_node(matching: &Matching) -> Value {
    let cardinality = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": cardinality,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": { "lhs": matching.fill.0, "rhs": matching.fill.1 },
    })
}

fn binary_node(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": binary.matching.as_ref().map(matching_node),
        "bool": binary.return_bool,
    })
}

fn aggregate_node(aggregate: &Aggregate) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.as_str(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.parameter.as_ref().map(tree),
        "grouping": aggregate.grouping,
        "without": aggregate.without,
    })
}

fn call_node(call: &Call) -> Value {
    let types = |types: &[ValueType]| types.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    json!({
        "type": "call",
        "func": {
            "name": call.function.name,
            "argTypes": types(call.function.arguments),
            "variadic": call.function.variadic,
            "returnType": call.function.returns.as_str(),
        },
        "args": call.arguments.iter().map(tree).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "as `expect!` gives it")]
    fn formatted(query: &str, expected: Expect) {
        let text = promql::pretty(&promql::parse(query).unwrap());
        expected.assert_eq(&text);
        assert_eq!(
            promql::parse(&text).unwrap().to_string(),
            promql::parse(query).unwrap().to_string()
        );
    }

    #[test]
    fn long_queries_are_split_at_their_operands() {
        formatted("foo/bar", expect!["foo / bar"]);
        formatted(
            "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_seconds_bucket{code=~\"5..\"}[5m])))/ on(job) group_left topk(5, (up{job=\"a\"}))",
            expect![[r#"
                  histogram_quantile(
                    0.99,
                    sum by (le, job) (rate(http_request_duration_seconds_bucket{code=~"5.."}[5m]))
                  )
                / on (job) group_left ()
                  topk(5, (up{job="a"}))"#]],
        );
        formatted(
            "-sum without (instance, pod) (max_over_time((avg(some_metric_with_a_long_name{cluster=\"one\"}) by (job))[30m:1m] offset 5m))",
            expect![[r#"
                -sum without (instance, pod) (
                  max_over_time((avg by (job) (some_metric_with_a_long_name{cluster="one"}))[30m:1m] offset 5m)
                )"#]],
        );
    }

    fn tree_of(query: &str) -> String {
        tree(&promql::parse(query).unwrap()).to_string()
    }

    #[test]
    fn trees_have_the_shape_of_prometheus() {
        expect![[r#"{"expr":{"anchored":false,"matchers":[{"name":"a","type":"=~","value":"b"},{"name":"__name__","type":"=","value":"foo"}],"name":"foo","offset":300000,"offsetExpr":null,"smoothed":false,"startOrEnd":"start","timestamp":null,"type":"vectorSelector"},"op":"-","type":"unaryExpr"}"#]].assert_eq(&tree_of("-foo{a=~\"b\"} @ start() offset 5m"));
        expect![[r#"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":{"card":"many-to-one","fillValues":{"lhs":null,"rhs":null},"include":["y"],"labels":["x"],"on":true},"op":"/","rhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#]].assert_eq(&tree_of("a / on (x) group_left (y) b"));
        expect![[r#"{"bool":true,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":null,"op":">","rhs":{"type":"numberLiteral","val":"1000000000"},"type":"binaryExpr"}"#]].assert_eq(&tree_of("a > bool 1e9"));
        expect![[r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"y"}],"name":"y","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"grouping":["x"],"op":"topk","param":{"type":"numberLiteral","val":"3"},"type":"aggregation","without":false}"#]].assert_eq(&tree_of("topk by (x) (3, y)"));
        expect![[r#"{"args":[{"expr":{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"x"}],"name":"x","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"parenExpr"},"offset":0,"offsetExpr":null,"range":300000,"rangeExpr":null,"startOrEnd":null,"step":30000,"stepExpr":null,"timestamp":1500,"type":"subquery"}],"func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},"type":"call"}"#]].assert_eq(&tree_of("rate((x)[5m:30s] @ 1.5)"));
        expect![[r#"{"bool":false,"lhs":{"args":[],"func":{"argTypes":[],"name":"time","returnType":"scalar","variadic":0},"type":"call"},"matching":null,"op":"+","rhs":{"type":"numberLiteral","val":"+Inf"},"type":"binaryExpr"}"#]].assert_eq(&tree_of("time() + +Inf"));
    }

    #[test]
    fn computed_lengths_are_trees_of_their_own() {
        let expr = promql::parse::parse_with(
            "foo[(5m + step()) * 2] offset -(3)",
            &promql::parse::ParseOptions::ALL,
        );
        expect![[r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"foo"}],"name":"foo","offset":0,"offsetExpr":{"lhs":null,"op":"-","rhs":{"lhs":null,"op":"+","rhs":{"duration":false,"type":"numberLiteral","val":"3"},"type":"durationExpr","wrapped":true},"type":"durationExpr","wrapped":false},"range":0,"rangeExpr":{"lhs":{"lhs":{"duration":true,"type":"numberLiteral","val":"300"},"op":"+","rhs":{"lhs":null,"op":"step","rhs":null,"type":"durationExpr","wrapped":false},"type":"durationExpr","wrapped":true},"op":"*","rhs":{"duration":false,"type":"numberLiteral","val":"2"},"type":"durationExpr","wrapped":false},"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}"#]].assert_eq(&tree(&expr.unwrap()).to_string());
    }
}
