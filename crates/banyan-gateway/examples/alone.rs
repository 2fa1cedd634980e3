//! The gateway and nothing else, for measuring: `alone FILE`. Ends with the process.

use banyan_gateway::{Config, Gateway};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let path = std::env::args().nth(1).expect("usage: alone FILE");
    let config = Config::read(path.as_ref()).unwrap_or_else(|error| panic!("{error}"));
    let gateway = Gateway::new(config, None).unwrap_or_else(|error| panic!("{error}"));
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let serving = gateway.serve(stopping).unwrap_or_else(|error| panic!("{error}"));
    println!("{:?}", serving.listening);
    serving.join();
}
