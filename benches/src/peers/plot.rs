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

/// Draws each measure that has figures into `folder`; returns the files' names.
pub(super) fn all(table: &Table, folder: &Path) -> Result<Vec<String>, Broken> {
    let mut files = Vec::new();
    for (measure, row) in &table.rows {
        let metric = measure.main();
        let bars: Vec<Bar<'_>> = row.iter().filter_map(|(name, shown)| bar(name, shown, metric)).collect();
        if bars.len() < 2 {
            continue;
        }
        let file = file(*measure);
        draw(&folder.join(&file), *measure, metric, &bars)
            .map_err(|error| Broken::new(format!("can't draw {file}: {error}")))?;
        files.push(file);
    }
    Ok(files)
}

/// The picture of a measure.
pub(super) fn file(measure: Measure) -> String {
    format!("{}.svg", measure.key())
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
    area.draw(&Text::new(format!("{measure}: {}", metric.head()), (12, 12), text(18)))?;
    let most = bars.iter().map(|bar| bar.range.1).fold(f64::MIN_POSITIVE, f64::max);
    let scale = f64::from(WIDTH - NAMES - FIGURES) / most;
    let at = |value: f64| i32::try_from(NAMES).unwrap_or_default() + (value * scale).round() as i32;
    for (index, bar) in (1..).zip(bars) {
        let bottom = index * i32::try_from(ROW)? + i32::try_from(ROW)?;
        let top = bottom - BAR;
        let middle = i32::midpoint(top, bottom);
        let color = if bar.name.starts_with(OURS) { RGBColor(214, 120, 24) } else { RGBColor(120, 144, 168) };
        area.draw(&Rectangle::new([(at(0.0), top), (at(bar.median), bottom)], color.filled()))?;
        area.draw(&PathElement::new(vec![(at(bar.range.0), middle), (at(bar.range.1), middle)], BLACK))?;
        area.draw(&Text::new(bar.name.to_owned(), (12, top + 4), text(15)))?;
        area.draw(&Text::new(bar.label.clone(), (at(bar.range.1) + 8, top + 4), text(15)))?;
    }
    Ok(area.present()?)
}
