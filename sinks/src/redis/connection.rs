//! One connection, to a server or to a cluster.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};

/// A connection that many share. It is closed when the last copy is dropped.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A node that holds data of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// The only one.
    Single,
    /// One of a cluster.
    Cluster { host: String, port: u16 },
}

impl Connection {
    /// The nodes that together hold all data.
    pub(crate) async fn nodes(&mut self) -> RedisResult<Vec<Node>> {
        if matches!(self, Self::Single(_)) {
            return Ok(vec![Node::Single]);
        }
        let text: String = redis::cmd("CLUSTER").arg("NODES").query_async(self).await?;
        Ok(text.lines().filter_map(primary).collect())
    }

    /// Asks one node.
    pub(crate) async fn ask(&mut self, node: &Node, command: Cmd) -> RedisResult<Value> {
        match (self, node) {
            (Self::Cluster(cluster), Node::Cluster { host, port }) => {
                let node = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                cluster.route_command(command, RoutingInfo::SingleNode(node)).await
            }
            (connection, _) => connection.req_packed_command(&command).await,
        }
    }
}

/// The node of a line of `CLUSTER NODES`, if it is a primary with slots:
/// `id host:port@bus[,name] flags primary ping pong epoch state slot…`.
fn primary(line: &str) -> Option<Node> {
    let fields: Vec<_> = line.split(' ').collect();
    let flags: Vec<_> = fields.get(2)?.split(',').collect();
    if !flags.contains(&"master") || fields.len() < 9 {
        return None;
    }
    let (host, port) = fields[1].split(['@', ',']).next()?.rsplit_once(':')?;
    Some(Node::Cluster { host: host.to_owned(), port: port.parse().ok()? })
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nodes_that_hold_data() {
        let node = |host: &str, port| Some(Node::Cluster { host: host.into(), port });
        let line = "07c3 127.0.0.1:30004@31004 myself,master - 0 1426238317239 4 connected 0-5460";
        assert_eq!(primary(line), node("127.0.0.1", 30004));
        let named = "07c3 ::1:30004@31004,redis-a master - 0 1426238317239 4 connected 0-5460 5470";
        assert_eq!(primary(named), node("::1", 30004));
        let empty = "07c3 127.0.0.1:30004@31004 master - 0 1426238317239 4 connected";
        assert_eq!(primary(empty), None);
        let replica = "07c3 127.0.0.1:30004@31004 slave 67ed 0 1426238317239 4 connected";
        assert_eq!(primary(replica), None);
    }
}
