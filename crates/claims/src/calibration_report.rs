//! The calibration page: rates with intervals, power against the size of the error.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Section, Table, Tone};

use crate::calibration::{Calibrated, Calibration, ERRORS, RATE};
use crate::figures::{percent, significant};
use crate::instruments::Kind;

impl Calibrated {
    fn says(&self) -> (&'static str, Tone) {
        match (self.keeps, self.high < self.nominal) {
            (true, false) => ("kept", Tone::Good),
            (true, true) => ("stays below", Tone::Good),
            (false, _) => ("exceeded", Tone::Bad),
        }
    }
}

/// The section of the report.
pub fn calibration_section(calibration: &Calibration) -> Section {
    let all = &calibration.instruments;
    let runs = all.first().map_or(0, |c| c.runs);
    let mut section = Section::new("calibration", "Are the tests themselves right?");
    let exceeding: Vec<&str> = all.iter().filter(|c| !c.keeps).map(|c| c.instrument).collect();
    section.paragraph(format!(
        "Every verdict rests on tests, and a test can be wrong. Here each kind of test, interval and finding met {runs} samples for which \
         the truth is known, at a rate of {}. {} The intervals hold together at 99%. The ledger's own rate, a hundred times smaller and more, \
         cannot be seen in so few runs: it rests on the same formulas. All of this took {} s.",
        percent(RATE),
        if exceeding.is_empty() {
            "None is shown to be wrong more often than that.".to_owned()
        } else {
            format!("Shown to be wrong more often than that: {}.", exceeding.join(", "))
        },
        significant(calibration.seconds)
    ));
    section.figure(rates(all, runs));
    section.figure(power(calibration));
    section.table(table(all));
    section
}

const PANELS: [(Kind, &str); 3] = [
    (Kind::Test, "tests: rejections of what is true"),
    (Kind::Interval, "95% intervals: misses"),
    (Kind::Finding, "findings of the ledger: wrong conclusions"),
];

fn of(all: &[Calibrated], kind: Kind) -> Vec<&Calibrated> {
    all.iter().filter(|c| c.kind == kind).collect()
}

fn rates(all: &[Calibrated], runs: usize) -> Figure {
    let (least, most) =
        all.iter().fold((1.0f64, 0.0f64), |(l, h), c| (l.min(c.rate), h.max(c.rate)));
    let text = format!(
        "Dots: share of {runs} runs with a false alarm, with simultaneous 99% intervals. Line: the promised {}. Observed rates lie between \
         {} and {}. Exact tests of counts (signs, \
         Clopper-Pearson, Kolmogorov-Smirnov of two samples) tend to stay below, since they cannot meet it exactly.",
        percent(RATE),
        percent(least),
        percent(most)
    );
    let mut figure = Figure::new("calibration-rates", "How often the instruments are wrong", text);
    for (kind, title) in PANELS {
        let members = of(all, kind);
        let names = members.iter().map(|c| c.instrument.to_owned()).collect();
        let mut panel = Panel::new(
            title,
            Axis::linear("share of runs with a false alarm").over(0.0, 0.1),
            Axis::categories("", names),
        );
        panel.marks.push(Mark::Vertical { x: RATE, label: String::new() });
        let dots = members.iter().enumerate().map(|(i, c)| Point {
            x: c.rate,
            y: i as f64,
            low: c.low,
            high: c.high,
        });
        panel.marks.push(Mark::points("", 1, dots.collect()));
        figure.panels.push(panel);
    }
    figure
}

fn power(calibration: &Calibration) -> Figure {
    let last = ERRORS[ERRORS.len() - 1];
    let text = format!(
        "Share of {} runs that see an error, against its size; at 0 the false alarms. Left: tests, sizes in standard errors of the estimate. \
         Right: findings, distances from the edge of the margin in standard errors. At {} standard errors {}.",
        calibration.power_runs,
        significant(last),
        calibration
            .instruments
            .iter()
            .filter_map(|c| c.power.last().map(|p| format!(
                "{} sees {}",
                c.instrument,
                percent(p.1)
            )))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let mut figure =
        Figure::new("calibration-power", "How large an error the instruments see", text);
    for (kind, title) in [PANELS[0], PANELS[2]] {
        let title = title.split(':').next().unwrap_or(title);
        let mut panel = Panel::new(
            title,
            Axis::linear("size of the error, standard errors"),
            Axis::linear("share of runs that see it").over(0.0, 1.0),
        );
        for (index, c) in of(&calibration.instruments, kind).into_iter().enumerate() {
            let points = std::iter::once((0.0, c.rate)).chain(c.power.iter().copied()).collect();
            panel.marks.push(Mark::line(c.instrument, index + 1, points));
        }
        figure.panels.push(panel);
    }
    figure
}

fn table(all: &[Calibrated]) -> Table {
    let mut columns = vec![
        "instrument",
        "what is true; the alarm",
        "promised",
        "observed",
        "low",
        "high",
        "rate",
    ];
    let names: Vec<String> = ERRORS.iter().map(|e| format!("sees {e}")).collect();
    columns.extend(names.iter().map(String::as_str));
    let mut table = Table::new(
        "calibration",
        "False alarms with their interval, and the share of runs that see errors of 1, 2, ... standard errors",
        &columns,
    );
    for c in all {
        let (says, tone) = c.says();
        let mut row = vec![
            Cell::text(c.instrument),
            Cell::text(c.null),
            Cell::number(c.nominal),
            Cell::number(c.rate),
            Cell::number(c.low),
            Cell::number(c.high),
            Cell::badge(says, tone),
        ];
        row.extend(
            ERRORS
                .iter()
                .enumerate()
                .map(|(i, _)| c.power.get(i).map_or_else(|| Cell::text(""), |p| Cell::number(p.1))),
        );
        table.push(row);
    }
    table
}
