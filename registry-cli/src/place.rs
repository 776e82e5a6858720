//! Why this exists: where the registry is: given, else in the user's data folder. Reading never makes
//! one, and only a verb that may be somebody's first makes one, so that a mistyped path is an error and
//! not an empty registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use backend_local::SqliteConnector;
use registry_core::{Connector as _, Connectors, Invalid, Location, Registry};

use crate::failure::{Failure, Kind};

/// What the registry is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To look.
    Read,
    /// To change what is there.
    Change,
    /// To change it, also as its first user.
    Begin,
}

/// Opens the registry at a URL or path, or the default one.
pub(crate) async fn open(given: Option<&str>, purpose: Purpose) -> Result<Arc<dyn Registry>, Failure> {
    let text = match given {
        Some("") => {
            let problem = "is empty; expected a folder or a URL such as `sqlite:/srv/models`";
            return Err(Invalid::new("registry", "", problem).into());
        }
        Some(text) => text.to_owned(),
        None => default_folder()?.into_os_string().into_string().map_err(|folder| {
            Invalid::new("data folder", folder.to_string_lossy(), "is not valid Unicode; give --registry")
        })?,
    };
    let location = Location::parse(&text).unwrap_or_else(|| Location {
        scheme: "sqlite".to_owned(),
        rest: text.clone(),
        options: BTreeMap::new(),
    });
    if location.scheme != "sqlite" {
        return Ok(Connectors::new().with(SqliteConnector).open_location(location).await?);
    }
    open_local(location, purpose).await
}

async fn open_local(mut location: Location, purpose: Purpose) -> Result<Arc<dyn Registry>, Failure> {
    let path = location.rest.strip_prefix("//").unwrap_or(&location.rest);
    if path.is_empty() {
        let error = location.error("a folder is needed, for example `sqlite:./models`");
        return Err(Failure::new(Kind::Invalid, error.to_string()));
    }
    let folder = PathBuf::from(path);
    // A folder without a registry, or a file in its place, deserves a better answer than a failed open.
    if purpose != Purpose::Begin && !folder.exists() {
        let message = format!(
            "there is no registry at {}; registering a model there makes one, or give --registry",
            folder.display()
        );
        return Err(Failure::new(Kind::NotFound, message));
    }
    let option = match purpose {
        Purpose::Read => Some(("read_only", "true")),
        Purpose::Change => Some(("create", "false")),
        Purpose::Begin => None,
    };
    if let Some((name, value)) = option {
        location.options.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    Ok(SqliteConnector.open(location).await?)
}

/// The folder for data of this user, by the rules of the platform.
fn default_folder() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA").or_else(|| folder("APPDATA"))
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("model-registry")).ok_or_else(|| {
        Failure::new(Kind::Invalid, "no home folder is known; give --registry or set REGISTRY_URL")
    })
}
