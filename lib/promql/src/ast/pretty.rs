//! Tree to text over several lines, as Prometheus' `/api/v1/format_query` breaks them (promql/parser/prettier.go): what
//! fits into a line of 100 bytes stays on one, everything else is split at its operands and indented by two spaces.

use super::print::{Sign, head, tail};
use super::{Binary, Expr};

const LINE: usize = 100;

/// A query over several lines, which parses back to the same tree.
#[must_use]
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    write(&mut out, expr, 0);
    out
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

fn write(out: &mut String, expr: &Expr, level: usize) {
    let line = expr.to_string();
    if let Expr::Unary(unary) = expr {
        indent(out, level);
        out.push(if unary.negative { '-' } else { '+' });
        let mut inner = String::new();
        write(&mut inner, &unary.expr, level);
        out.push_str(inner.trim());
        return;
    }
    if line.len() <= LINE {
        // Upstream does not indent a subquery.
        if !matches!(expr, Expr::Subquery(_)) {
            indent(out, level);
        }
        out.push_str(&line);
        return;
    }
    match expr {
        Expr::Subquery(subquery) => {
            write(out, &subquery.expr, level);
            out.push_str(&tail(subquery));
        }
        Expr::Binary(binary) => split_binary(out, binary, level),
        Expr::Paren(paren) => block(out, level, "", std::slice::from_ref(&paren.expr)),
        Expr::Call(call) => block(out, level, call.function.name, &call.arguments),
        Expr::Aggregate(aggregate) => {
            indent(out, level);
            out.push_str(&head(aggregate));
            out.push_str("(\n");
            if let Some(parameter) = &aggregate.parameter {
                write(out, parameter, level + 1);
                out.push_str(",\n");
            }
            write(out, &aggregate.expr, level + 1);
            close(out, level);
        }
        Expr::Number(_)
        | Expr::String(_)
        | Expr::Selector(_)
        | Expr::Matrix(_)
        | Expr::Unary(_) => {
            indent(out, level);
            out.push_str(&line);
        }
    }
}

fn split_binary(out: &mut String, binary: &Binary, level: usize) {
    let left = binary.left();
    if left.differs() {
        indent(out, level + 1);
        out.push_str(&left.to_string());
    } else {
        write(out, &binary.left, level + 1);
    }
    out.push('\n');
    indent(out, level);
    out.push_str(Sign(binary).to_string().trim_start());
    out.push('\n');
    write(out, &binary.right, level + 1);
}

fn block(out: &mut String, level: usize, name: &str, inside: &[Expr]) {
    indent(out, level);
    out.push_str(name);
    out.push_str("(\n");
    for (at, expr) in inside.iter().enumerate() {
        if at > 0 {
            out.push_str(",\n");
        }
        write(out, expr, level + 1);
    }
    close(out, level);
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::pretty;

    #[track_caller]
    fn check(query: &str, want: &Expect) {
        let expr = crate::parse(query).unwrap();
        let text = pretty(&expr);
        want.assert_eq(&text);
        assert_eq!(crate::parse(&text).unwrap().to_string(), expr.to_string());
    }

    #[test]
    fn what_fits_stays_on_a_line_and_the_rest_is_split_at_its_operands() {
        check("sum(rate(a[5m]))", &expect!["sum(rate(a[5m]))"]);
        check(
            "histogram_quantile(0.9, sum by (le, job) (rate(http_request_duration_seconds_bucket{job=\"api\",code=~\"5..\"}[5m])))",
            &expect![[r#"
                histogram_quantile(
                  0.9,
                  sum by (le, job) (rate(http_request_duration_seconds_bucket{code=~"5..",job="api"}[5m]))
                )"#]],
        );
        check(
            "sum without (instance) (http_requests_total{job=\"api\",code=~\"5..\"}) / ignoring (code) group_left (version) -topk(5, http_requests_total{job=\"api\",handler=\"/a\",code=\"500\",method=\"GET\",zone=\"a\",instance=\"10.0.0.1:9090\"})",
            &expect![[r#"
                  sum without (instance) (http_requests_total{code=~"5..",job="api"})
                / ignoring (code) group_left (version)
                  -topk(
                    5,
                    http_requests_total{code="500",handler="/a",instance="10.0.0.1:9090",job="api",method="GET",zone="a"}
                  )"#]],
        );
    }
}
