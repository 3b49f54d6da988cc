//! Compiles `gitaly/*.proto`: messages, services, the descriptors that reflection shows, and the
//! table of methods.

#[path = "build/methods.rs"]
mod methods;

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("gitaly");
    println!("cargo::rerun-if-changed=gitaly");
    println!("cargo::rerun-if-changed=build");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).open_files(&files)?;
    // prost's own descriptor types know no extensions: our options live on in this encoding only.
    std::fs::write(out.join("gitaly.bin"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out.join("methods.rs"), methods::table(&compiler.descriptor_pool())?)?;
    // Comments become documentation; reflection does without them.
    compiler.include_source_info(true);
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
