//! Configurations of several servers: those that find a new master by themselves, and a majority.

use std::thread;
use std::time::{Duration, Instant};

use tenure_servers::{self as servers, Outcome, Proxy, Stop};

use crate::rows::{Road, Stage};

/// What keeps locks over a restart.
const ON_DISK: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// How long a fail-over may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn cluster(_: Road) -> Outcome<Box<dyn Stage>> {
    Ok(Box::new(Clustered(servers::Cluster::with(&ON_DISK)?)))
}

pub(crate) fn sentinels(_: Road) -> Outcome<Box<dyn Stage>> {
    Ok(Box::new(Watched(servers::Sentinels::with(&ON_DISK)?)))
}

struct Clustered(servers::Cluster);

impl Stage for Clustered {
    fn place(&self) -> String {
        self.0.url()
    }

    fn victims(&mut self) -> Vec<&mut servers::Redis> {
        self.0.nodes().iter_mut().filter(|node| is_master(node)).collect()
    }

    /// Replicas may take over.
    fn is_down_with_them(&self) -> bool {
        false
    }

    fn proxies(&self) -> Vec<&Proxy> {
        Vec::new()
    }

    fn promote(&mut self) -> Outcome {
        let Some(place) = self.0.nodes().iter().position(is_master) else {
            return Err(Stop::failed("the cluster has no master"));
        };
        let masters = self.victims().len();
        self.0.nodes()[place].kill();
        until(|| self.victims().len() == masters)?;
        self.0.nodes()[place].restart()?;
        Ok(())
    }
}

struct Watched(servers::Sentinels);

impl Stage for Watched {
    fn place(&self) -> String {
        self.0.url()
    }

    fn victims(&mut self) -> Vec<&mut servers::Redis> {
        let master = self.0.master();
        self.0.servers().iter_mut().filter(|server| Some(server.port()) == master).collect()
    }

    /// A replica may take over.
    fn is_down_with_them(&self) -> bool {
        false
    }

    fn proxies(&self) -> Vec<&Proxy> {
        Vec::new()
    }

    fn promote(&mut self) -> Outcome {
        let before = self.0.master();
        self.victims().into_iter().for_each(servers::Redis::kill);
        until(|| self.0.master() != before)?;
        let mut lost = self.0.servers().iter_mut().filter(|server| Some(server.port()) == before);
        lost.try_for_each(servers::Redis::restart)?;
        Ok(())
    }
}

/// A majority of three, of which one fails.
pub(crate) fn majority(road: Road) -> Outcome<Box<dyn Stage>> {
    independent(road, 1)
}

/// The same, where a majority fails.
pub(crate) fn majority_failing(road: Road) -> Outcome<Box<dyn Stage>> {
    independent(road, 2)
}

fn independent(road: Road, failing: usize) -> Outcome<Box<dyn Stage>> {
    let start = || {
        let server = servers::Redis::with(&[])?;
        let proxy = if road == Road::Proxied { Some(Proxy::to(server.port())?) } else { None };
        Ok((server, proxy))
    };
    Ok(Box::new(Majority { servers: (0..3).map(|_| start()).collect::<Outcome<_>>()?, failing }))
}

/// Three servers that know nothing of each other.
struct Majority {
    servers: Vec<(servers::Redis, Option<Proxy>)>,
    failing: usize,
}

impl Stage for Majority {
    fn place(&self) -> String {
        let url = |(server, proxy): &(servers::Redis, Option<Proxy>)| {
            let url = proxy.as_ref().map_or_else(|| server.url(), Proxy::url);
            url.trim_start_matches("redis://").trim_end_matches('/').to_owned()
        };
        let urls: Vec<String> = self.servers.iter().map(url).collect();
        format!("redis+quorum://{}", urls.join(","))
    }

    fn victims(&mut self) -> Vec<&mut servers::Redis> {
        self.servers.iter_mut().take(self.failing).map(|(server, _)| server).collect()
    }

    /// Two are the majority.
    fn is_down_with_them(&self) -> bool {
        self.failing >= 2
    }

    fn proxies(&self) -> Vec<&Proxy> {
        self.servers.iter().filter_map(|(_, proxy)| proxy.as_ref()).collect()
    }
}

fn is_master(node: &servers::Redis) -> bool {
    node.command("INFO replication").is_ok_and(|answer| answer.contains("role:master"))
}

fn until(mut is: impl FnMut() -> bool) -> Outcome {
    let began = Instant::now();
    while !is() {
        if began.elapsed() > PATIENCE {
            return Err(Stop::failed("no replica was promoted"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
