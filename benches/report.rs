//! Drawing a two-panel figure with fifty layers and twelve draws.

use criterion::{Criterion, criterion_group, criterion_main};
use gainstage_report::{Axis, Figure, Mark, Panel, Point};

fn drawing(c: &mut Criterion) {
    let line = |factor: f64| -> Vec<Point> {
        (1..=50).map(|l| Point::new(f64::from(l), factor * 0.5f64.powi(l))).collect()
    };
    let panel = |title: &str| {
        let points: Vec<(f64, f64)> = line(1.0).iter().map(|p| (p.x, p.y)).collect();
        Panel::new(title, Axis::linear("layer"), Axis::log10("second moment"))
            .mark(Mark::Thin { colour: 1, lines: (1..=12).map(|i| line(f64::from(i))).collect() })
            .mark(Mark::line("theory", 0, points))
    };
    let figure =
        Figure::new("bench", "Signal", "Numbers").panel(panel("forward")).panel(panel("backward"));
    c.bench_function("report: figure to SVG", |b| b.iter(|| figure.to_svg()));
}

criterion_group!(benches, drawing);
criterion_main!(benches);
