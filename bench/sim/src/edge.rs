//! A call over the network: it takes time, and every way in which it can go wrong is drawn here.

use std::time::Duration;

use orderly_domain::port::{Error, Result};
use tokio::time::sleep;

use crate::world::{State, World};

/// Who calls. What a dead caller asked is never answered.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) world: World,
    /// A machine's index; clients have one that no machine has.
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
}

/// The caller that is no machine.
pub(crate) const CLIENT: usize = usize::MAX;

/// The server that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Log,
    Ledger,
    Store,
    Fanout,
}

enum Fate {
    Answered,
    Refused,
    Lost { happens: bool },
    Late(Duration),
    Fatal { happens: bool },
}

impl Edge {
    pub(crate) fn client(world: &World) -> Self {
        Self { world: world.clone(), node: CLIENT, incarnation: 0 }
    }

    /// Comes back once the machine runs: at once, after its stop, or never.
    pub(crate) async fn running(&self) {
        loop {
            let until = {
                let state = self.world.state();
                match state.machines.get(self.node) {
                    None => return,
                    Some(_) if !state.is_current(self.node, self.incarnation) => None,
                    Some(machine) => Some(machine.stopped_until),
                }
            };
            match until {
                None => std::future::pending::<()>().await,
                Some(Some(until)) if until > tokio::time::Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) => return,
            }
        }
    }

    /// Carries out `work` at the server, unless something comes between.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        server: Server,
        what: &'static str,
        work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.running().await;
        let (fate, there, back) = {
            let mut state = self.world.state();
            let fate = self.fate(&mut state);
            let longest = state.noise.latency_ms_max.max(1);
            let mut wait = || Duration::from_micros(state.random.within(0..longest * 1_000));
            let (there, back) = (wait(), wait());
            self.tell(&mut state, &fate, what);
            (fate, there, back)
        };
        sleep(there).await;
        match fate {
            Fate::Refused => Err(Error::DidNotHappen(format!("{what}: refused by the simulation"))),
            Fate::Late(delay) => {
                let edge = self.clone();
                tokio::spawn(async move {
                    sleep(delay).await;
                    // Nobody waits for the answer.
                    let _ = carry_out(&edge, server, what, work);
                });
                sleep(back).await;
                self.running().await;
                Err(Error::MayHaveHappened(format!("{what}: given up, it comes later")))
            }
            Fate::Lost { happens } => {
                if happens {
                    let _ = carry_out(self, server, what, work);
                }
                sleep(back).await;
                self.running().await;
                Err(Error::MayHaveHappened(format!("{what}: the answer was lost")))
            }
            Fate::Fatal { happens } => {
                {
                    let mut state = self.world.state();
                    if state.is_current(self.node, self.incarnation) {
                        state.kill(self.node);
                    }
                }
                self.world.ring();
                if happens {
                    let _ = carry_out(self, server, what, work);
                }
                std::future::pending().await
            }
            Fate::Answered => {
                let dead = {
                    let mut state = self.world.state();
                    // What a machine sent before it died arrives or not.
                    self.node != CLIENT && !state.is_current(self.node, self.incarnation) && state.random.per_mille(500)
                };
                if dead {
                    return std::future::pending().await;
                }
                let answer = carry_out(self, server, what, work);
                sleep(back).await;
                self.running().await;
                let failed_over = {
                    let state = self.world.state();
                    server == Server::Store
                        && state.store_away_until.is_some_and(|until| until > tokio::time::Instant::now())
                };
                if failed_over && answer.is_ok() {
                    return Err(Error::MayHaveHappened(format!("{what}: the store failed over before it answered")));
                }
                answer
            }
        }
    }

    fn fate(&self, state: &mut State) -> Fate {
        let noise = state.noise.clone();
        let die = state.random.within(0..1_000);
        let happens = state.random.per_mille(600);
        let mut below = noise.refused;
        if die < below {
            return Fate::Refused;
        }
        below += noise.lost;
        if die < below {
            return Fate::Lost { happens };
        }
        below += noise.late;
        if die < below {
            return Fate::Late(Duration::from_micros(state.random.within(0..noise.latency_ms_max * 20_000)));
        }
        below += noise.fatal;
        if die < below && self.node != CLIENT {
            return Fate::Fatal { happens };
        }
        Fate::Answered
    }

    fn tell(&self, state: &mut State, fate: &Fate, what: &'static str) {
        let (kind, text) = match fate {
            Fate::Answered => return,
            Fate::Refused => ("call refused", "is refused"),
            Fate::Lost { happens: true } => ("call done, answer lost", "is done, its answer lost"),
            Fate::Lost { happens: false } => ("call lost", "is lost"),
            Fate::Late(_) => ("call given up and done later", "is given up, and done later"),
            Fate::Fatal { happens: true } => ("died after a call was sent", "is done, and its caller dies"),
            Fate::Fatal { happens: false } => ("died before a call was sent", "is not sent, its caller dies"),
        };
        state.fault(kind);
        let node = self.node;
        state.say(|| if node == CLIENT { format!("client: {what} {text}") } else { format!("n{node}: {what} {text}") });
    }
}

fn carry_out<T>(
    edge: &Edge,
    server: Server,
    what: &'static str,
    work: impl FnOnce(&mut State) -> Result<T>,
) -> Result<T> {
    let now = tokio::time::Instant::now();
    let answer = {
        let mut state = edge.world.state();
        // Its servers were on the machine itself.
        if state.machines.get(edge.node).is_some_and(|machine| edge.incarnation <= machine.unpowered) {
            return Err(Error::DidNotHappen(format!("{what}: the power went")));
        }
        let away = match server {
            Server::Store => state.store_away_until,
            Server::Log => state.log_away_until,
            Server::Ledger | Server::Fanout => None,
        };
        if away.is_some_and(|until| until > now) {
            return Err(Error::DidNotHappen(format!("{what}: the server is away")));
        }
        work(&mut state)
    };
    if server == Server::Log {
        edge.world.ring();
    }
    answer
}
