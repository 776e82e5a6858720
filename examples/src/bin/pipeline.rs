//! A training pipeline that may be killed and started again at any step.
//!
//! ```console
//! cargo run -p registry-examples --bin pipeline
//! ```
//!
//! A run trains into a folder and then registers the folder. The registration goes under a request id
//! made from the run's own, so a run that is repeated after a lost answer registers nothing twice.

use std::error::Error;
use std::path::{Path, PathBuf};

use registry_core::{
    By, Content, ModelName, Registered, Registration, Registry, RegistryExt as _, RequestId, Upload,
    VersionChoice,
};
use registry_examples::describe;
use registry_examples::training::{self, TrainedModel};
use registry_files::FileSource;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let work = tempfile::tempdir()?;
    let registry = backend_local::open(work.path().join("registry"))?;
    let model: ModelName = "tumour-diagnosis".parse()?;

    let monday = Run::train(work.path(), "run-monday", &training::baseline()?)?;
    report(&monday, &monday.register(&registry, &model).await?);

    println!("… the answer got lost, and the scheduler starts the step again:");
    report(&monday, &monday.register(&registry, &model).await?);

    let tuesday = Run::train(work.path(), "run-tuesday", &training::improved_same_inputs()?)?;
    report(&tuesday, &tuesday.register(&registry, &model).await?);

    let state = registry.model(&model).await?;
    println!("{} registrations were asked for, {} versions are there", 3, state.version_count);
    Ok(())
}

/// One run of the pipeline. All that its steps hand on lies in its folder.
struct Run {
    id: &'static str,
    folder: PathBuf,
}

impl Run {
    /// The files of the model in `model/`; what is known of it beside them, in `content.json`.
    fn train(work: &Path, id: &'static str, trained: &TrainedModel) -> Result<Self> {
        let folder = work.join(id);
        std::fs::create_dir_all(folder.join("model/notes"))?;
        std::fs::write(folder.join("model").join(describe::MODEL_FILE), &trained.bytes)?;
        std::fs::write(folder.join("model/notes/data.txt"), &trained.data_version)?;
        let content = describe::content(trained)?;
        std::fs::write(folder.join("content.json"), serde_json::to_vec_pretty(&content)?)?;
        Ok(Run { id, folder })
    }

    /// Registers the folder. Large files are streamed; nothing is held in memory as a whole.
    async fn register<R: Registry>(&self, registry: &R, model: &ModelName) -> Result<Registered> {
        // Read from the folder and not measured again: a repeated request must be the same request.
        let content: Content = serde_json::from_slice(&std::fs::read(self.folder.join("content.json"))?)?;

        let mut sources = Vec::new();
        for file in registry_files::scan(&self.folder.join("model"))? {
            sources.push((file.path, FileSource::open(file.file)?));
        }
        let uploads: Vec<Upload<'_>> =
            sources.iter().map(|(path, source)| Upload { path: path.clone(), source }).collect();

        let id: RequestId = format!("{}:register", self.id).parse()?;
        let by = By::new("training-pipeline".parse()?).with_request_id(id);
        let registration = Registration::new(VersionChoice::Auto, content);
        Ok(registry.register(&by, model, registration, &uploads).await?)
    }
}

fn report(run: &Run, registered: &Registered) {
    let version = &registered.version;
    let files =
        version.content.artifacts.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ");
    match (registered.existed, &version.numbering.baseline) {
        (true, _) => println!("{}: {} was registered before, by this very request", run.id, version.version),
        (false, None) => println!("{}: {} is the first version, with {files}", run.id, version.version),
        (false, Some(baseline)) => {
            println!("{}: {} follows {baseline}, with {files}", run.id, version.version);
            for finding in &version.numbering.findings {
                println!("  {}: {} ({})", finding.path, finding.explanation(), finding.required);
            }
        }
    }
}
