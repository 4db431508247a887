//! The older of the two text formats of metrics, 0.0.4, written from the newer one, OpenMetrics.
//!
//! They differ in little: the older one knows a counter by the name of its samples, `_total` included, and has no last
//! line. Lines are distinguished by how they begin, because a label's value never has a line end.

/// One scrape as format 0.0.4 has it.
pub(crate) fn plain_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    // Held back until the type is known, which follows it.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some((name, words)) = described(line, "# HELP ") {
            help = Some((name, words));
        } else if let Some((name, kind)) = described(line, "# TYPE ") {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.take().filter(|(of, _)| *of == name);
            if let Some((_, words)) = words {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            let kind = if kind == "unknown" { "untyped" } else { kind };
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

fn described<'l>(line: &'l str, start: &str) -> Option<(&'l str, &'l str)> {
    line.strip_prefix(start)?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_known_by_their_samples() {
        let open = "# HELP a_records Records\n# TYPE a_records counter\na_records_total{x=\"# TYPE a\\n\"} 3\n\
            # HELP b_seconds Time\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum 1.0\n\
            # TYPE c unknown\nc 1\n# EOF\n";
        let text = "# HELP a_records_total Records\n# TYPE a_records_total counter\n\
            a_records_total{x=\"# TYPE a\\n\"} 3\n# HELP b_seconds Time\n# TYPE b_seconds histogram\n\
            b_seconds_sum 1.0\n# TYPE c untyped\nc 1\n";
        assert_eq!(plain_text(open), text);
    }
}
