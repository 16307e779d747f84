//! What every drawn figure must satisfy, on the gallery and on hostile numbers.

#[path = "../examples/gallery.rs"]
#[allow(dead_code)]
mod gallery;

use gainstage_report::{Axis, ColourMap, Document, Figure, Mark, Panel, Point};

/// An element: name, attributes, and its text.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    /// Offset by the groups around it.
    shift: (f64, f64),
}

impl Element {
    fn get(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn number(&self, key: &str) -> f64 {
        let value = self.get(key).unwrap_or_else(|| panic!("<{}> has no {key}", self.name));
        value.parse().unwrap_or_else(|_| panic!("{key}={value:?} is no number"))
    }
}

/// Reads XML as far as SVG needs it, and refuses what is not well-formed.
fn parse(svg: &str) -> Result<Vec<Element>, String> {
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<(String, usize, (f64, f64))> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let text = entities(&rest[..start])?;
        if let Some((_, index, _)) = open.last() {
            elements[*index].text += &text;
        } else if !text.trim().is_empty() {
            return Err(format!("{text:?} outside the root"));
        }
        let end = rest.find('>').ok_or("a tag without end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            match open.pop() {
                Some((expected, ..)) if expected == name => continue,
                other => return Err(format!("</{name}> closes {other:?}")),
            }
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut after) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes: Vec<(String, String)> = Vec::new();
        while !after.trim().is_empty() {
            let (key, next) =
                after.split_once("=\"").ok_or_else(|| format!("{after:?} in <{name}>"))?;
            let (value, next) = next.split_once('"').ok_or("an open quote")?;
            let key = key.trim();
            if attributes.iter().any(|(known, _)| known == key)
                || key.contains(' ')
                || value.contains('<')
            {
                return Err(format!("{key:?} twice or broken in <{name}>"));
            }
            attributes.push((key.to_owned(), entities(value)?));
            after = next;
        }
        let mut shift = open.last().map_or((0.0, 0.0), |o| o.2);
        let element = Element { name: name.to_owned(), attributes, text: String::new(), shift };
        if let Some(by) = element.get("transform").and_then(|t| t.strip_prefix("translate(")) {
            let by: Vec<f64> =
                by.trim_end_matches(')').split(' ').map(|v| v.parse().expect("a number")).collect();
            shift = (shift.0 + by[0], shift.1 + by[1]);
        }
        if open.is_empty() && !elements.is_empty() {
            return Err("a second root".to_owned());
        }
        elements.push(element);
        if !empty {
            open.push((name.to_owned(), elements.len() - 1, shift));
        }
    }
    if open.is_empty() { Ok(elements) } else { Err(format!("{} left open", open.len())) }
}

fn entities(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut parts = text.split('&');
    out += parts.next().unwrap_or_default();
    for part in parts {
        let (name, rest) =
            part.split_once(';').ok_or_else(|| format!("a bare & before {part:?}"))?;
        out += match name {
            "lt" => "<",
            "gt" => ">",
            "amp" => "&",
            "quot" => "\"",
            "apos" => "'",
            _ => return Err(format!("&{name};")),
        };
        out += rest;
    }
    if out.chars().any(|c| c.is_control() && c != '\n') {
        Err("a control character".into())
    } else {
        Ok(out)
    }
}

/// Left, top, right, bottom of a text, by a share of its size for every letter, less for narrow ones.
fn extent(text: &Element, letter: f64) -> [f64; 4] {
    let size = text.number("font-size");
    let share = |c: char| if "fijlrt.,:;'()|/ ".contains(c) { 0.67 * letter } else { letter };
    let width = text.text.chars().map(share).sum::<f64>() * size;
    let (x, y) = (text.number("x") + text.shift.0, text.number("y") + text.shift.1);
    let before = match text.get("text-anchor") {
        Some("end") => width,
        Some("middle") => width / 2.0,
        _ => 0.0,
    };
    if text.get("transform").is_some_and(|t| t.starts_with("rotate(270")) {
        // Turned to read upwards: what was to the right is above.
        [x - 0.75 * size, y - (width - before), x + 0.2 * size, y + before]
    } else {
        [x - before, y - 0.75 * size, x - before + width, y + 0.2 * size]
    }
}

