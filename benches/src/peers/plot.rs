//! Bars, one picture a measure.

use std::path::Path;

use plotters::prelude::*;

use super::contest::OURS;
use super::figures::Metric;
use super::measure::Measure;
use super::{Broken, Shown, Table};

/// Of a bar and the gap above it, in points.
const ROW: u32 = 34;
const BAR: i32 = 22;
const WIDTH: u32 = 900;
/// Room for names, and for figures behind the bars.
const NAMES: u32 = 210;
const FIGURES: u32 = 190;
/// How many times the smallest value the largest must be for a logarithmic scale.
const FAR: f64 = 100.0;

/// Draws each measure that has figures into `folder`; returns the files' names.
pub(super) fn all(table: &Table, folder: &Path) -> Result<Vec<String>, Broken> {
    let mut files = Vec::new();
    for (measure, row) in &table.rows {
        for metric in measure.plotted() {
            let bars: Vec<Bar<'_>> = row.iter().filter_map(|(name, shown)| bar(name, shown, *metric)).collect();
            if bars.len() < 2 {
                continue;
            }
            let file = file(*measure, *metric);
            draw(&folder.join(&file), *measure, *metric, &bars)
                .map_err(|error| Broken::new(format!("can't draw {file}: {error}")))?;
            files.push(file);
        }
    }
    Ok(files)
}

/// The picture of a measure's figure.
pub(super) fn file(measure: Measure, metric: Metric) -> String {
    let which = if metric == measure.plotted()[0] {
        String::new()
    } else {
        format!("-{}", metric.head().split(',').next().unwrap_or_default())
    };
    format!("{}{which}.svg", measure.key())
}

/// How values become lengths.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Linear { most: f64 },
    Logarithmic { from: f64, most: f64 },
}

impl Scale {
    /// A logarithmic one where the smallest would be a point of the largest.
    fn of(least: f64, most: f64) -> Self {
        if least > 0.0 && most / least > FAR {
            Self::Logarithmic { from: least / 2.0, most }
        } else {
            Self::Linear { most }
        }
    }

    /// Where lines help the eye, and what they are of: no length tells how many times one value is another, where it is a logarithm.
    fn lines(self) -> Vec<(f64, String)> {
        let Self::Logarithmic { from, most } = self else { return Vec::new() };
        let decades = (-6..=6).map(|power| 10_f64.powi(power)).filter(|value| (from..=most).contains(value));
        decades.map(|value| (value, value.to_string())).collect()
    }

    /// Of the full length.
    fn share(self, value: f64) -> f64 {
        match self {
            Self::Linear { most } => value / most,
            Self::Logarithmic { from, most } => ((value / from).ln() / (most / from).ln()).max(0.0),
        }
    }
}

struct Bar<'a> {
    name: &'a str,
    median: f64,
    range: (f64, f64),
    label: String,
}

fn bar<'a>(name: &'a str, shown: &Shown, metric: Metric) -> Option<Bar<'a>> {
    let samples = shown.samples.get(&metric)?;
    Some(Bar { name, median: samples.median()?, range: samples.range()?, label: samples.show(metric) })
}

#[expect(clippy::cast_possible_truncation, reason = "points on a picture")]
fn draw(file: &Path, measure: Measure, metric: Metric, bars: &[Bar<'_>]) -> Result<(), Box<dyn std::error::Error>> {
    let rows = u32::try_from(bars.len())?;
    let area = SVGBackend::new(file, (WIDTH, ROW * (rows + 2))).into_drawing_area();
    area.fill(&WHITE)?; // or black text would stand on a dark page
    let text = |size: u32| ("sans-serif", size).into_font().color(&BLACK);
    let most = bars.iter().map(|bar| bar.range.1).fold(f64::MIN_POSITIVE, f64::max);
    let least = bars.iter().map(|bar| bar.range.0).fold(most, f64::min);
    let scale = if metric.is_rate() { Scale::Linear { most } } else { Scale::of(least, most) };
    let told = if matches!(scale, Scale::Logarithmic { .. }) { ", logarithmic scale" } else { "" };
    area.draw(&Text::new(format!("{measure}: {}{told}", metric.head()), (12, 12), text(18)))?;
    let points = f64::from(WIDTH - NAMES - FIGURES);
    let left = i32::try_from(NAMES)?;
    let at = |value: f64| left + (scale.share(value) * points).round() as i32;
    for (value, label) in scale.lines() {
        let grey = RGBColor(200, 200, 200);
        area.draw(&PathElement::new(vec![(at(value), 44), (at(value), i32::try_from(ROW * (rows + 2))? - 10)], grey))?;
        area.draw(&Text::new(label, (at(value) + 3, 32), text(12)))?;
    }
    for (index, bar) in (1..).zip(bars) {
        let bottom = index * i32::try_from(ROW)? + i32::try_from(ROW)?;
        let top = bottom - BAR;
        let middle = i32::midpoint(top, bottom);
        let color = if bar.name.starts_with(OURS) { RGBColor(214, 120, 24) } else { RGBColor(120, 144, 168) };
        area.draw(&Rectangle::new([(left, top), (at(bar.median), bottom)], color.filled()))?;
        area.draw(&PathElement::new(vec![(at(bar.range.0), middle), (at(bar.range.1), middle)], BLACK))?;
        area.draw(&Text::new(bar.name.to_owned(), (12, top + 4), text(15)))?;
        area.draw(&Text::new(bar.label.clone(), (at(bar.range.1) + 8, top + 4), text(15)))?;
    }
    Ok(area.present()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_apart_is_drawn_by_its_logarithm() {
        let linear = Scale::of(1.0, 50.0);
        assert!((linear.share(25.0) - 0.5).abs() < 1e-9 && linear.share(0.0) == 0.0, "{linear:?}");
        let logarithmic = Scale::of(1.0, 200.0);
        assert!((logarithmic.share(10.0) - 0.5).abs() < 1e-9, "{logarithmic:?}");
        assert!((logarithmic.share(200.0) - 1.0).abs() < 1e-9 && logarithmic.share(1.0) > 0.1, "{logarithmic:?}");
        assert_eq!(logarithmic.lines(), [(1.0, "1".to_owned()), (10.0, "10".to_owned()), (100.0, "100".to_owned())]);
        assert!(matches!(Scale::of(0.0, 200.0), Scale::Linear { .. }), "nothing has no logarithm");
    }
}
