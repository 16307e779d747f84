//! The audit for other programs: JUnit XML and SARIF.

use serde_json::{Value, json};

use crate::record::{Audit, Severity, TensorRecord};

impl Audit {
    /// JUnit XML with one test case for every tensor.
    ///
    /// Findings are failures; warnings and notes stand in the output of their case.
    pub fn to_junit(&self) -> String {
        let skipped = self.skipped.len();
        let remarks: Vec<_> =
            self.remarks.iter().filter(|f| f.severity == Severity::Finding).collect();
        let failures = self.counts.findings + remarks.len();
        let tests = self.tensors.len() + skipped + remarks.len();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        xml += &format!(
            "<testsuites tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\">\n<testsuite name=\"gainstage audit\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">\n"
        );
        for tensor in &self.tensors {
            xml += &case(tensor);
        }
        for remark in remarks {
            xml += &format!(
                "<testcase name=\"checkpoint\" classname=\"audit\"><failure message=\"{}\" type=\"{}\"/></testcase>\n",
                escape(&remark.text),
                remark.kind.word()
            );
        }
        for skipped in &self.skipped {
            xml += &format!(
                "<testcase name=\"{}\" classname=\"skipped\"><skipped message=\"{}\"/></testcase>\n",
                escape(&skipped.name),
                escape(&skipped.reason)
            );
        }
        xml + "</testsuite>\n</testsuites>\n"
    }

    /// SARIF 2.1.0 with one result for every finding and warning.
    pub fn to_sarif(&self) -> Value {
        let mut kinds: Vec<_> = Vec::new();
        let mut results = Vec::new();
        let tensors =
            self.tensors.iter().flat_map(|t| t.findings.iter().map(move |f| (f, Some(t))));
        for (finding, tensor) in tensors.chain(self.remarks.iter().map(|f| (f, None))) {
            let level = match finding.severity {
                Severity::Finding => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            if !kinds.contains(&finding.kind) {
                kinds.push(finding.kind);
            }
            let file = tensor.map_or_else(
                || self.files.first().cloned().unwrap_or_default(),
                |t| t.file.clone(),
            );
            let mut location =
                json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&file) } } });
            if let Some(tensor) = tensor {
                location["logicalLocations"] = json!([{ "name": tensor.name, "kind": "member" }]);
            }
            let name = tensor.map_or("checkpoint", |t| t.name.as_str());
            results.push(json!({
                "ruleId": finding.kind.word().replace(' ', "-"),
                "level": level,
                "message": { "text": format!("{name}: {}", finding.text) },
                "locations": [location],
                "partialFingerprints": { "tensorAndKind/v1": format!("{name}:{}", finding.kind.word()) },
            }));
        }
        let rules: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                json!({ "id": kind.word().replace(' ', "-"), "shortDescription": { "text": kind.word() } })
            })
            .collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "gainstage audit",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                } },
                "results": results,
            }],
        })
    }
}

fn case(tensor: &TensorRecord) -> String {
    let mut xml = format!(
        "<testcase name=\"{}\" classname=\"{}\">",
        escape(&tensor.name),
        escape(&tensor.group)
    );
    for finding in &tensor.findings {
        if finding.severity == Severity::Finding {
            xml += &format!(
                "<failure message=\"{}\" type=\"{}\"/>",
                escape(&finding.text),
                finding.kind.word()
            );
        } else {
            xml += &format!("<system-out>{}</system-out>", escape(&finding.text));
        }
    }
    xml + "</testcase>\n"
}

/// XML 1.0 knows no other control characters than these three.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\t' | '\n' | '\r' => out.push(' '),
            c if (c as u32) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A path as a URI reference (RFC 3986), byte by byte.
fn uri(path: &str) -> String {
    path.replace('\\', "/")
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