fn canvas(elements: &[Element]) -> [f64; 4] {
    let view: Vec<f64> = elements[0]
        .get("viewBox")
        .expect("a view")
        .split(' ')
        .map(|v| v.parse().expect("a number"))
        .collect();
    [view[0], view[1], view[0] + view[2], view[1] + view[3]]
}

/// Texts that leave the canvas.
fn outside(elements: &[Element]) -> Vec<String> {
    // 0.63 em is DejaVu Sans's, the widest face that systems choose.
    let c = canvas(elements);
    let leaves = |e: &&Element| {
        let b = extent(e, 0.63);
        b[0] < c[0] || b[1] < c[1] || b[2] > c[2] || b[3] > c[3]
    };
    elements.iter().filter(|e| e.name == "text").filter(leaves).map(|e| e.text.clone()).collect()
}

/// Pairs of texts that lie on each other.
fn overlaps(elements: &[Element]) -> Vec<(String, String)> {
    let texts: Vec<&Element> = elements.iter().filter(|e| e.name == "text").collect();
    let mut found = Vec::new();
    for (i, a) in texts.iter().enumerate() {
        for b in &texts[..i] {
            let (p, q) = (extent(a, 0.52), extent(b, 0.52));
            if p[0] < q[2] && q[0] < p[2] && p[1] < q[3] && q[1] < p[3] {
                found.push((b.text.clone(), a.text.clone()));
            }
        }
    }
    found
}

/// Every coordinate is a number near the canvas.
fn strays(elements: &[Element]) -> Vec<String> {
    let c = canvas(elements);
    let near = |x: f64, y: f64| {
        x >= c[0] - 40.0 && x <= c[2] + 40.0 && y >= c[1] - 40.0 && y <= c[3] + 40.0
    };
    let stray = |e: &&Element| {
        let spots: Vec<(f64, f64)> = match e.name.as_str() {
            "polyline" | "polygon" => e
                .get("points")
                .expect("points")
                .split(' ')
                .map(|p| p.split_once(',').expect("a pair"))
                .map(|(x, y)| (x.parse().expect("a number"), y.parse().expect("a number")))
                .collect(),
            "circle" => vec![(e.number("cx"), e.number("cy"))],
            "rect" if e.get("width") != Some("100%") => vec![
                (e.number("x"), e.number("y")),
                (e.number("x") + e.number("width"), e.number("y") + e.number("height")),
            ],
            _ => Vec::new(),
        };
        !spots.iter().all(|s| near(s.0 + e.shift.0, s.1 + e.shift.1))
    };
    elements.iter().filter(stray).map(|e| format!("<{} {:?}>", e.name, e.attributes)).collect()
}

#[test]
fn the_gallery_is_well_formed_and_no_text_is_clipped_or_covered() {
    let document = gallery::gallery();
    let figures = document.figures();
    assert!(figures.len() >= 7);
    for figure in figures {
        let svg = figure.to_svg();
        let elements = parse(&svg).unwrap_or_else(|error| panic!("{}: {error}", figure.id));
        assert!(
            elements.iter().filter(|e| e.name == "text").count() > 10,
            "{} has labels",
            figure.id
        );
        assert_eq!(outside(&elements), Vec::<String>::new(), "{}", figure.id);
        assert_eq!(overlaps(&elements), Vec::<(String, String)>::new(), "{}", figure.id);
        assert_eq!(strays(&elements), Vec::<String>::new(), "{}", figure.id);
        assert_eq!(svg, figure.to_svg(), "the same figure gives the same bytes");
        assert!(
            elements.iter().any(|e| e.name == "desc" && !e.text.is_empty()),
            "{} is described",
            figure.id
        );
    }
}

