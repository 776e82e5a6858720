//! `aprender-registry`, in a folder: `aprender <folder>`. With `get <model>` behind it, what a cold process does.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use bench_protocol::{Answer, Contender, Failure, PAGE, number, serve, text, timed};
use pacha::prelude::{ModelCard, ModelStage, ModelVersion, Registry, RegistryConfig};
use serde_json::Value;

struct Aprender {
    registry: Registry,
    folder: String,
    last: HashMap<String, u32>,
}

fn version(number: u32) -> ModelVersion {
    ModelVersion::new(0, 0, number)
}

fn card() -> ModelCard {
    ModelCard::new("team fraud")
}

/// There is no question for it: go through the versions, the newest first, until one is in production.
fn production(registry: &Registry, model: &str) -> Result<ModelVersion, Failure> {
    let mut versions = registry.list_model_versions(model)?;
    versions.sort();
    for version in versions.into_iter().rev() {
        if registry.get_model(model, &version)?.stage == ModelStage::Production {
            return Ok(version);
        }
    }
    Err("nothing is in production".into())
}

impl Aprender {
    fn register(&mut self, model: &str, bytes: &[u8]) -> Result<(), Failure> {
        let last = self.last.entry(model.to_owned()).or_default();
        *last += 1;
        self.registry.register_model(model, &version(*last), bytes, card())?;
        Ok(())
    }

    /// It leaves the bytes to the system; others wait for the disk, so here it is waited for too.
    fn bring_to_disk(&self, model: &str) -> Result<(), Failure> {
        let last = version(self.last.get(model).copied().unwrap_or_default());
        let hex = self.registry.get_model(model, &last)?.content_address.hash_hex();
        let folder = Path::new(&self.folder).join("objects").join(hex.get(..2).unwrap_or_default());
        File::open(folder.join(&hex))?.sync_all()?;
        Ok(File::open(folder)?.sync_all()?)
    }

    /// The next version, in staging.
    fn staged(&mut self, model: &str) -> Result<ModelVersion, Failure> {
        self.register(model, b"")?;
        let version = version(self.last.get(model).copied().unwrap_or_default());
        self.registry.transition_model_stage(model, &version, ModelStage::Staging)?;
        Ok(version)
    }
}

impl Contender for Aprender {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        let model = text(arguments, 0).unwrap_or_default().to_owned();
        let ns = match task {
            "open" => return Ok(Answer::Done),
            "register" => timed(|| self.register(&model, b""))?.1,
            "register_file" => {
                let path = text(arguments, 1)?;
                timed(|| {
                    // It takes the bytes as a whole.
                    let bytes = std::fs::read(path)?;
                    self.register(&model, &bytes)?;
                    self.bring_to_disk(&model)
                })?
                .1
            }
            "register_many" => {
                return Ok(Answer::Cannot("two processes at once fail: the database is locked"));
            }
            "promote" => {
                // Two may be in production; so the one before is taken out, which takes another call.
                let before = production(&self.registry, &model).ok();
                let next = self.staged(&model)?;
                timed(|| {
                    if let Some(before) = &before {
                        self.registry.transition_model_stage(&model, before, ModelStage::Archived)?;
                    }
                    Ok(self.registry.transition_model_stage(&model, &next, ModelStage::Production)?)
                })?
                .1
            }
            "get" => {
                let times = number(arguments, 1)?;
                timed(|| {
                    for _ in 0..times {
                        std::hint::black_box(production(&self.registry, &model)?);
                    }
                    Ok(())
                })?
                .1
            }
            "list" => {
                let (seen, ns) = timed(|| {
                    let mut versions = self.registry.list_model_versions(&model)?;
                    versions.sort();
                    let page = versions.iter().rev().take(PAGE);
                    let page: Result<Vec<_>, _> =
                        page.map(|version| self.registry.get_model(&model, version)).collect();
                    Ok(page?.len())
                })?;
                return Ok(Answer::Timed { ns, seen: Some(seen) });
            }
            "search" => return Ok(Answer::Cannot("has no search")),
            "history" => return Ok(Answer::Cannot("keeps no history of stages")),
            "rollback" => return Ok(Answer::Cannot("has no rollback: what was archived does not come back")),
            "at" => return Ok(Answer::Cannot("does not know what was in production then")),
            "fill" => {
                let count = number(arguments, 1)?;
                self.fill(&model, u32::try_from(count)?)?;
                return Ok(Answer::Done);
            }
            _ => return Err(format!("{task} is not known").into()),
        };
        Ok(Answer::Timed { ns, seen: None })
    }
}

impl Aprender {
    /// Straight into its table, since one after the other would take many minutes.
    fn fill(&mut self, model: &str, count: u32) -> Result<(), Failure> {
        self.register(model, b"")?;
        let mut database = rusqlite::Connection::open(format!("{}/registry.db", self.folder))?;
        let columns: Vec<String> = {
            let mut asked = database.prepare("SELECT name FROM pragma_table_info('models')")?;
            asked.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        let others = |of: &str| {
            let chosen = columns.iter().map(|column| match column.as_str() {
                "id" => "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))".to_owned(),
                "version" => of.to_owned(),
                other => other.to_owned(),
            });
            chosen.collect::<Vec<_>>().join(", ")
        };
        let sql = format!(
            "INSERT INTO models ({}) SELECT {} FROM models WHERE name = ?2 AND version = '0.0.1'",
            columns.join(", "),
            others("?1")
        );
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare(&sql)?;
            for number in 2..=count {
                insert.execute((format!("0.0.{number}"), model))?;
            }
        }
        transaction.commit()?;
        self.last.insert(model.to_owned(), count);
        for stage in [ModelStage::Staging, ModelStage::Production] {
            self.registry.transition_model_stage(model, &version(count), stage)?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("where is the registry?")?.clone();
    let registry = Registry::open(RegistryConfig::new(&folder))?;
    if let [_, _, model] = arguments.as_slice() {
        println!("{}", production(&registry, model)?);
        return Ok(());
    }
    serve(&mut Aprender { registry, folder, last: HashMap::new() })
}
