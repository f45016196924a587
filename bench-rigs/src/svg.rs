//! The plot: one group of bars per cost, each bar a ratio to haproxy, written as plain SVG.

use crate::Fallible;
use crate::balancer::BASELINE;
use crate::results::Results;
use crate::stats::{Summary, paired_ratios};
use crate::table::CONTESTANTS;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

pub(crate) fn plot_file(results: &Path, out: Option<&Path>) -> Fallible<()> {
    let out = out.map_or_else(|| results.with_extension("svg"), Path::to_owned);
    fs::write(&out, render(&Results::read(results)?))
        .map_err(|error| format!("{}: {error}", out.display()))?;
    println!("wrote {}", out.display());
    Ok(())
}

/// Pixels.
const LABELS_WIDTH: f64 = 300.0;
const BARS_WIDTH: f64 = 560.0;
const BAR_HEIGHT: f64 = 12.0;
const GROUP_GAP: f64 = 10.0;
const TOP: f64 = 70.0;
/// Ratios beyond are cut and written in figures.
const RATIO_MAX: f64 = 2.0;
/// Of all contestants but the baseline, in their order.
const COLOURS: [&str; 3] = ["#9aa5b1", "#2563eb", "#93c5fd"];

/// Bars are medians, the thin line over each its quartiles; the dashed line is haproxy.
pub(crate) fn render(results: &Results) -> String {
    let names = results.present(&CONTESTANTS[1..]);
    let rows: Vec<_> = results
        .rows()
        .into_iter()
        .filter(|(_, metric)| metric.is_cost())
        .collect();
    let group = BAR_HEIGHT * names.len() as f64 + GROUP_GAP;
    let bottom = TOP + group * rows.len() as f64;
    let mut svg = open(bottom + 30.0);
    legend(&mut svg, &names);
    for (place, &row) in rows.iter().enumerate() {
        let top = TOP + group * place as f64;
        let label = format!("{} {}", row.0, row.1.key());
        text(
            &mut svg,
            LABELS_WIDTH - 8.0,
            top + (group - GROUP_GAP) / 2.0 + 4.0,
            "end",
            &label,
        );
        let base = results.values(row, BASELINE);
        for (line, name) in names.iter().enumerate() {
            let ratios = paired_ratios(&results.values(row, name), &base);
            if let Some(ratio) = Summary::of(&ratios) {
                bar(
                    &mut svg,
                    top + BAR_HEIGHT * line as f64,
                    &ratio,
                    colour(name),
                );
            }
        }
    }
    scale(&mut svg, bottom);
    svg.push_str("</svg>\n");
    svg
}

fn open(height: f64) -> String {
    let width = LABELS_WIDTH + BARS_WIDTH + 60.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    )
}

fn legend(svg: &mut String, names: &[&str]) {
    text(
        svg,
        8.0,
        18.0,
        "start",
        "Cost as a ratio to haproxy (1.0), less is better",
    );
    for (place, name) in names.iter().enumerate() {
        let x = 8.0 + 140.0 * place as f64;
        rect(svg, x, 30.0, 10.0, 10.0, colour(name));
        text(svg, x + 16.0, 39.0, "start", name);
    }
}

fn bar(svg: &mut String, top: f64, ratio: &Summary, colour: &str) {
    rect(
        svg,
        LABELS_WIDTH,
        top,
        along(ratio.median),
        BAR_HEIGHT - 2.0,
        colour,
    );
    let (left, right) = (
        LABELS_WIDTH + along(ratio.lower_quartile),
        LABELS_WIDTH + along(ratio.upper_quartile),
    );
    rect(
        svg,
        left,
        top + BAR_HEIGHT / 2.0 - 1.5,
        right - left,
        1.0,
        "#111827",
    );
    text(
        svg,
        right.max(LABELS_WIDTH + along(ratio.median)) + 4.0,
        top + BAR_HEIGHT - 3.0,
        "start",
        &format!("{:.2}", ratio.median),
    );
}

fn scale(svg: &mut String, bottom: f64) {
    for tenths in [0_u8, 5, 10, 15, 20] {
        let ratio = f64::from(tenths) / 10.0;
        let x = LABELS_WIDTH + along(ratio);
        let dash = if tenths == 10 { "5 3" } else { "1 5" };
        let _infallible = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#111827\" stroke-dasharray=\"{dash}\"/>",
            TOP - 6.0
        );
        text(svg, x, bottom + 16.0, "middle", &format!("{ratio:.1}"));
    }
}

fn along(ratio: f64) -> f64 {
    ratio.clamp(0.0, RATIO_MAX) / RATIO_MAX * BARS_WIDTH
}

fn colour(name: &str) -> &'static str {
    CONTESTANTS[1..]
        .iter()
        .position(|other| *other == name)
        .map_or("#000000", |place| COLOURS[place])
}

fn rect(svg: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) {
    let _infallible = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _infallible = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_ratio_and_cut_at_the_end_of_the_scale() {
        assert!((along(1.0) - BARS_WIDTH / 2.0).abs() < 1e-9);
        assert!((along(99.0) - BARS_WIDTH).abs() < 1e-9);
    }

    #[test]
    fn only_costs_are_drawn_and_words_are_escaped() {
        let results = Results::parse(
            "0\ta<b\thaproxy\tp99_us\t100\n0\ta<b\tringway\tp99_us\t50\n0\ta<b\tringway\tper_s\t7\n0\ta<b\thaproxy\tper_s\t7\n",
        )
        .expect("well formed");
        let svg = render(&results);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a&lt;b p99_us") && svg.contains(">0.50<"));
        assert!(!svg.contains("per_s"));
    }
}
