//! The text table: medians, spread, and ratios to haproxy with theirs.

use crate::Fallible;
use crate::balancer::BASELINE;
use crate::results::Results;
use crate::scenario::{Metric, Scenario};
use crate::stats::{Summary, paired_ratios};
use std::fmt::Write as _;
use std::path::Path;

/// In the order of columns.
pub(crate) const CONTESTANTS: [&str; 4] = [BASELINE, "haproxy-tuned", "ringway", "ringway-control"];

pub(crate) fn print_file(path: &Path) -> Fallible<()> {
    print!("{}", render(&Results::read(path)?));
    Ok(())
}

/// Costs first, then what explains them. Cells: median, spread of the middle half in percent of it, median ratio
/// to haproxy within a round with its quartiles.
pub(crate) fn render(results: &Results) -> String {
    let names = results.present(&CONTESTANTS);
    let mut text: String = results
        .head
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let (costs, context): (Vec<_>, Vec<_>) = results
        .rows()
        .into_iter()
        .partition(|(_, metric)| metric.is_cost());
    text.push_str("\nCosts, less is better: median (interquartile range) xratio to haproxy [its quartiles]\n\n");
    text.push_str(&grid(results, &names, &costs));
    text.push_str(&rules(results, &names));
    if !context.is_empty() {
        text.push_str("\nWhat was carried meanwhile; the generator is often the limit, so nothing is judged by it\n\n");
        text.push_str(&grid(results, &names, &context));
    }
    text
}

/// What 1,000 rules cost against one, each contestant beside itself. Nothing where either was not measured.
fn rules(results: &Results, names: &[&str]) -> String {
    let row = |scenario: Scenario| (scenario.name(), Metric::CpuPerMillion);
    let (one, many) = (row(Scenario::HttpRules1), row(Scenario::HttpRules1000));
    let mut line = String::new();
    for name in names {
        let ratios = paired_ratios(&results.values(many, name), &results.values(one, name));
        if let Some(ratio) = Summary::of(&ratios) {
            let _infallible = write!(
                line,
                "  {name} x{:.2} [{:.2}-{:.2}]",
                ratio.median, ratio.lower_quartile, ratio.upper_quartile
            );
        }
    }
    if line.is_empty() {
        return line;
    }
    format!(
        "\n{} as a ratio to {}, each beside itself\n\n{}\n",
        many.0,
        one.0,
        line.trim_start()
    )
}

fn grid(results: &Results, names: &[&str], rows: &[(&str, Metric)]) -> String {
    let mut cells: Vec<Vec<String>> = vec![
        ["scenario", "metric"]
            .iter()
            .chain(names)
            .map(ToString::to_string)
            .collect(),
    ];
    for &row in rows {
        let mut line = vec![row.0.to_owned(), row.1.key().to_owned()];
        line.extend(names.iter().map(|name| cell(results, row, name)));
        cells.push(line);
    }
    aligned(&cells)
}

fn cell(results: &Results, row: (&str, Metric), name: &str) -> String {
    let values = results.values(row, name);
    let plain: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let Some(summary) = Summary::of(&plain) else {
        return "-".to_owned();
    };
    let own = format!(
        "{} ({:.0}%)",
        figure(summary.median),
        summary.spread() * 100.0
    );
    if name == BASELINE {
        return own;
    }
    match Summary::of(&paired_ratios(&values, &results.values(row, BASELINE))) {
        Some(ratio) => {
            let Summary {
                median,
                lower_quartile,
                upper_quartile,
                ..
            } = ratio;
            format!("{own} x{median:.2} [{lower_quartile:.2}-{upper_quartile:.2}]")
        }
        None => own,
    }
}

/// Three significant digits, as far as they carry anything.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Columns as wide as their widest cell, two blanks between them.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(String::len)
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: &str = "# kernel: 6.18\n\
        0\tbulk-down-1\thaproxy\tcpu_s_per_gb\t1.0\n\
        0\tbulk-down-1\thaproxy\tgb_per_s\t0.9\n\
        0\tbulk-down-1\tringway\tcpu_s_per_gb\t0.25\n\
        1\tbulk-down-1\tringway\tcpu_s_per_gb\t0.4\n\
        1\tbulk-down-1\thaproxy\tcpu_s_per_gb\t2.0\n\
        0\tlatency\tringway\tp99_us\t250\n";

    #[test]
    fn the_table_shows_median_spread_and_paired_ratio() {
        let results = Results::parse(RESULTS).expect("well formed");
        let expected = "\
kernel: 6.18

Costs, less is better: median (interquartile range) xratio to haproxy [its quartiles]

scenario     metric        haproxy     ringway
bulk-down-1  cpu_s_per_gb  1.50 (33%)  0.325 (23%) x0.23 [0.21-0.24]
latency      p99_us        -           250 (0%)

What was carried meanwhile; the generator is often the limit, so nothing is judged by it

scenario     metric    haproxy     ringway
bulk-down-1  gb_per_s  0.900 (0%)  -
";
        assert_eq!(render(&results), expected);
    }

    #[test]
    fn many_rules_are_compared_with_one_of_the_same_contestant() {
        let text = "0\thttp-rules-1\tringway\tcpu_s_per_1m\t10\n\
            0\thttp-rules-1000\tringway\tcpu_s_per_1m\t12\n";
        let results = Results::parse(text).expect("well formed");
        assert_eq!(
            rules(&results, &["haproxy", "ringway"]),
            "\nhttp-rules-1000 as a ratio to http-rules-1, each beside itself\n\nringway x1.20 [1.20-1.20]\n"
        );
        assert_eq!(rules(&results, &["haproxy"]), "");
    }

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!(
            [
                figure(1234.5),
                figure(12.345),
                figure(1.2345),
                figure(0.12345)
            ],
            ["1234", "12.3", "1.23", "0.123"]
        );
    }

    #[test]
    fn no_rows_make_no_text() {
        assert_eq!(aligned(&[]), "");
    }
}
