//! One hot path in a loop, for counting instructions: `hot_path get|register|promote FOLDER TIMES`.
//! Counts do not depend on what else the machine does: `valgrind --tool=callgrind`.

use registry_core::{
    By, Content, ModelName, PromoteOptions, Registration, RegistryExt as _, Selector, Stage, Version,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [path, folder, times] = words[..] else {
        return Err("usage: hot_path get|register|promote FOLDER TIMES".into());
    };
    let times: u64 = times.parse()?;
    let registry = backend_local::open(folder)?;
    let (model, by): (ModelName, By) = ("hot".parse()?, By::new("bench".parse()?));
    registry_tests::register(&registry, &by, &model, &Version::new(1, 0, 0)).await?;
    registry_tests::into_production(&registry, &by, &model, &Version::new(1, 0, 0)).await?;
    for number in 1..=times {
        let version = Version::new(1, number, 0);
        match path {
            "get" => drop(registry.get(&model, &Selector::PRODUCTION).await?),
            "register" => {
                let registration = Registration::new(version, Content::default());
                registry.register(&by, &model, registration, &[]).await?;
            }
            "promote" => {
                let to = if number % 2 == 1 { Stage::Archived } else { Stage::Staging };
                registry.promote(&by, &model, &Version::new(1, 0, 0), to, PromoteOptions::default()).await?;
            }
            other => return Err(format!("unknown path `{other}`").into()),
        }
    }
    Ok(())
}
