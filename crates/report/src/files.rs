//! Files that appear whole or not at all.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::ReportError;

/// Writes a text so that readers see the old file or the new one, never a part: it is written beside
/// the target and renamed. Missing folders are created.
///
/// # Errors
/// [`ReportError::Io`] with the path; the old file, if any, is untouched and nothing is left beside it.
pub fn write_text(path: &Path, text: &str) -> Result<(), ReportError> {
    write_bytes(path, text.as_bytes())
}

/// Writes bytes as [`write_text`] does a text.
///
/// # Errors
/// As [`write_text`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let failed = |error: std::io::Error| ReportError::io("write", path, &error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    {
        // Temporary files are private by default; a report is for everybody whom the umask allows.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes a value as indented JSON, whole or not at all, as [`write_text`] does.
///
/// Numbers that are not finite become `null`, as in all JSON by serde.
///
/// # Errors
/// [`ReportError::Encode`] if the value has no JSON form, [`ReportError::Io`] as for [`write_text`].
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), ReportError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| ReportError::Encode {
        what: path.display().to_string(),
        reason: error.to_string(),
    })?;
    text.push('\n');
    write_text(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("lists");
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_folders_are_made() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a/b/c.txt");
        write_text(&path, "old, and longer").expect("writes");
        write_text(&path, "new").expect("replaces");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "new");
        assert_eq!(names(&dir.path().join("a/b")), ["c.txt"], "nothing is left beside it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let ordinary = dir.path().join("ordinary");
            std::fs::write(&ordinary, "").expect("writes");
            let mode = |p: &Path| std::fs::metadata(p).expect("is there").permissions().mode();
            assert_eq!(mode(&path), mode(&ordinary), "as readable as any other file");
        }
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("taken");
        std::fs::create_dir(&folder).expect("a folder where the file should go");
        std::fs::write(folder.join("inside"), "kept").expect("writes");
        let error = write_text(&folder, "text").expect_err("a folder is no file");
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(dir.path()), ["taken"], "no temporary file is left");
        let below = folder.join("inside").join("file");
        assert!(matches!(write_text(&below, "text"), Err(ReportError::Io { .. })));
        assert_eq!(std::fs::read_to_string(folder.join("inside")).expect("reads"), "kept");
    }
}
