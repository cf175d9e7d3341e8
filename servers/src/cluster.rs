//! redis-server as a cluster.

use std::thread;
use std::time::{Duration, Instant};

use tenure_conformance::{Absent, Server};

use crate::process::free_port;
use crate::redis::Redis;

/// A cluster of three masters that serve a third of the slots each, and a replica of each of them.
#[derive(Debug)]
pub struct Cluster {
    /// The masters, then the replicas in the same order.
    nodes: Vec<Redis>,
}

/// Starts one.
///
/// # Errors
///
/// [`Absent`] if there is no `redis-server`, or it does not become a cluster.
pub fn cluster() -> Result<Cluster, Absent> {
    Cluster::with(&[])
}

const MASTERS: usize = 3;

/// The first and the last slot of each master.
const RANGES: [(u16, u16); MASTERS] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// How long a cluster may take until all its nodes know each other.
const PATIENCE: Duration = Duration::from_secs(40);

impl Cluster {
    /// Starts one whose nodes have more options, as on their command lines.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no `redis-server`, or it does not become a cluster.
    pub fn with(options: &[&str]) -> Result<Self, Absent> {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..2 * MASTERS {
            let bus = free_port()?.to_string();
            let mut all = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            all.extend(["--cluster-port", &bus, "--repl-diskless-sync-delay", "0"]);
            all.extend(options);
            nodes.push(Redis::with(&all)?);
            buses.push(bus);
        }
        let cluster = Self { nodes };
        for (place, node) in cluster.nodes.iter().enumerate() {
            cluster.expect(place, &format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1), "+OK")?;
            if let Some((first, last)) = RANGES.get(place) {
                cluster.expect(place, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"), "+OK")?;
            }
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", node.port(), buses[place]);
            cluster.expect(0, &meet, "+OK")?;
        }
        for place in MASTERS..2 * MASTERS {
            let id = cluster.id(place - MASTERS)?;
            // It must have heard of its master before.
            cluster.expect(place, &format!("CLUSTER REPLICATE {id}"), "+OK")?;
        }
        for place in 0..2 * MASTERS {
            cluster.expect(place, "CLUSTER INFO", "cluster_state:ok")?;
            // Each knows the three masters and their replicas.
            for known in 0..2 * MASTERS {
                let port = format!(":{}@", cluster.nodes[known].port());
                cluster.expect(place, "CLUSTER NODES", &port)?;
            }
            if place >= MASTERS {
                cluster.expect(place, "INFO replication", "master_link_status:up")?;
            }
        }
        for place in 0..2 * MASTERS {
            let replicas = |answer: &str| answer.lines().filter(|line| line.contains("slave")).count();
            cluster.until(place, "CLUSTER NODES", |answer| replicas(answer) == MASTERS)?;
        }
        Ok(cluster)
    }

    /// Its URL, which names all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The nodes: three masters, then the replica of each in the same order, as they were at the start.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The place among the nodes of the master that served a slot at the start.
    #[must_use]
    pub fn place_of(slot: u16) -> usize {
        RANGES.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap_or(0)
    }

    /// The id of a node.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it does not answer.
    pub fn id(&self, place: usize) -> Result<String, Absent> {
        let answer = self.nodes[place].command("CLUSTER MYID");
        let answer = answer.map_err(|error| Absent::new(format!("a node does not answer: {error}")))?;
        // A length, and the text in a line of its own.
        Ok(answer.lines().nth(1).unwrap_or_default().trim().to_owned())
    }

    /// Asks a node until its answer contains something.
    ///
    /// # Errors
    ///
    /// [`Absent`] if it takes too long.
    pub fn expect(&self, place: usize, command: &str, word: &str) -> Result<(), Absent> {
        self.until(place, command, |answer| answer.contains(word))
    }

    fn until(&self, place: usize, command: &str, is: impl Fn(&str) -> bool) -> Result<(), Absent> {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < PATIENCE {
            match self.nodes[place].command(command) {
                Ok(answer) if is(&answer) => return Ok(()),
                Ok(answer) => last = answer,
                Err(error) => last = error.to_string(),
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(Absent::new(format!("node {place} of a cluster answers {last:?} to {command}")))
    }

    /// As what a suite wants.
    #[must_use]
    pub fn into_server(self) -> Server {
        Server::new(self.url(), self)
    }
}