#[test]
fn the_checks_of_this_file_can_fail() {
    for broken in [
        "<a>",
        "<a></b>",
        "<a b=\"1\" b=\"2\"/>",
        "<a>&nbsp;</a>",
        "<a/><b/>",
        "<a b=c/>",
        "<a>&</a>",
    ] {
        assert!(parse(broken).is_err(), "{broken}");
    }
    let text = |x: i32| format!("<text x=\"{x}\" y=\"50\" font-size=\"10\">label</text>");
    let svg = |a, b| {
        parse(&format!("<svg viewBox=\"0 0 100 100\">{}{}</svg>", text(a), text(b)))
            .expect("well-formed")
    };
    assert!(outside(&svg(5, 60)).is_empty() && overlaps(&svg(5, 60)).is_empty());
    assert_eq!(outside(&svg(5, 90)), ["label"]);
    assert_eq!(overlaps(&svg(5, 10)).len(), 1);
    let far = parse("<svg viewBox=\"0 0 9 9\"><polyline points=\"0,0 900,0\"/></svg>")
        .expect("well-formed");
    assert_eq!(strays(&far).len(), 1);
}

/// Numbers of points of the lines of a class.
fn vertices(svg: &str, class: &str) -> Vec<usize> {
    let elements = parse(svg).expect("well-formed");
    let lines = elements.iter().filter(|e| e.name == "polyline" && e.get("class") == Some(class));
    // Lines of data are two pixels wide, which is eight units.
    let data = lines.filter(|e| e.get("stroke-width") == Some("8"));
    data.map(|e| e.get("points").expect("points").split(' ').count()).collect()
}

#[test]
fn what_has_no_place_is_said_and_never_drawn() {
    let values = [1.0, 0.1, 0.0, f64::NAN, 0.5, 0.2, f64::INFINITY, f64::INFINITY, -1.0, 3.0, 4.0];
    let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(i, &v)| (i as f64, v)).collect();
    let figure =
        |y: Axis| {
            Figure::new("a", "", "").panel(
                Panel::new("", Axis::linear("layer"), y).mark(Mark::line("q", 1, points.clone())),
            )
        };
    let log = figure(Axis::log10("q")).to_svg();
    assert_eq!(vertices(&log, "s-blue"), [2, 2, 2]);
    for said in [
        "q: 0 at layer 2",
        "q: not a number at layer 3",
        "q: ∞ from layer 6 to 7",
        "q: negative at layer 8",
    ] {
        assert!(log.contains(said), "{said}");
    }
    let linear = figure(Axis::linear("q")).to_svg();
    assert_eq!(vertices(&linear, "s-blue"), [3, 2, 3]);
    assert!(linear.contains("q: ∞ from layer 6 to 7") && !linear.contains("q: 0 at"));
    let ranged = figure(Axis::linear("q").over(0.0, 2.0)).to_svg();
    assert!(
        ranged.contains("q: above the axis from layer 9")
            && ranged.contains("q: below the axis at layer 8")
    );
    let whole: Vec<(f64, f64)> = vec![(0.0, 1.0), (1.0, 2.0)];
    let whole = Figure::new("a", "", "").panel(
        Panel::new("", Axis::linear("layer"), Axis::log10("q")).mark(Mark::line("q", 1, whole)),
    );
    let whole = whole.to_svg();
    assert!(
        !whole.contains("q: ") && whole.contains(">q</text>"),
        "a whole line has a label and no note"
    );
}

