//! A program that embeds this registry on the local store, asks what is in production, and ends: `embedded <folder>
//! <model>`. What a peer without a command line is compared with, since for it such a program must be written as well.

use backend_local::Options;
use bench_protocol::Failure;
use registry_core::{RegistryExt as _, Selector};

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, model] = arguments.as_slice() else { return Err("which folder, and which model?".into()) };
    let registry = Options { read_only: true, ..Options::default() }.open(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    println!("{}", runtime.block_on(registry.get(&model.parse()?, &Selector::PRODUCTION))?.version);
    Ok(())
}
