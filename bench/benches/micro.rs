//! Times of the small steps that every booking takes: `cargo bench -p orderly-bench`.

use criterion::Criterion;
use orderly_bench::micro;

/// The same as the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    for mut step in micro::all()? {
        criterion.bench_function(step.what, |bencher| bencher.iter(|| step.run()));
    }
    criterion.final_summary();
    Ok(())
}
