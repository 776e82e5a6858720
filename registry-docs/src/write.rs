//! Why this exists: a folder of documents is used by others while it is brought up to date. So everything is found out
//! first, and if anything is in the way nothing is changed; a file appears whole, by a rename; and a file that is right
//! already is not touched, so that nobody's build runs for nothing.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use registry_core::{Artifact, ArtifactPath, Hasher, Registry, RegistryExt as _};

use crate::error::Error;
use crate::output::{Output, OutputContent};

/// The largest document that is read to be brought up to date.
const DOCUMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PIECE_BYTES: usize = 1024 * 1024;

/// Whether to write or only to say what would be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write.
    Write,
    /// Only say.
    Check,
}

/// What became of a file, or would become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    New,
    /// It was something else.
    Changed,
    /// It is right already, and was not touched.
    Same,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file, in the folder.
    pub path: ArtifactPath,
    /// What became of it.
    pub change: Change,
    /// The generated parts that it has no place for, because somebody removed their marks.
    pub left_out: Vec<&'static str>,
}

/// What became of the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// All of them, in the order in which they were given.
    pub files: Vec<FileReport>,
}

impl Report {
    /// Those that are new or changed.
    pub fn changed(&self) -> impl Iterator<Item = &FileReport> {
        self.files.iter().filter(|file| file.change != Change::Same)
    }
}

/// What is to be done for a file.
enum Step<'a> {
    Text(String),
    Artifact(&'a Artifact),
}

/// Brings the files of a folder up to date, or says which ones are not. Files that are not among the outputs stay.
pub async fn write(
    registry: &dyn Registry,
    outputs: &[Output],
    folder: &Path,
    mode: Mode,
) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut steps = Vec::new();
    let mut paths = BTreeSet::new();
    for output in outputs {
        if !paths.insert(&output.path) {
            return Err(Error::Clash { path: output.path.clone() });
        }
        let place = place(folder, &output.path);
        let found = found(folder, &output.path)?;
        let (step, left_out, change) = planned(output, &place, found.as_ref())?;
        if change != Change::Same {
            steps.push((place, step));
        }
        report.files.push(FileReport { path: output.path.clone(), change, left_out });
    }
    if mode == Mode::Write {
        for (place, step) in steps {
            match step {
                Step::Text(text) => replace(&place, |file| file.write_all(text.as_bytes()))?,
                Step::Artifact(artifact) => download(registry, artifact, &place).await?,
            }
        }
    }
    Ok(report)
}

fn place(folder: &Path, path: &ArtifactPath) -> PathBuf {
    let mut place = folder.to_owned();
    place.extend(path.as_str().split('/'));
    place
}

fn refused(path: &Path, problem: impl ToString) -> Error {
    Error::File { path: path.to_owned(), problem: problem.to_string() }
}

/// What is there. A link below the folder could lead out of it, and is refused.
fn found(folder: &Path, path: &ArtifactPath) -> Result<Option<Metadata>, Error> {
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => return Err(refused(folder, "is not a folder")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(folder, error)),
    }
    let mut place = folder.to_owned();
    let mut parts = path.as_str().split('/').peekable();
    while let Some(part) = parts.next() {
        place.push(part);
        let found = match fs::symlink_metadata(&place) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(&place, error)),
        };
        if found.is_symlink() {
            return Err(refused(&place, "is a link; documents are not written through links"));
        }
        match (parts.peek().is_none(), found.is_dir(), found.is_file()) {
            (false, true, _) => {}
            (false, false, _) => return Err(refused(&place, "is in the way of a folder")),
            (true, _, true) => return Ok(Some(found)),
            (true, _, false) => return Err(refused(&place, "is in the way of a file")),
        }
    }
    Ok(None)
}

/// What has to be done for an output.
fn planned<'a>(
    output: &'a Output,
    place: &Path,
    found: Option<&Metadata>,
) -> Result<(Step<'a>, Vec<&'static str>, Change), Error> {
    let change = |is_same| if is_same { Change::Same } else { Change::Changed };
    match (&output.content, found) {
        (OutputContent::Document(document), None) => {
            Ok((Step::Text(document.to_new_file()), Vec::new(), Change::New))
        }
        (OutputContent::Document(document), Some(found)) => {
            let present = text_of(place, found)?;
            let merged = document
                .merged_into(&present)
                .map_err(|broken| Error::Fence { path: place.to_owned(), broken })?;
            let is_same = merged.text == present;
            Ok((Step::Text(merged.text), merged.left_out, change(is_same)))
        }
        (OutputContent::Whole(text), None) => Ok((Step::Text(text.clone()), Vec::new(), Change::New)),
        (OutputContent::Whole(text), Some(found)) => {
            let is_same = found.len() == text.len() as u64
                && fs::read(place).map_err(|error| refused(place, error))? == text.as_bytes();
            Ok((Step::Text(text.clone()), Vec::new(), change(is_same)))
        }
        (OutputContent::Artifact(artifact), None) => Ok((Step::Artifact(artifact), Vec::new(), Change::New)),
        (OutputContent::Artifact(artifact), Some(found)) => {
            let is_same = found.len() == artifact.size
                && digest_of(place).map_err(|error| refused(place, error))? == artifact.digest;
            Ok((Step::Artifact(artifact), Vec::new(), change(is_same)))
        }
    }
}

fn text_of(place: &Path, found: &Metadata) -> Result<String, Error> {
    if DOCUMENT_BYTES_MAX < found.len() {
        return Err(refused(place, format!("is larger than {DOCUMENT_BYTES_MAX} bytes")));
    }
    let bytes = fs::read(place).map_err(|error| refused(place, error))?;
    String::from_utf8(bytes).map_err(|_| refused(place, "is not text in UTF-8"))
}

fn digest_of(place: &Path) -> io::Result<registry_core::Digest> {
    let mut file = File::open(place)?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece)?;
        match piece.get(..read) {
            Some([]) | None => return Ok(hasher.finish()),
            Some(bytes) => hasher.update(bytes),
        }
    }
}

/// A file beside the place, which takes it at the end.
fn beside(place: &Path) -> Result<tempfile::NamedTempFile, Error> {
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| refused(parent, error))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".registry-");
    // As readable as the one that it replaces, or as any new file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(parent).map_err(|error| refused(place, error))?;
    if let Ok(found) = fs::metadata(place) {
        file.as_file().set_permissions(found.permissions()).map_err(|error| refused(place, error))?;
    }
    Ok(file)
}

fn replace(place: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
    let mut file = beside(place)?;
    write(file.as_file_mut()).map_err(|error| refused(place, error))?;
    file.persist(place).map_err(|error| refused(place, error.error))?;
    Ok(())
}

/// The bytes of a registered file; they take their place only once all of them are verified.
async fn download(registry: &dyn Registry, artifact: &Artifact, place: &Path) -> Result<(), Error> {
    let mut file = beside(place)?;
    let mut bytes = registry.open(artifact).await?;
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(registry_core::Error::from)?;
        file.as_file_mut().write_all(&piece).map_err(|error| refused(place, error))?;
    }
    file.persist(place).map_err(|error| refused(place, error.error))?;
    Ok(())
}
