//! Activations on the command line: by name, by formula, or as points in a file.

use gainstage_spec::Activation;

/// `@FILE` holds a point per line, z and phi(z); everything else is read as in a network file.
pub(crate) fn parse(text: &str) -> Result<Activation, String> {
    let Some(path) = text.strip_prefix('@') else {
        return text.parse().map_err(|error: gainstage_spec::SpecError| error.to_string());
    };
    let content =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut points = Vec::new();
    for (index, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let numbers: Vec<f64> = line
            .split(|c: char| c == ',' || c == ';' || c.is_whitespace())
            .filter(|part| !part.is_empty())
            .filter_map(|part| part.parse().ok())
            .collect();
        match numbers[..] {
            [z, value] => points.push((z, value)),
            // The names of the columns.
            [] if points.is_empty() => {}
            _ => {
                return Err(format!(
                    "{path}, line {}: \"{line}\" is not a point; write z and phi(z), separated by a comma",
                    index + 1
                ));
            }
        }
    }
    Activation::table(points).map_err(|error| format!("{path}: {error}"))
}
