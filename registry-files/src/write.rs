//! Why this exists: a version must come out as it went in, and whole: what is written appears in the target
//! folder at once, after all bytes were verified, or not at all.
//!
//! Beside the files of the version stand the descriptions that were registered with it: `metadata.json`,
//! `signature.json`, `features.yaml` and the environment files such as `requirements.txt`. Where the
//! version has a file of that name itself, its file stands.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use registry_core::storage::Progress;
use registry_core::{ArtifactPath, Error, Invalid, Registry, RegistryExt as _, VersionState};

/// Writes a version into `target`, which must not exist yet or be an empty folder. Returns the paths
/// written, relative to it, in order. `progress` is told how many bytes of all files are written.
pub async fn write_version(
    registry: &dyn Registry,
    version: &VersionState,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Vec<ArtifactPath>, Error> {
    check_free(target)?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|error| refused(parent, error))?;
    // A sibling, so that the last step is a rename. It is removed if anything goes wrong before.
    let building = tempfile::Builder::new()
        .prefix(".registry-")
        .tempdir_in(parent)
        .map_err(|error| refused(parent, error))?;

    let mut written = Vec::new();
    let mut done = 0_u64;
    for artifact in &version.content.artifacts {
        let path = place(building.path(), &artifact.path)?;
        let mut file = File::create_new(&path).map_err(|error| refused(&path, error))?;
        let mut bytes = registry.open(artifact).await?;
        while let Some(piece) = bytes.next().await {
            let piece = piece?;
            file.write_all(&piece).map_err(|error| refused(&path, error))?;
            done = done.saturating_add(piece.len() as u64);
            progress(done);
        }
        written.push(artifact.path.clone());
    }
    for (name, text) in descriptions(version)? {
        let path = place(building.path(), &name)?;
        match File::create_new(&path) {
            Ok(mut file) => file.write_all(text.as_bytes()).map_err(|error| refused(&path, error))?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(refused(&path, error)),
        }
        written.push(name);
    }
    let building = building.keep();
    let moved = fs::rename(&building, target);
    if let Err(error) = moved {
        let _ = fs::remove_dir_all(&building);
        return Err(refused(target, error));
    }
    readable(target);
    written.sort();
    Ok(written)
}

fn check_free(target: &Path) -> Result<(), Error> {
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(refused(target, "is not empty; choose a new folder")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(refused(target, "is not a folder")),
    }
}

/// Temporary folders are private; what was asked for is as readable as any other folder.
fn readable(target: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let _ = fs::set_permissions(target, fs::Permissions::from_mode(0o755));
    }
    #[cfg(not(unix))]
    let _ = target;
}

/// Where a path lies below a folder, with the folders above it made. The type of the path rules out
/// that it leaves the folder.
fn place(root: &Path, path: &ArtifactPath) -> Result<PathBuf, Error> {
    let mut place = root.to_owned();
    place.extend(path.as_str().split('/'));
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(|error| refused(parent, error))?;
    }
    Ok(place)
}

/// What was registered beside the files, as files: metadata, signature, features and environment.
pub fn descriptions(version: &VersionState) -> Result<Vec<(ArtifactPath, String)>, Error> {
    #[derive(serde::Serialize)]
    struct Metadata<'a> {
        version: &'a registry_core::Version,
        digest: &'a registry_core::Digest,
        stage: registry_core::Stage,
        registered: &'a registry_core::state::Stamp,
        metadata: &'a registry_core::Metadata,
        metrics: &'a std::collections::BTreeMap<registry_core::Key, registry_core::Metric>,
        deployment: &'a registry_core::Deployment,
        tags: &'a registry_core::Tags,
        description: &'a Option<registry_core::Text>,
    }
    let content = &version.content;
    let metadata = Metadata {
        version: &version.version,
        digest: &version.digest,
        stage: version.stage,
        registered: &version.registered,
        metadata: &content.metadata,
        metrics: &content.metrics,
        deployment: &content.deployment,
        tags: &content.tags,
        description: &content.description,
    };
    let unwritable =
        |what: &'static str, error: String| Error::from(Invalid::new(what, &version.version, error));
    let json = |what, value: serde_json::Result<String>| {
        value.map(|text| text + "\n").map_err(|error| unwritable(what, error.to_string()))
    };
    let mut files =
        vec![("metadata.json".parse()?, json("metadata", serde_json::to_string_pretty(&metadata))?)];
    if let Some(signature) = &content.signature {
        files.push(("signature.json".parse()?, json("signature", serde_json::to_string_pretty(signature))?));
    }
    if let Some(features) = &content.features {
        let text =
            serde_saphyr::to_string(features).map_err(|error| unwritable("features", error.to_string()))?;
        files.push(("features.yaml".parse()?, text));
    }
    files.extend(content.environment.iter().map(|file| (file.name().clone(), file.text().to_owned())));
    Ok(files)
}

fn refused(path: &Path, problem: impl ToString) -> Error {
    Invalid::new("file", path.display(), problem.to_string()).into()
}
