//! The contract, on three Redis servers, for asynchronous code.

use std::process::ExitCode;
use std::time::Duration;

use tenure_conformance::{Server, Suite};
use tenure_redis::Quorum;

fn main() -> ExitCode {
    Suite::new("redis-quorum-async")
        .grain(Duration::from_millis(2))
        .server(|| {
            let servers = [tenure_servers::redis()?, tenure_servers::redis()?, tenure_servers::redis()?];
            let [a, b, c] = servers.each_ref().map(|server| server.port());
            let url = format!("redis+quorum://127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}");
            Ok(Server::new(url, servers))
        })
        .open_async(|spec| Ok(Quorum::url(spec.place())?.settings(spec.settings().clone()).connect()?.into()))
        .run()
}
