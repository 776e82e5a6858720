//! Why this exists: "register this folder" must mean the files in it and no others. Links that lead out
//! of the folder, links to folders (which may go in circles) and things that are no files are refused
//! with their names; names that could not be written out again safely are refused too.

use std::fs;
use std::path::{Path, PathBuf};

use registry_core::{ArtifactPath, Error, Invalid, Manifest};

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// The path it will have in the version.
    pub path: ArtifactPath,
    /// Where it is.
    pub file: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

/// Lists a file, under its own name, or the files of a folder, under their paths in it, in order.
pub fn scan(path: &Path) -> Result<Vec<ScannedFile>, Error> {
    let found = fs::metadata(path).map_err(|error| refused(path, error.to_string()))?;
    let mut files = Vec::new();
    if found.is_dir() {
        let root = path.canonicalize().map_err(|error| refused(path, error.to_string()))?;
        scan_folder(&root, &root, &mut files)?;
    } else if found.is_file() {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| refused(path, "its name is not Unicode"))?;
        files.push(ScannedFile { path: name.parse()?, file: path.to_owned(), size: found.len() });
    } else {
        return Err(refused(path, "is neither a file nor a folder"));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn scan_folder(root: &Path, folder: &Path, files: &mut Vec<ScannedFile>) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|error| refused(folder, error.to_string()))?;
    for entry in entries {
        let entry = entry.map_err(|error| refused(folder, error.to_string()))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| refused(&path, error.to_string()))?;
        if kind.is_dir() {
            scan_folder(root, &path, files)?;
            continue;
        }
        if kind.is_symlink() {
            let target =
                path.canonicalize().map_err(|error| refused(&path, format!("is a broken link: {error}")))?;
            if !target.starts_with(root) {
                return Err(refused(&path, "is a link that leads out of the folder"));
            }
        }
        let found = fs::metadata(&path).map_err(|error| refused(&path, error.to_string()))?;
        if found.is_dir() {
            return Err(refused(&path, "is a link to a folder; only links to files are followed"));
        }
        if !found.is_file() {
            return Err(refused(&path, "is neither a file nor a folder"));
        }
        if Manifest::FILES_MAX <= files.len() {
            let problem = format!("has more than {} files; pack them into an archive", Manifest::FILES_MAX);
            return Err(refused(root, problem));
        }
        files.push(ScannedFile { path: name_in(root, &path)?, file: path, size: found.len() });
    }
    Ok(())
}

fn name_in(root: &Path, path: &Path) -> Result<ArtifactPath, Error> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let mut parts = Vec::new();
    for part in relative {
        parts.push(part.to_str().ok_or_else(|| refused(path, "its name is not Unicode"))?);
    }
    Ok(parts.join("/").parse()?)
}

fn refused(path: &Path, problem: impl Into<String>) -> Error {
    Invalid::new("file", path.display(), problem).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_listed_in_order_with_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["b/c/d.bin", "a.txt", "b/e"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let names: Vec<_> = scan(folder.path()).unwrap().into_iter().map(|f| f.path.to_string()).collect();
        assert_eq!(names, ["a.txt", "b/c/d.bin", "b/e"]);
        let one = scan(&folder.path().join("b/e")).unwrap();
        assert_eq!((one[0].path.as_str(), one[0].size), ("e", 3));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_only() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::NamedTempFile::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("real"), "x").unwrap();
        symlink("real", folder.path().join("inside")).unwrap();
        assert_eq!(scan(folder.path()).unwrap().len(), 2);

        for (target, problem) in [
            (outside.path(), "leads out of the folder"),
            (Path::new("/etc/passwd"), "leads out of the folder"),
            (Path::new("nowhere"), "broken link"),
            (Path::new("."), "link to a folder"),
        ] {
            let link = folder.path().join("link");
            symlink(target, &link).unwrap();
            let error = scan(folder.path()).unwrap_err().to_string();
            assert!(error.contains(problem), "{}: {error}", target.display());
            fs::remove_file(link).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_no_system_could_write_safely_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a\\b"), "x").unwrap();
        assert!(scan(folder.path()).unwrap_err().to_string().contains("a\\\\b"));
    }
}