#[test]
fn hostile_numbers_break_nothing() {
    let nasty = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        1.0,
        -3.5,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1e-310,
        7e150,
    ];
    let mut state = 1_u64;
    let mut pick = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        nasty[(state >> 33) as usize % nasty.len()]
    };
    for round in 0..400 {
        let mut points = |n: usize| -> Vec<Point> {
            (0..n).map(|_| Point::with_interval(pick(), pick(), pick(), pick())).collect()
        };
        let n = round % 7;
        let names = || {
            ["a <&> \"b\" '\u{1}", "", "😀 a very long name of a category that never ends"]
                .map(String::from)
                .to_vec()
        };
        let axes =
            [Axis::linear("x"), Axis::log10("x, of <y> & \"z\""), Axis::categories("c", names())];
        let (x, y) = (axes[round % 3].clone(), axes[round / 3 % 3].clone());
        let (x, y) =
            if round % 5 == 0 { (x.over(f64::NAN, 1.0), y.over(1.0, 1.0)) } else { (x, y) };
        let mut panel = Panel::new("**t** <&>", x, y)
            .mark(Mark::Thin { colour: 3, lines: vec![points(n), points(3)] })
            .mark(Mark::Band { name: "band".into(), colour: 1, points: points(n) })
            .mark(Mark::points("points", 2, points(n)))
            .mark(Mark::line("line <&>", 4, points(n).iter().map(|p| (p.x, p.y)).collect()))
            .mark(Mark::dashed("", usize::MAX, points(n).iter().map(|p| (p.x, p.y)).collect()));
        let values: Vec<f64> = points(12).iter().map(|p| p.y).collect();
        panel = panel
            .mark(Mark::Level { y: values[0], label: "level".into() })
            .mark(Mark::Vertical { x: values[1], label: "vertical".into() })
            .mark(Mark::Text { x: values[2], y: values[3], text: "words".into() })
            .mark(Mark::Histogram {
                name: "bars".into(),
                colour: 5,
                edges: values[..n].to_vec(),
                heights: values[n..].to_vec(),
            });
        if round % 2 == 0 {
            let map = if round % 4 == 0 {
                ColourMap::Sequential
            } else {
                ColourMap::Diverging { centre: values[4] }
            };
            panel = panel.mark(Mark::HeatMap {
                xs: values[..3].to_vec(),
                ys: values[3..3 + n % 4].to_vec(),
                values: values.clone(),
                map,
            });
        }
        let svg = Figure::new("f\"<&", "t", "c").panel(panel).to_svg();
        let elements = parse(&svg).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(strays(&elements), Vec::<String>::new(), "round {round}");
    }
}

#[test]
fn figures_without_marks_or_panels_are_drawn() {
    for figure in [
        Figure::new("none", "", ""),
        Figure::new("empty", "", "").panel(Panel::new("", Axis::linear("x"), Axis::log10("y"))),
        Figure::new("names", "", "").panel(Panel::new(
            "",
            Axis::categories("x", vec![]),
            Axis::categories("y", vec![]),
        )),
    ] {
        let elements = parse(&figure.to_svg()).expect("well-formed");
        assert_eq!(strays(&elements), Vec::<String>::new());
    }
}

#[test]
fn the_gallery_is_stored_and_drawn_again_to_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let document = gallery::gallery();
    document.write_bundle(dir.path()).expect("writes");
    let files = |folder: &std::path::Path| -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for part in ["", "figures", "data"] {
            for entry in std::fs::read_dir(folder.join(part)).expect("lists") {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    let name = path.strip_prefix(folder).expect("inside").display().to_string();
                    found.push((name, std::fs::read(&path).expect("reads")));
                }
            }
        }
        found.sort();
        found
    };
    let again = tempfile::tempdir().expect("a temporary folder");
    Document::read(dir.path()).expect("reads").write_bundle(again.path()).expect("writes");
    let (first, second) = (files(dir.path()), files(again.path()));
    assert!(first.len() > 15);
    for (a, b) in first.iter().zip(&second) {
        assert!(a == b, "{} differs", a.0);
    }
    assert_eq!(first.len(), second.len());
}
