//! Compiles the log record's schema; protox stands in for `protoc`, so no system package is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = "proto/orderly/intents/v1/intents.proto";
    println!("cargo::rerun-if-changed={schema}");
    let descriptors = protox::compile([schema], ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
